// Which keys: a prefix, or bounds. As bytes a range begins with `start` and ends before `end`.
import { keyBytes, type Key, type Text } from './codec.js';
import { TrilithError } from './errors.js';

/** Keys with a prefix, or between bounds; all of them where nothing is said. */
export interface KeyRange {
  /** Keys that begin with this. Goes with no bound. */
  prefix?: Key | undefined;
  /** Greater than. */
  gt?: Key | undefined;
  /** Greater than, or this one. */
  gte?: Key | undefined;
  /** Less than. */
  lt?: Key | undefined;
  /** Less than, or this one. */
  lte?: Key | undefined;
}

export interface ByteRange {
  start: Uint8Array | undefined;
  end: Uint8Array | undefined;
}

/** The first key behind all that begin with `prefix`; none if nothing is behind them. */
const behind = (prefix: Uint8Array): Uint8Array | undefined => {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1]! += 1;
  return end;
};

/** The key right behind this one. */
const next = (key: Uint8Array): Uint8Array => {
  const longer = new Uint8Array(key.length + 1);
  longer.set(key);
  return longer;
};

export const byteRange = ({ prefix, gt, gte, lt, lte }: KeyRange, text: Text): ByteRange => {
  const bounds = [gt, gte, lt, lte].filter((bound) => bound !== undefined);
  const isTwice = (gt !== undefined && gte !== undefined) || (lt !== undefined && lte !== undefined);
  if ((prefix !== undefined && bounds.length > 0) || isTwice) {
    throw new TrilithError('invalid', 'a range has a prefix, or one of gt and gte and one of lt and lte');
  }
  if (prefix !== undefined) {
    const start = keyBytes(prefix, text);
    return { start, end: behind(start) };
  }
  const bytes = (key: Key | undefined): Uint8Array | undefined => (key === undefined ? undefined : keyBytes(key, text));
  const [above, from, before, upTo] = [bytes(gt), bytes(gte), bytes(lt), bytes(lte)];
  return { start: above ? next(above) : from, end: upTo ? next(upTo) : before };
};

export const startsWith = (key: Uint8Array, prefix: Uint8Array): boolean =>
  key.length >= prefix.length && prefix.every((byte, at) => key[at] === byte);

/** Below 0 if `a` comes first, in the order of keys. */
export const compare = (a: Uint8Array, b: Uint8Array): number => {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
};

/** Whether two ranges have any key in common. */
export const overlap = (a: ByteRange, b: ByteRange): boolean => {
  const isBefore = (left: ByteRange, right: ByteRange): boolean =>
    left.end !== undefined && compare(left.end, right.start ?? new Uint8Array()) <= 0;
  return !isBefore(a, b) && !isBefore(b, a);
};
