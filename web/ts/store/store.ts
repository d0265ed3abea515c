// The store as a program uses it: keys are strings or bytes, values what the codec makes of them.
import type { Answer, Args, Handle, ImportResult, MaybePromise, Method, Stats } from '../engine/calls.js';
import type { Explanation } from '../wasm/trilith.js';
import { unlessAborted, type Abortable } from './abort.js';
import { Text, type Codec, type Key } from './codec.js';
import { TrilithError } from './errors.js';
import { decodeValues, encodeChanges, encodeKeys, type Change } from './flat.js';
import type { Gathered } from './gather.js';
import { byteRange, type KeyRange } from './range.js';
import { bytesOf, type Context } from './reader.js';
import { scanEntries, scanKeys, scanValues, type Entry, type ScanOptions } from './scan.js';
import { Snapshot } from './snapshot.js';
import { Export, importFrom, type ImportSource } from './transfer.js';
import { Watch, type Watches } from './watch.js';

export interface PutOptions extends Abortable {
  /** The key goes after so many milliseconds. */
  ttl?: number | undefined;
}

/** A step of a batch. */
export type BatchStep<V> =
  | { type: 'put'; key: Key; value: V; ttl?: number | undefined }
  | { type: 'delete'; key: Key }
  | ({ type: 'clear' } & KeyRange);

/** Where a store's engine runs. */
export type Place = 'here' | 'worker';

export interface StoreParts<V, K> {
  backend: Gathered;
  codec: Codec<V>;
  text: Text;
  keyOf(bytes: Uint8Array): K;
  watches: Watches;
  place: Place;
}

/**
 * A store that is open. Writes take effect in the order in which they are issued, awaited or not. A read sees every write
 * that was fulfilled before it was issued; one that is under way may be seen or not.
 */
