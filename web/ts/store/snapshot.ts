// A store as it was, to be read from until it is closed.
import type { Handle } from '../engine/calls.js';
import { unlessAborted, type Abortable } from './abort.js';
import type { Key } from './codec.js';
import { bytesOf, type Context } from './reader.js';
import { release, scanEntries, scanKeys, scanValues, type Entry, type ScanOptions } from './scan.js';

/** A store as it was when `snapshot()` was called. Holds that state until it is closed. */
export class Snapshot<V, K = string> implements AsyncDisposable {
  readonly #context: Context<V, K>;
  readonly #handle: Handle;

  /** @internal */
  constructor(context: Context<V, K>, handle: Handle) {
    this.#context = context;
    this.#handle = handle;
  }

  /** The value of a key at that time; `undefined` if it was not there. */
  async get(key: Key, { signal }: Abortable = {}): Promise<V | undefined> {
    signal?.throwIfAborted();
    const work = this.#context.backend.call('get', bytesOf(this.#context, key), this.#handle);
    const bytes = await unlessAborted(signal, work);
    return bytes && this.#context.codec.decode(bytes);
  }

  /** Entries in the order of their keys' bytes. */
  scan(options: ScanOptions = {}): AsyncIterableIterator<Entry<V, K>> {
    return scanEntries(this.#context, options, this.#handle);
  }

  keys(options: ScanOptions = {}): AsyncIterableIterator<K> {
    return scanKeys(this.#context, options, this.#handle);
  }

  values(options: ScanOptions = {}): AsyncIterableIterator<V> {
    return scanValues(this.#context, options, this.#handle);
  }

  /** Lets go of the state. Scans that were begun go on. */
  close(): void {
    release(this.#context.backend, this.#handle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await Promise.resolve();
  }
}
