// A store as what Keyv keeps its entries in: `new Keyv({ store: new KeyvTrilith("cache") })`. For Keyv 6, whose deadlines
// are moments. Opened when it is first used.
import type { OpenOptions } from '../store/options.js';
import type { BatchStep, Store } from '../store/store.js';

export type KeyvTrilithOptions = Omit<OpenOptions<unknown>, 'keys' | 'values' | 'signal'>;
export type OpenValues = (name: string, options: KeyvTrilithOptions) => Promise<Store<unknown>>;

export interface KeyvEntry {
  key: string;
  value: unknown;
  /** When it goes, in milliseconds since the Unix epoch. */
  expires?: number | undefined;
}

/** No name of a namespace holds it. */
const SEPARATOR = '\0';

/** What the entries make their `KeyvTrilith` of. */
export class KeyvAdapter implements AsyncDisposable {
  /** Keys of one namespace are kept apart from those of others. Set by Keyv. */
  namespace: string | undefined;
  readonly #openStore: OpenValues;
  readonly #name: string;
  readonly #options: KeyvTrilithOptions;
  #opened: Promise<Store<unknown>> | undefined;

  /** @internal */
  constructor(openStore: OpenValues, name: string, options: KeyvTrilithOptions) {
    this.#openStore = openStore;
    this.#name = name;
    this.#options = options;
  }

  /** Deadlines are moments, and are kept here. */
  get capabilities(): { expires: true } {
    return { expires: true };
  }

  /** The store beneath. Opens it. */
  store(): Promise<Store<unknown>> {
    this.#opened ??= this.#openStore(this.#name, this.#options).catch((error: unknown) => {
      // The next call tries again.
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  get #prefix(): string {
    return this.namespace === undefined ? '' : this.namespace + SEPARATOR;
  }

  #step({ key, value, expires }: KeyvEntry): BatchStep<unknown> {
    const named = this.#prefix + key;
    const ttl = expires === undefined ? undefined : expires - Date.now();
    if (value === undefined || (ttl !== undefined && ttl <= 0)) return { type: 'delete', key: named };
    return { type: 'put', key: named, value, ttl };
  }

  async get<T = unknown>(key: string): Promise<T | undefined> {
    const named = this.#prefix + key;
    return (await (await this.store()).get(named)) as T | undefined;
  }

  async getMany<T = unknown>(keys: string[]): Promise<(T | undefined)[]> {
    const named = keys.map((key) => this.#prefix + key);
    return (await (await this.store()).getMany(named)) as (T | undefined)[];
  }

  async set(key: string, value: unknown, expires?: number): Promise<boolean> {
    const step = this.#step({ key, value, expires });
    await (await this.store()).batch([step]);
    return true;
  }

  async setMany(entries: KeyvEntry[]): Promise<boolean[]> {
    const steps = entries.map((entry) => this.#step(entry));
    await (await this.store()).batch(steps);
    return entries.map(() => true);
  }

  async has(key: string): Promise<boolean> {
    const named = this.#prefix + key;
    return (await this.store()).has(named);
  }

  async hasMany(keys: string[]): Promise<boolean[]> {
    return Promise.all(keys.map((key) => this.has(key)));
  }

  /** Whether the key was there. */
  async delete(key: string): Promise<boolean> {
    const [was] = await this.deleteMany([key]);
    return was ?? false;
  }

  async deleteMany(keys: string[]): Promise<boolean[]> {
    const named = keys.map((key) => this.#prefix + key);
    const store = await this.store();
    const were = await Promise.all(named.map((key) => store.has(key)));
    await store.batch(named.map((key) => ({ type: 'delete', key })));
    return were;
  }

  /** Removes all keys of the namespace, or of the store where there is none. */
  async clear(): Promise<void> {
    const prefix = this.#prefix;
    await (await this.store()).clear(prefix === '' ? {} : { prefix });
  }

  /** Keys of the namespace, without it, and their values. */
  async *iterator(): AsyncGenerator<[key: string, value: unknown], void> {
    const prefix = this.#prefix;
    const store = await this.store();
    for await (const [key, value] of store.scan({ prefix })) yield [key.slice(prefix.length), value];
  }

  async disconnect(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await (await opened)?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}