export class Store<V, K = string> implements AsyncDisposable {
  /** Whether its engine runs in a worker of its own or in this realm. */
  readonly place: Place;
  readonly #context: Context<V, K> & { backend: Gathered };
  readonly #watches: Watches;
  #lastHandle: Handle = 0;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor({ backend, codec, text, keyOf, watches, place }: StoreParts<V, K>) {
    this.#context = { backend, codec, text, keyOf, newHandle: () => (this.#lastHandle += 1) };
    this.#watches = watches;
    this.place = place;
  }

  /** The value of a key; `undefined` if it is not there. */
  async get(key: Key, options?: Abortable): Promise<V | undefined> {
    this.#check(options);
    const work = this.#context.backend.get(bytesOf(this.#context, key));
    const bytes = work instanceof Promise ? await unlessAborted(options?.signal, work) : work;
    return bytes && this.#context.codec.decode(bytes);
  }

  /** The values of many keys, in their order. */
  async getMany(keys: Iterable<Key>, { signal }: Abortable = {}): Promise<(V | undefined)[]> {
    const flat = encodeKeys(Array.from(keys, (key) => bytesOf(this.#context, key)));
    const values = decodeValues(await this.#call(signal, 'getMany', flat));
    return values.map((bytes) => bytes && this.#context.codec.decode(bytes.slice()));
  }

  /** Whether a key is there. */
  async has(key: Key, { signal }: Abortable = {}): Promise<boolean> {
    return this.#call(signal, 'has', bytesOf(this.#context, key));
  }

  /** When a key goes, in milliseconds since the Unix epoch: 0 for never, `undefined` if it is not there. */
  async deadline(key: Key, { signal }: Abortable = {}): Promise<number | undefined> {
    return this.#call(signal, 'deadline', bytesOf(this.#context, key));
  }

  /** Sets a key. Fulfilled when the write is as durable as the store was opened for. */
  async put(key: Key, value: V, options?: PutOptions): Promise<void> {
    this.#check(options);
    const change: Change = { type: 'put', key: bytesOf(this.#context, key), value: this.#encode(value), ttlMs: options?.ttl };
    return this.#write([change], options?.signal);
  }

  /** Removes a key, if it is there. */
  async delete(key: Key, options?: Abortable): Promise<void> {
    this.#check(options);
    return this.#write([{ type: 'delete', key: bytesOf(this.#context, key) }], options?.signal);
  }

  /** Does all of it or nothing, also through a crash. Later steps on a key win. */
  async batch(steps: Iterable<BatchStep<V>>, options?: Abortable): Promise<void> {
    this.#check(options);
    const changes = Array.from(steps, (step) => this.#changeOf(step));
    if (changes.length > 0) await this.#write(changes, options?.signal);
  }

  /** Removes all keys of a range; all keys where none is said. */
  async clear({ signal, ...range }: KeyRange & Abortable = {}): Promise<void> {
    return this.batch([{ type: 'clear', ...range }], { signal });
  }

  /**
   * Sets a key to `value` (`undefined`: removes it) if its value is `expected` (`undefined`: if it is not there), and tells
   * whether it was so. Values are compared as bytes: an object whose properties come in another order is another value.
   */
  async compareAndSet(
    key: Key,
    expected: V | undefined,
    value: V | undefined,
    { ttl, signal }: PutOptions = {},
  ): Promise<boolean> {
    const bytes = [expected, value].map((given) => (given === undefined ? undefined : this.#encode(given)));
    // Checked as any write is.
    encodeChanges([{ type: 'put', key: bytesOf(this.#context, key), value: bytes[1] ?? new Uint8Array(), ttlMs: ttl }]);
    return this.#call(signal, 'compareAndSet', bytesOf(this.#context, key), bytes[0], bytes[1], ttl);
  }

  /** Entries in the order of their keys' bytes, as they were when this was called. */
  scan(options: ScanOptions = {}): AsyncIterableIterator<Entry<V, K>> {
    this.#check();
    return scanEntries(this.#context, options);
  }

  /** The same, keys only. */
  keys(options: ScanOptions = {}): AsyncIterableIterator<K> {
    this.#check();
    return scanKeys(this.#context, options);
  }

  /** The same, values only. */
  values(options: ScanOptions = {}): AsyncIterableIterator<V> {
    this.#check();
    return scanValues(this.#context, options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Entry<V, K>> {
    return this.scan();
  }

  /** The store as it is now. To be closed, as it keeps what it shows. */
  async snapshot({ signal }: Abortable = {}): Promise<Snapshot<V, K>> {
    const handle = this.#context.newHandle();
    await this.#call(signal, 'snapshot', handle);
    return new Snapshot(this.#context, handle);
  }

  /** Changes of keys that begin with `prefix`, whoever makes them, from now on. */
  watch(prefix: Key = '', options: Abortable = {}): Watch<V, K> {
    this.#check();
    const bytes = bytesOf(this.#context, prefix).slice();
    const range = { ...byteRange({ prefix: bytes }, this.#context.text), prefix: bytes };
    const { keyOf, codec, backend } = this.#context;
    const ready = this.#watches.isEmpty || !this.#watching ? backend.call('watch', true) : this.#watching;
    this.#watching = Promise.resolve(ready);
    const watch: Watch<V, K> = new Watch<V, K>(
      { keyOf, decode: (value) => codec.decode(value) },
      range,
      this.#watching,
      () => {
        this.#unwatch(watch);
      },
      options,
    );
    if (!options.signal?.aborted) this.#watches.add(watch as Watch<unknown, unknown>);
    return watch;
  }

  #watching: Promise<void> | undefined;

  #unwatch(watch: Watch<V, K>): void {
    this.#watches.delete(watch as Watch<unknown, unknown>);
    if (!this.#watches.isEmpty || this.#isClosed) return;
    this.#watching = undefined;
    Promise.resolve(this.#context.backend.call('watch', false)).catch(() => {});
  }

  /** How many keys there are in a range; in all where none is said. Walks over them. */
  async size({ signal, ...range }: KeyRange & Abortable = {}): Promise<number> {
    const { start, end } = byteRange(range, this.#context.text);
    return this.#call(signal, 'count', start, end);
  }

  /** Numbers about the store. */
  async stats({ signal }: Abortable = {}): Promise<Stats> {
    return this.#call(signal, 'stats');
  }

  /** Reads a key and tells which way the read took. */
  async explain(key: Key, { signal }: Abortable = {}): Promise<Explanation> {
    return this.#call(signal, 'explain', bytesOf(this.#context, key));
  }

  /** What was acknowledged so far survives a loss of power from here on. */
  async sync({ signal }: Abortable = {}): Promise<void> {
    return this.#call(signal, 'sync');
  }

  /** The store as an RDB file, in pieces. */
  export(options: Abortable = {}): Export {
    this.#check();
    return new Export(this.#context.backend, this.#context.newHandle, options);
  }

  /** Writes what is in an RDB file over what is in the store. Nothing is written before all of it was read and checked. */
  async import(source: ImportSource, options: Abortable = {}): Promise<ImportResult> {
    this.#check();
    return importFrom(this.#context.backend, this.#context.newHandle(), source, options);
  }

  /** Ends the store in good order: what was issued is done first. Calls from now on reject with `closed`. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#closing ??= this.#context.backend.close().finally(() => {
      this.#watches.finish();
    });
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #check(options?: Abortable): void {
    if (this.#isClosed) throw new TrilithError('closed', 'the store was closed');
    options?.signal?.throwIfAborted();
  }

  #call<M extends Method>(signal: AbortSignal | undefined, method: M, ...args: Args<M>): MaybePromise<Answer<M>> {
    if (this.#isClosed) throw new TrilithError('closed', 'the store was closed');
    signal?.throwIfAborted();
    return unlessAborted(signal, this.#context.backend.call(method, ...args));
  }

  #encode(value: V): Uint8Array {
    return this.#context.codec.encode(value);
  }

  #changeOf(step: BatchStep<V>): Change {
    if (step.type === 'put') {
      const key = bytesOf(this.#context, step.key);
      return { type: 'put', key, value: this.#encode(step.value), ttlMs: step.ttl };
    }
    if (step.type === 'delete') return { type: 'delete', key: bytesOf(this.#context, step.key) };
    if (step.type !== 'clear') {
      throw new TrilithError('invalid', 'a step of a batch is of type "put", "delete" or "clear"');
    }
    const { type, ...range } = step;
    const { start, end } = byteRange(range, this.#context.text);
    return { type, start: start ?? new Uint8Array(), end };
  }

  #write(changes: readonly Change[], signal: AbortSignal | undefined): MaybePromise<void> {
    return unlessAborted(signal, this.#context.backend.write(encodeChanges(changes)));
  }
}
