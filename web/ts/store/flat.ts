// Flat arrays, see INTERFACE.md: operations, keys, values and pages, behind each other.
import { TrilithError } from './errors.js';

const PUT = 1;
const PUT_FOR = 2;
const DELETE = 3;
const DELETE_RANGE = 4;
const NOTHING = 0xffff_ffff;
export const KEY_BYTES_MAX = 65_535;
export const VALUE_BYTES_MAX = 512 * 2 ** 20;

/** One change. */
export type Change =
  | { type: 'put'; key: Uint8Array; value: Uint8Array; ttlMs?: number | undefined }
  | { type: 'delete'; key: Uint8Array }
  /** From `start` on and before `end`; without one to the last key. */
  | { type: 'clear'; start: Uint8Array; end: Uint8Array | undefined };

const viewOf = (flat: Uint8Array): DataView => new DataView(flat.buffer, flat.byteOffset, flat.byteLength);

/** @throws {TrilithError} `invalid` */
export const checkKey = (key: Uint8Array): void => {
  if (key.length > KEY_BYTES_MAX) {
    throw new TrilithError('invalid', `a key of ${key.length} bytes; ${KEY_BYTES_MAX} is the most`);
  }
};

const lengthOf = (change: Change): number => {
  switch (change.type) {
    case 'put':
      return 9 + (change.ttlMs === undefined ? 0 : 8) + change.key.length + change.value.length;
    case 'delete':
      return 5 + change.key.length;
    case 'clear':
      return 9 + change.start.length + (change.end?.length ?? 0);
  }
};

const check = (change: Change): void => {
  checkKey(change.type === 'clear' ? change.start : change.key);
  if (change.type === 'clear' && change.end) checkKey(change.end);
  if (change.type !== 'put') return;
  if (change.value.length > VALUE_BYTES_MAX) {
    throw new TrilithError('invalid', `a value of ${change.value.length} bytes; ${VALUE_BYTES_MAX} is the most`);
  }
  if (change.ttlMs !== undefined && !(Number.isFinite(change.ttlMs) && change.ttlMs > 0)) {
    throw new TrilithError('invalid', `a time to live of ${change.ttlMs} ms; it is a number above 0`);
  }
};

const writeChange = (flat: Uint8Array, view: DataView, from: number, change: Change): number => {
  let at = from;
  const u32 = (number: number): void => {
    view.setUint32(at, number, true);
    at += 4;
  };
  const raw = (bytes: Uint8Array): void => {
    flat.set(bytes, at);
    at += bytes.length;
  };
  if (change.type === 'put') {
    view.setUint8(at++, change.ttlMs === undefined ? PUT : PUT_FOR);
    if (change.ttlMs !== undefined) {
      view.setFloat64(at, change.ttlMs, true);
      at += 8;
    }
    u32(change.key.length);
    u32(change.value.length);
    raw(change.key);
    raw(change.value);
  } else if (change.type === 'delete') {
    view.setUint8(at++, DELETE);
    u32(change.key.length);
    raw(change.key);
  } else {
    view.setUint8(at++, DELETE_RANGE);
    u32(change.start.length);
    u32(change.end?.length ?? NOTHING);
    raw(change.start);
    if (change.end) raw(change.end);
  }
  return at;
};

/**
 * Changes as operations. They are checked, so that none of them is refused when they are written together with others.
 *
 * @throws {TrilithError} `invalid`
 */
export const encodeChanges = (changes: readonly Change[]): Uint8Array => {
  let length = 0;
  for (const change of changes) {
    check(change);
    length += lengthOf(change);
  }
  const flat = new Uint8Array(length);
  const view = viewOf(flat);
  let at = 0;
  for (const change of changes) at = writeChange(flat, view, at, change);
  return flat;
};

/** What operations say. The bytes are views of `flat`. */
export function* decodeChanges(flat: Uint8Array): Generator<Change> {
  const view = viewOf(flat);
  let at = 0;
  const raw = (length: number): Uint8Array => flat.subarray(at, (at += length));
  const u32 = (): number => view.getUint32((at += 4) - 4, true);
  while (at < flat.length) {
    const kind = view.getUint8(at++);
    if (kind === PUT || kind === PUT_FOR) {
      const ttlMs = kind === PUT_FOR ? view.getFloat64((at += 8) - 8, true) : undefined;
      const keyLength = u32();
      const valueLength = u32();
      yield { type: 'put', key: raw(keyLength), value: raw(valueLength), ttlMs };
    } else if (kind === DELETE) {
      const length = u32();
      yield { type: 'delete', key: raw(length) };
    } else if (kind === DELETE_RANGE) {
      const startLength = u32();
      const endLength = u32();
      yield { type: 'clear', start: raw(startLength), end: endLength === NOTHING ? undefined : raw(endLength) };
    } else {
      throw new TrilithError('corrupt', `operation ${kind} is not known`);
    }
  }
}

/** Keys, as getMany takes them. */
export const encodeKeys = (keys: readonly Uint8Array[]): Uint8Array => {
  let length = 0;
  for (const key of keys) {
    checkKey(key);
    length += 4 + key.length;
  }
  const flat = new Uint8Array(length);
  const view = viewOf(flat);
  let at = 0;
  for (const key of keys) {
    view.setUint32(at, key.length, true);
    flat.set(key, at + 4);
    at += 4 + key.length;
  }
  return flat;
};

/** What getMany answers. The bytes are views of `flat`. */
export const decodeValues = (flat: Uint8Array): (Uint8Array | undefined)[] => {
  const view = viewOf(flat);
  const values: (Uint8Array | undefined)[] = [];
  for (let at = 0; at < flat.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    if (length === NOTHING) values.push(undefined);
    else values.push(flat.subarray(at, (at += length)));
  }
  return values;
};

/** A page of a cursor. The bytes are views of `flat`. */
export const decodePage = (flat: Uint8Array): [key: Uint8Array, value: Uint8Array][] => {
  const view = viewOf(flat);
  const pairs: [Uint8Array, Uint8Array][] = [];
  for (let at = 0; at < flat.length; ) {
    const key = at + 8;
    const value = key + view.getUint32(at, true);
    const end = value + view.getUint32(at + 4, true);
    pairs.push([flat.subarray(key, value), flat.subarray(value, end)]);
    at = end;
  }
  return pairs;
};

/** Flat arrays behind each other. */
export const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};
