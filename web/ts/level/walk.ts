// What level's three kinds of iterators have in common: a walk over a snapshot, that can begin again elsewhere.
import { compare } from '../store/range.js';
import type { ScanOptions } from '../store/scan.js';
import type { Snapshot } from '../store/snapshot.js';
import { rangeOf, type ByteStore, type LevelRange } from './database.js';

export type Walker<T> = (from: Snapshot<Uint8Array, Uint8Array>, options: ScanOptions) => AsyncIterableIterator<T>;

const isWithin = (key: Uint8Array, { gt, gte, lt, lte }: LevelRange): boolean => {
  if (gte ? compare(key, gte) < 0 : gt && compare(key, gt) <= 0) return false;
  return !(lte ? compare(key, lte) > 0 : lt && compare(key, lt) >= 0);
};

export class LevelWalk<T> {
  readonly #options: LevelRange;
  readonly #walker: Walker<T>;
  readonly #taken: Promise<Snapshot<Uint8Array, Uint8Array>>;
  readonly #isOwn: boolean;
  #walk: AsyncIterableIterator<T> | undefined;
  /** Where it begins again; `undefined` at its beginning. */
  #target: Uint8Array | undefined;

  constructor(store: ByteStore, options: LevelRange, walker: Walker<T>) {
    this.#options = options;
    this.#walker = walker;
    this.#isOwn = !options.snapshot;
    this.#taken = options.snapshot?.taken ?? store.snapshot();
    this.#taken.catch(() => {});
  }

  async next(): Promise<T | undefined> {
    this.#walk ??= await this.#begin();
    const { done, value } = await this.#walk.next();
    return done ? undefined : value;
  }

  async many(size: number): Promise<T[]> {
    const found: T[] = [];
    while (found.length < size) {
      const one = await this.next();
      if (one === undefined) break;
      found.push(one);
    }
    return found;
  }

  async #begin(): Promise<AsyncIterableIterator<T>> {
    const { reverse, limit } = this.#options;
    const range = rangeOf(this.#options);
    const target = this.#target;
    const from = await this.#taken;
    const most = limit < 0 ? Infinity : limit;
    if (!target) return this.#walker(from, { ...range, reverse, limit: most });
    // Outside of its range there is nothing.
    if (!isWithin(target, this.#options)) return this.#walker(from, { limit: 0 });
    const { gt, gte, lt, lte } = range;
    const bounds = reverse ? { gt, gte, lte: target } : { gte: target, lt, lte };
    return this.#walker(from, { ...bounds, reverse, limit: most });
  }

  seek(target: Uint8Array): void {
    void this.#walk?.return?.();
    this.#walk = undefined;
    this.#target = target;
  }

  async close(): Promise<void> {
    await this.#walk?.return?.();
    if (this.#isOwn) (await this.#taken).close();
  }
}
