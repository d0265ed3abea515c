// The store in this realm: an instance of the module with a store that is open in it. When the instance panics it is
// rebuilt from the module and from what was written; what was under way then is rejected, as it is never answered.
import type { Store, StoreOptions } from '../wasm/trilith.js';
import { makeInstance, type Instance } from '../wasm/instance.js';
import { TrilithError } from '../store/errors.js';
import type { Listener, MaybePromise } from './calls.js';
import { instantiate, type Loaded } from './instance.js';

export interface EngineOptions {
  module: WebAssembly.Module;
  /** What the store is opened with: made anew each time, as a host is good for one instance. */
  storeOptions: () => StoreOptions;
  /** Whether what was written is there again when the store is opened again. */
  isKept: boolean;
  /** How long to wait, at first, for another who is about to let go of the store. */
  patienceMs: number;
}

interface Running {
  loaded: Loaded<Instance>;
  store: Store;
  releases: (() => void)[];
  /** Which instance it is, from 1. */
  generation: number;
}

type State =
  | { is: 'opening'; done: Promise<void> }
  | { is: 'open'; running: Running }
  | { is: 'broken'; error: TrilithError }
  | { is: 'closed' };

interface Waiting {
  isWrite: boolean;
  reject(error: TrilithError): void;
}

const RETRY_MS = 50;
/** What a dead instance held may take so long to be free. */
const REBUILD_PATIENCE_MS = 5_000;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Engine {
  readonly #options: EngineOptions;
  #state: State = { is: 'closed' };
  #generation = 0;
  readonly #waiting = new Set<Waiting>();
  readonly #listeners = new Set<Listener>();

  private constructor(options: EngineOptions) {
    this.#options = options;
  }

  /**
   * Opens the store.
   *
   * @throws {TrilithError} what opening fails with
   */
  static async open(options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options);
    await engine.#begin(options.patienceMs);
    return engine;
  }

  /** Which instance it is that answers, from 1. What was held by one is not known to the next. */
  get generation(): number {
    return this.#generation;
  }

  /** The memory of the instance. */
  get memory(): WebAssembly.Memory | undefined {
    return this.#state.is === 'open' ? this.#state.running.loaded.memory : undefined;
  }

  #begin(patienceMs: number): Promise<void> {
    const done = this.#open(performance.now() + patienceMs);
    this.#state = { is: 'opening', done };
    // Whoever waits for it hears of it.
    done.catch(() => {});
    return done;
  }

  async #open(until: number): Promise<void> {
    for (;;) {
      try {
        const running = await this.#openOnce();
        if (this.#state.is === 'closed') {
          for (const release of running.releases) release();
          return;
        }
        this.#state = { is: 'open', running };
        if (this.#listeners.size > 0) this.#listen(running.store);
        return;
      } catch (error) {
        const failure = TrilithError.from(error);
        const isPassing = failure.code === 'locked' && failure.reason === undefined;
        if (!isPassing || performance.now() > until) {
          if (this.#state.is === 'opening') this.#state = { is: 'broken', error: failure };
          throw failure;
        }
      }
      await sleep(RETRY_MS);
    }
  }

  async #openOnce(): Promise<Running> {
    const generation = ++this.#generation;
    const releases: (() => void)[] = [];
    let panicked: (error: TrilithError) => void = () => {};
    const panic = new Promise<never>((_, reject) => (panicked = reject));
    panic.catch(() => {});
    const letGo = (): void => {
      for (const release of releases.splice(0)) release();
    };
    try {
      const loaded = await instantiate(makeInstance, this.#options.module, (message) => {
        panicked(new TrilithError('poisoned', `the instance has panicked while it opened the store (${message})`));
        // Not from within the panic.
        queueMicrotask(() => this.#onEnd(generation, message));
      });
      const opening = loaded.instance.Store.open({ ...this.#options.storeOptions(), releases });
      return { loaded, store: await Promise.race([opening, panic]), releases, generation };
    } catch (error) {
      letGo();
      throw error;
    }
  }

  /** The instance has panicked: what it held is let go of, and another takes its place. */
  #onEnd(generation: number, message: string): void {
    if (this.#state.is !== 'open' || this.#state.running.generation !== generation) return;
    const { releases } = this.#state.running;
    for (const release of releases) {
      try {
        release();
      } catch {
        // What cannot be let go of shows when the store is opened again.
      }
    }
    const what = `the instance has panicked (${message})`;
    if (this.#options.isKept) void this.#begin(REBUILD_PATIENCE_MS).catch(() => {});
    else this.#state = { is: 'broken', error: new TrilithError('lost', `${what}, and a store in memory ends with it`) };
    for (const waiting of [...this.#waiting]) {
      const code = waiting.isWrite ? 'unknown' : 'poisoned';
      waiting.reject(new TrilithError(code, what));
    }
    this.#waiting.clear();
    for (const listener of this.#listeners) listener.missed();
  }

  /** Calls into the store, or behind its opening if that is under way. */
  run<T>(isWrite: boolean, call: (store: Store, running: Running) => MaybePromise<T>): MaybePromise<T> {
    if (this.#state.is === 'open') return this.#now(isWrite, call, this.#state.running);
    if (this.#state.is === 'opening') return this.#state.done.then(() => this.run(isWrite, call));
    if (this.#state.is === 'broken') throw this.#state.error;
    throw new TrilithError('closed', 'the store was closed');
  }

  #now<T>(isWrite: boolean, call: (store: Store, running: Running) => MaybePromise<T>, running: Running): MaybePromise<T> {
    let result: MaybePromise<T>;
    try {
      result = call(running.store, running);
    } catch (error) {
      const failure = TrilithError.from(error);
      // It panicked within this very call: nobody can tell how far a write had come.
      throw failure.code === 'poisoned' && isWrite ? failure.as('unknown') : failure;
    }
    return result instanceof Promise ? this.#tracked(isWrite, result) : result;
  }

  #tracked<T>(isWrite: boolean, result: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = { isWrite, reject };
      this.#waiting.add(waiting);
      result.then(
        (value) => {
          this.#waiting.delete(waiting);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(waiting);
          reject(TrilithError.from(error));
        },
      );
    });
  }

  /** Tells of what is changed from now on. */
  listen(listener: Listener): void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1 && this.#state.is === 'open') this.#listen(this.#state.running.store);
  }

  unlisten(listener: Listener): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0 || this.#state.is !== 'open') return;
    try {
      this.#state.running.store.onChange(undefined);
    } catch {
      // It has panicked: nobody is told of anything.
    }
  }

  #listen(store: Store): void {
    store.onChange((operations: Uint8Array) => {
      for (const listener of this.#listeners) listener.changes([operations]);
    });
  }

  /** Changes were made that nobody was told of. */
  tellMissed(): void {
    for (const listener of this.#listeners) listener.missed();
  }

  /** Ends the store in good order. */
  async close(): Promise<void> {
    const state = this.#state;
    if (state.is === 'opening') await state.done.catch(() => {});
    if (this.#state.is !== 'open') {
      this.#state = { is: 'closed' };
      return;
    }
    const { store, releases } = this.#state.running;
    const closing = this.#now(true, () => store.close(), this.#state.running);
    this.#state = { is: 'closed' };
    this.#listeners.clear();
    try {
      await closing;
    } finally {
      for (const release of releases) release();
    }
  }
}
