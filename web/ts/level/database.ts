// A store as an abstract-level database: what is written for level runs over it.
import { AbstractLevel, type AbstractDatabaseOptions } from 'abstract-level';
import { isTrilithError, TrilithError } from '../store/errors.js';
import type { OpenOptions } from '../store/options.js';
import type { KeyRange } from '../store/range.js';
import type { BatchStep, Store } from '../store/store.js';
import { LevelIterator, LevelKeys, LevelValues } from './iterators.js';
import { LevelSnapshot } from './snapshot.js';

export type ByteStore = Store<Uint8Array, Uint8Array>;
export type OpenBytes = (name: string, options: OpenOptions<Uint8Array, 'bytes'>) => Promise<ByteStore>;

/** What the store itself is told: where it lies, and so on. Keys and values are level's business. */
export type StoreOptions = Omit<OpenOptions<Uint8Array, 'bytes'>, 'keys' | 'values' | 'signal'>;

export interface LevelOptions<K, V> extends AbstractDatabaseOptions<K, V> {
  store?: StoreOptions | undefined;
}

/** A range as abstract-level hands it down: bytes. */
export interface LevelRange {
  gt?: Uint8Array;
  gte?: Uint8Array;
  lt?: Uint8Array;
  lte?: Uint8Array;
  reverse: boolean;
  limit: number;
  snapshot?: LevelSnapshot | undefined;
}

type Operation = { type: 'put'; key: Uint8Array; value: Uint8Array } | { type: 'del'; key: Uint8Array };

interface WriteOptions {
  /** Synced before it is answered. */
  sync?: boolean;
}

interface ReadOptions {
  snapshot?: LevelSnapshot | undefined;
}

/** Level has both bounds at once; the one that includes its key comes first. */
export const rangeOf = ({ gt, gte, lt, lte }: LevelRange): KeyRange => ({
  ...(gte !== undefined ? { gte } : { gt }),
  ...(lte !== undefined ? { lte } : { lt }),
});

const CLEARED_AT_ONCE = 1000;

/** What the entries make their `TrilithLevel` of. */
export class LevelDatabase<K = string, V = string> extends AbstractLevel<Uint8Array, K, V> {
  readonly #openStore: OpenBytes;
  readonly #location: string;
  readonly #options: StoreOptions;
  #store: ByteStore | undefined;

  /** @internal */
  constructor(openStore: OpenBytes, location: string, { store, ...options }: LevelOptions<K, V> = {}) {
    const supports = {
      encodings: { view: true },
      seek: true,
      has: true,
      implicitSnapshots: true,
      explicitSnapshots: true,
      permanence: store?.storage !== 'memory',
      createIfMissing: false,
      errorIfExists: false,
      additionalMethods: {},
    };
    super(supports as ConstructorParameters<typeof AbstractLevel>[0], options);
    this.#openStore = openStore;
    this.#location = location;
    this.#options = store ?? {};
  }

  /** The name of the store: in Node its directory. */
  get location(): string {
    return this.#location;
  }

  /** The store beneath, while the database is open: for what level has no name for. */
  get store(): ByteStore {
    if (!this.#store) throw new TrilithError('closed', 'the database is not open');
    return this.#store;
  }

  async _open(): Promise<void> {
    try {
      this.#store = await this.#openStore(this.#location, { ...this.#options, keys: 'bytes', values: 'bytes' });
    } catch (error) {
      // The code that level's users look for.
      if (isTrilithError(error, 'locked')) throw Object.assign(new Error(error.message, { cause: error }), { code: 'LEVEL_LOCKED' });
      throw error;
    }
  }

  async _close(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }

  async _get(key: Uint8Array, { snapshot }: ReadOptions): Promise<Uint8Array | undefined> {
    return snapshot ? (await snapshot.taken).get(key) : this.store.get(key);
  }

  async _getMany(keys: Uint8Array[], { snapshot }: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    if (!snapshot) return this.store.getMany(keys);
    const taken = await snapshot.taken;
    return Promise.all(keys.map((key) => taken.get(key)));
  }

  async _has(key: Uint8Array, options: ReadOptions): Promise<boolean> {
    return options.snapshot ? (await this._get(key, options)) !== undefined : this.store.has(key);
  }

  async _hasMany(keys: Uint8Array[], options: ReadOptions): Promise<boolean[]> {
    return Promise.all(keys.map((key) => this._has(key, options)));
  }

  async _put(key: Uint8Array, value: Uint8Array, options: WriteOptions): Promise<void> {
    await this.store.put(key, value);
    await this.#syncIf(options);
  }

  async _del(key: Uint8Array, options: WriteOptions): Promise<void> {
    await this.store.delete(key);
    await this.#syncIf(options);
  }

  async _batch(operations: Operation[], options: WriteOptions): Promise<void> {
    const steps = operations.map((operation): BatchStep<Uint8Array> => {
      if (operation.type === 'del') return { type: 'delete', key: operation.key };
      return { type: 'put', key: operation.key, value: operation.value };
    });
    await this.store.batch(steps);
    await this.#syncIf(options);
  }

  async #syncIf({ sync }: WriteOptions): Promise<void> {
    if (sync) await this.store.sync();
  }

  async _clear(options: LevelRange): Promise<void> {
    const range = rangeOf(options);
    if (options.limit < 0 && !options.snapshot) {
      await this.store.clear(range);
      return;
    }
    const from = options.snapshot ? await options.snapshot.taken : this.store;
    const limit = options.limit < 0 ? Infinity : options.limit;
    let found: BatchStep<Uint8Array>[] = [];
    for await (const key of from.keys({ ...range, reverse: options.reverse, limit })) {
      found.push({ type: 'delete', key });
      if (found.length < CLEARED_AT_ONCE) continue;
      await this.store.batch(found);
      found = [];
    }
    await this.store.batch(found);
  }

  _iterator(options: LevelRange): LevelIterator {
    return new LevelIterator(this, options);
  }

  _keys(options: LevelRange): LevelKeys {
    return new LevelKeys(this, options);
  }

  _values(options: LevelRange): LevelValues {
    return new LevelValues(this, options);
  }

  _snapshot(options: object): LevelSnapshot {
    return new LevelSnapshot(this.store, options);
  }
}
