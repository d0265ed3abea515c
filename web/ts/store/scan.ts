// A walk over keys, in pages that are asked for one ahead of need.
import type { Backend, Handle } from '../engine/calls.js';
import { unlessAborted, type Abortable } from './abort.js';
import { TrilithError } from './errors.js';
import { decodePage } from './flat.js';
import { byteRange, type KeyRange } from './range.js';
import type { Context } from './reader.js';

export interface ScanOptions extends KeyRange, Abortable {
  /** From the last key to the first. */
  reverse?: boolean | undefined;
  /** At most so many. */
  limit?: number | undefined;
}

export type Entry<V, K> = [key: K, value: V];

/** `undefined` gives entries. */
export type Fields = 'keys' | 'values' | undefined;

const PAGE_PAIRS = 1024;
const FIRST_PAGE_PAIRS = 64;
const PAGE_BYTES = 256 << 10;
const FIELDS = { keys: 1, values: 2, both: 3 } as const;

const checkLimit = (limit: number): void => {
  if (limit === Infinity || (Number.isInteger(limit) && limit >= 0)) return;
  throw new TrilithError('invalid', `a limit of ${limit}; it is a whole number from 0 on`);
};

/** A cursor that is let go of when the walk ends, however it ends. */
class Walk<V, K> implements AsyncIterableIterator<Entry<V, K> | K | V> {
  readonly #context: Context<V, K>;
  readonly #fields: Fields;
  readonly #signal: AbortSignal | undefined;
  readonly #handle: Handle;
  readonly #begun: Promise<void> | void;
  #left: number;
  #asked = FIRST_PAGE_PAIRS;
  #page: [Uint8Array, Uint8Array][] = [];
  #at = 0;
  #isDone = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(context: Context<V, K>, options: ScanOptions, fields: Fields, snapshot: Handle | undefined) {
    this.#context = context;
    this.#fields = fields;
    this.#signal = options.signal;
    this.#left = options.limit ?? Infinity;
    checkLimit(this.#left);
    this.#handle = context.newHandle();
    const range = { ...byteRange(options, context.text), reverse: options.reverse ?? false, fields: FIELDS[fields ?? 'both'] };
    const begun = context.backend.call('scan', this.#handle, range, snapshot);
    // Who never asks for an entry does not hear that there is none.
    if (begun instanceof Promise) begun.catch(() => {});
    this.#begun = begun;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** One at a time, in the order in which they are asked for. */
  next(): Promise<IteratorResult<Entry<V, K> | K | V>> {
    const next = this.#turn.then(() => this.#next());
    this.#turn = next.catch(() => {});
    return next;
  }

  async #next(): Promise<IteratorResult<Entry<V, K> | K | V>> {
    if (this.#at === this.#page.length && !this.#isDone) await this.#fill();
    const pair = this.#page[this.#at];
    if (!pair) return { done: true, value: undefined };
    this.#at += 1;
    return { done: false, value: this.#shown(pair) };
  }

  #shown([key, value]: [Uint8Array, Uint8Array]): Entry<V, K> | K | V {
    const { codec, keyOf } = this.#context;
    if (this.#fields === 'keys') return keyOf(key);
    // A copy: the page is not kept for the sake of one value.
    const decoded = codec.decode(value.slice());
    return this.#fields === 'values' ? decoded : [keyOf(key), decoded];
  }

  async #fill(): Promise<void> {
    this.#page = [];
    this.#at = 0;
    try {
      this.#signal?.throwIfAborted();
      const limit = Math.min(this.#asked, this.#left);
      if (limit > 0) {
        await this.#begun;
        const page = this.#context.backend.call('page', this.#handle, limit, PAGE_BYTES);
        this.#page = decodePage(await unlessAborted(this.#signal, page));
      }
      this.#left -= this.#page.length;
      this.#asked = PAGE_PAIRS;
      if (this.#page.length === 0 || this.#left === 0) this.#end();
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #end(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    release(this.#context.backend, this.#handle);
  }

  return(): Promise<IteratorResult<Entry<V, K> | K | V>> {
    this.#page = [];
    this.#at = 0;
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** Lets go of what is held for a handle; whoever holds it may be gone, and that is as good. */
export const release = (backend: Backend, handle: Handle): void => {
  try {
    const released = backend.call('release', handle);
    if (released instanceof Promise) released.catch(() => {});
  } catch {
    // It is closed.
  }
};

export const scanEntries = <V, K>(context: Context<V, K>, options: ScanOptions, snapshot?: Handle) =>
  new Walk(context, options, undefined, snapshot) as AsyncIterableIterator<Entry<V, K>>;

export const scanKeys = <V, K>(context: Context<V, K>, options: ScanOptions, snapshot?: Handle) =>
  new Walk(context, options, 'keys', snapshot) as AsyncIterableIterator<K>;

export const scanValues = <V, K>(context: Context<V, K>, options: ScanOptions, snapshot?: Handle) =>
  new Walk(context, options, 'values', snapshot) as AsyncIterableIterator<V>;
