// One caller's view of an engine: its calls, and what it holds there. A page has one, and so has each tab and worker that
// reaches the store through it.
import type { Cursor, Exporter, Importer, Snapshot, Store } from '../wasm/trilith.js';
import { TrilithError } from '../store/errors.js';
import type { Answer, Args, Backend, Handle, Listener, MaybePromise, Method, Stats } from './calls.js';
import type { Engine } from './engine.js';

interface Kinds {
  cursor: Cursor;
  snapshot: Snapshot;
  exporter: Exporter;
  importer: Importer;
}

interface Held {
  is: keyof Kinds;
  object: Kinds[keyof Kinds];
}

type Table = { [M in Method]: (...args: Args<M>) => MaybePromise<Answer<M>> };

export interface SessionOptions {
  /** Each write is synced before it is answered, whatever the store does by itself. */
  syncs: boolean;
  listener: Listener;
  /** Called when it is closed. */
  onClose?: () => Promise<void>;
}

const statsOf = (store: Store, rebuilt: number): Stats => {
  const { trouble, backgroundErrors, ...numbers } = store.stats();
  const errors = Object.entries(backgroundErrors).map(([name, error]) => [name, error.message] as const);
  return { ...numbers, trouble: trouble?.message, backgroundErrors: Object.fromEntries(errors), rebuilt };
};

export class Session implements Backend {
  readonly #engine: Engine;
  readonly #options: SessionOptions;
  readonly #held = new Map<Handle, Held>();
  #generation: number;

  constructor(engine: Engine, options: SessionOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#generation = engine.generation;
  }

  call<M extends Method>(method: M, ...args: Args<M>): MaybePromise<Answer<M>> {
    const call = this.#calls[method] as (...args: Args<M>) => MaybePromise<Answer<M>>;
    return call(...args);
  }

  /** What is held, which must be of this kind. */
  #at<K extends keyof Kinds>(handle: Handle, kind: K): Kinds[K] {
    this.#forgetWhatIsGone();
    const held = this.#held.get(handle);
    if (held?.is !== kind) throw new TrilithError('lost', `the ${kind} is gone`, { reason: 'owner' });
    return held.object as Kinds[K];
  }

  #hold(handle: Handle, held: Held): void {
    this.#forgetWhatIsGone();
    this.#held.set(handle, held);
  }

  /** What an instance held that has panicked is gone with it. */
  #forgetWhatIsGone(): void {
    if (this.#generation === this.#engine.generation) return;
    this.#generation = this.#engine.generation;
    this.#held.clear();
  }

  #read<T>(call: (store: Store) => MaybePromise<T>): MaybePromise<T> {
    return this.#engine.run(false, call);
  }

  #write<T>(call: (store: Store) => MaybePromise<T>): MaybePromise<T> {
    if (!this.#options.syncs) return this.#engine.run(true, call);
    return this.#engine.run(true, async (store) => {
      const answer = await call(store);
      await store.sync();
      return answer;
    });
  }

  readonly #calls: Table = {
    get: (key, snapshot) =>
      this.#read((store) => (snapshot === undefined ? store.get(key) : this.#at(snapshot, 'snapshot').get(key))),
    getMany: (keys) => this.#read((store) => store.getMany(keys)),
    has: (key) => this.#read((store) => store.has(key)),
    deadline: (key) => this.#read((store) => store.deadline(key)),
    write: (operations) => this.#write<void>((store) => store.write(operations)),
    compareAndSet: (key, expected, value, ttlMs) =>
      this.#write((store) => store.compareAndSet(key, expected, value, ttlMs)),
    count: (start, end) => this.#read((store) => store.count(start, end)),
    scan: (handle, { start, end, reverse, fields }, snapshot) =>
      this.#read<void>((store) => {
        const from = snapshot === undefined ? store : this.#at(snapshot, 'snapshot');
        this.#hold(handle, { is: 'cursor', object: from.scan(start, end, reverse, fields) });
      }),
    page: (handle, limit, maxBytes) => this.#read(() => this.#at(handle, 'cursor').next(limit, maxBytes)),
    snapshot: (handle) =>
      this.#read<void>((store) => {
        this.#hold(handle, { is: 'snapshot', object: store.snapshot() });
      }),
    export: (handle) =>
      this.#read<void>((store) => {
        this.#hold(handle, { is: 'exporter', object: store.exportRdb() });
      }),
    exported: (handle) => this.#read(() => this.#at(handle, 'exporter').next()),
    import: (handle) =>
      this.#read<void>(async (store) => {
        this.#hold(handle, { is: 'importer', object: await store.importRdb() });
      }),
    push: (handle, piece) =>
      this.#read<void>(() => {
        this.#at(handle, 'importer').push(piece);
      }),
    finish: (handle) =>
      this.#write(async () => {
        const taken = await this.#at(handle, 'importer').finish();
        this.#engine.tellMissed();
        return taken;
      }),
    release: (handle) => {
      this.#forgetWhatIsGone();
      const held = this.#held.get(handle);
      this.#held.delete(handle);
      held?.object.free();
    },
    explain: (key) => this.#read((store) => store.explain(key)),
    stats: () => this.#read((store) => statsOf(store, this.#engine.generation - 1)),
    sync: () => this.#read<void>((store) => store.sync()),
    watch: (on) => {
      if (on) this.#engine.listen(this.#options.listener);
      else this.#engine.unlisten(this.#options.listener);
    },
  };

  /** Lets go of what it holds; the engine goes on. */
  leave(): void {
    this.#engine.unlisten(this.#options.listener);
    for (const handle of [...this.#held.keys()]) {
      try {
        void this.#calls.release(handle);
      } catch {
        // The instance has panicked, and everything in it is gone.
      }
    }
  }

  async close(): Promise<void> {
    this.leave();
    await this.#options.onClose?.();
  }
}

/** A session that owns its engine: that of who opened the store for itself. */
export const ownSession = (engine: Engine, listener: Listener): Session =>
  new Session(engine, { syncs: false, listener, onClose: () => engine.close() });
