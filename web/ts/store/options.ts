// What `open` is told.
import type { WasmSource } from '../engine/instance.js';
import type { Abortable } from './abort.js';
import type { Codec, CodecName } from './codec.js';
import type { KeyForm } from './reader.js';

/** When a write is answered: synced to the disk; handed to the system and synced each second; or whenever it likes. */
export type Durability = 'always' | 'everysec' | 'no';

export type StorageName = 'indexeddb' | 'opfs' | 'files' | 'memory';

export interface OpenOptions<V, F extends KeyForm = 'string'> extends Abortable {
  /** Where the store lies. By default files in Node (the name is a directory), IndexedDB in browsers, and memory where
   *  there is neither. "opfs" needs a worker. */
  storage?: StorageName | undefined;
  /** How values become bytes: "json" by default. */
  values?: CodecName | Codec<V> | undefined;
  /** How keys are given back: "string" by default. Both are taken. */
  keys?: F | undefined;
  /** "everysec" by default. */
  durability?: Durability | undefined;
  /** Runs in a worker, where there are any: true by default for stores that are kept, in browsers. */
  worker?: boolean | (() => Worker) | undefined;
  /** Several tabs and workers share the store: true by default, in browsers. */
  shared?: boolean | undefined;
  /** Where the wasm module is, if not beside this package's files. */
  wasm?: WasmSource | undefined;
  /** All the memory that the store may use, in bytes. 32 MiB by default; at least 1 MiB. */
  memoryBytes?: number | undefined;
  /** When a memtable is written to a table, in bytes. */
  memtableBytes?: number | undefined;
  /** Values from this length on are kept apart from the keys. 4096 by default. */
  largeValueBytes?: number | undefined;
  /** How long opening may take, in milliseconds. 10 s by default. */
  openTimeoutMs?: number | undefined;
  /** Told when something is not as it was asked for, and the store goes on: a worker that does not start. By default the
   *  console is told. */
  onNotice?: ((notice: string) => void) | undefined;
}

/** What of the options goes to where the engine runs: data that can be sent. */
export interface EngineSettings {
  name: string;
  storage: StorageName;
  durability: Durability;
  shared: boolean;
  wasm: WasmSource | undefined;
  memoryBytes: number | undefined;
  memtableBytes: number | undefined;
  largeValueBytes: number | undefined;
  openTimeoutMs: number;
}
