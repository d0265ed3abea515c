// Opens stores: chooses where the engine runs, and puts the layers on each other.
//
//     Store (keys, values)  ->  Gathered (calls of one turn)  ->  a Backend:
//       Session              the engine in this realm
//       RemoteBackend        the same in a worker
//       TabsBackend          in whichever tab or worker owns the store
import type { Backend } from './engine/calls.js';
import { Engine } from './engine/engine.js';
import { moduleOf } from './engine/instance.js';
import { ownSession } from './engine/session.js';
import type { Platform } from './platform/platform.js';
import { inWorker } from './remote/in-worker.js';
import { codecOf, Text } from './store/codec.js';
import { TrilithError } from './store/errors.js';
import { Gathered } from './store/gather.js';
import type { EngineSettings, OpenOptions } from './store/options.js';
import type { KeyForm } from './store/reader.js';
import { Store, type Place } from './store/store.js';
import { Watches } from './store/watch.js';
import { canShare, TabsBackend } from './tabs/tabs.js';

const OPEN_TIMEOUT_MS = 10_000;
/** The browser takes its time to let go of what a dead worker held. Who owns a shared store knows that nobody else is left;
 *  others are told soon that it is taken. */
const PATIENCE_MS = { shared: 5_000, opfs: 500, other: 0 };

export type KeyOf<F extends KeyForm> = F extends 'bytes' ? Uint8Array : string;
type AnyOptions = OpenOptions<unknown, KeyForm>;

/** Opens stores on a platform. */
export interface Open {
  /**
   * Opens a store, or makes one. Values are JSON unless `values` says otherwise.
   *
   * @throws {TrilithError} `locked` if it is open where it cannot be shared, `invalid`, `newer`, `failed`, `corrupt`
   */
  <V = unknown, F extends KeyForm = 'string'>(name: string, options?: OpenOptions<V, F>): Promise<Store<V, KeyOf<F>>>;
}

const settingsOf = (platform: Platform, name: string, options: AnyOptions): EngineSettings => {
  if (typeof name !== 'string' || name === '') throw new TrilithError('invalid', 'a store has a name, which is not empty');
  const storage = options.storage ?? platform.defaultStorage();
  if (!platform.storages.includes(storage)) {
    const those = platform.storages.map((one) => JSON.stringify(one)).join(', ');
    throw new TrilithError('invalid', `storage ${JSON.stringify(storage)} is not to be had here; there are ${those}`);
  }
  const { durability = 'everysec', wasm, memoryBytes, memtableBytes, largeValueBytes } = options;
  if (!['always', 'everysec', 'no'].includes(durability)) {
    throw new TrilithError('invalid', `durability ${JSON.stringify(durability)}; it is "always", "everysec" or "no"`);
  }
  const shared = storage !== 'memory' && storage !== 'files' && (options.shared ?? true);
  const openTimeoutMs = options.openTimeoutMs ?? OPEN_TIMEOUT_MS;
  return { name, storage, durability, shared, wasm, memoryBytes, memtableBytes, largeValueBytes, openTimeoutMs };
};

const defined = <T extends object>(options: T): { [P in keyof T]?: Exclude<T[P], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;

/** The engine of a store, in this realm. */
export const openEngine = async (platform: Platform, settings: EngineSettings): Promise<Engine> => {
  const { name, storage, durability, memoryBytes, memtableBytes, largeValueBytes, openTimeoutMs } = settings;
  const storageOf = () => {
    if (storage === 'memory') return 'memory' as const;
    return storage === 'indexeddb' ? { indexedDB: name } : { files: platform.files(settings) };
  };
  return Engine.open({
    module: await moduleOf(settings.wasm ?? platform.wasm(), (address) => platform.read(address)),
    storeOptions: () => ({
      storage: storageOf(),
      sync: durability,
      openTimeoutMs,
      ...defined({ memoryBytes, memtableBytes, largeValueBytes }),
    }),
    isKept: storage !== 'memory',
    patienceMs: PATIENCE_MS[settings.shared ? 'shared' : storage === 'opfs' ? 'opfs' : 'other'],
  });
};

/** The store in this realm, or in the tab that owns it. What the worker runs as well. */
export const openHere = async (platform: Platform, settings: EngineSettings, watches: Watches | Listening): Promise<Backend> => {
  const engine = (): Promise<Engine> => openEngine(platform, settings);
  if (settings.shared && canShare()) return TabsBackend.open(settings, engine, watches);
  return ownSession(await engine(), watches);
};

type Listening = Parameters<typeof ownSession>[1];

export const opener =
  (platform: Platform): Open =>
  async <V, F extends KeyForm>(name: string, options: OpenOptions<V, F> = {}): Promise<Store<V, KeyOf<F>>> => {
    const { signal, keys = 'string' } = options;
    signal?.throwIfAborted();
    const settings = settingsOf(platform, name, options as AnyOptions);
    const text = new Text();
    const codec = codecOf<V>(options.values ?? 'json', text);
    const watches = new Watches();
    const { backend, place } = await placed(platform, settings, options as AnyOptions, watches);
    if (signal?.aborted) {
      await backend.close();
      signal.throwIfAborted();
    }
    const keyOf = (bytes: Uint8Array) => (keys === 'bytes' ? bytes.slice() : text.decode(bytes, 'a key')) as KeyOf<F>;
    const gathered = new Gathered(backend, settings.shared || place === 'worker');
    return new Store<V, KeyOf<F>>({ backend: gathered, codec, text, keyOf, watches, place });
  };

/** The backend, in a worker if there is one to be had. */
const placed = async (
  platform: Platform,
  settings: EngineSettings,
  options: AnyOptions,
  watches: Watches,
): Promise<{ backend: Backend; place: Place }> => {
  const wish = options.worker ?? settings.storage !== 'memory';
  const start = typeof wish === 'function' ? wish : wish ? platform.worker : undefined;
  if (start) {
    const backend = await inWorker(start, settings, watches, (why) => {
      const notice = `trilith: the store "${settings.name}" runs in the page, as its worker does not start (${why})`;
      (options.onNotice ?? console.warn)(notice);
    });
    if (backend) return { backend, place: 'worker' };
  }
  return { backend: await openHere(platform, settings, watches), place: 'here' };
};
