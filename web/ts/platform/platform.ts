// What differs between a browser and Node. Nothing of it is touched before a store is opened.
import type { FileHost } from '../wasm/trilith.js';
import type { EngineSettings, StorageName } from '../store/options.js';
import type { WasmSource } from '../engine/instance.js';

export interface Platform {
  /** Where a store lies if nothing is said. */
  defaultStorage(): StorageName;
  /** Whether this storage is kept, and can be reached from here. */
  readonly storages: readonly StorageName[];
  /** Keeps the files of a store, for the storages that are files. */
  files(settings: EngineSettings): FileHost;
  /** Where the wasm module is. */
  wasm(): WasmSource;
  read(address: string | URL): Promise<Response | Uint8Array>;
  /** A worker that runs stores; none where there are no workers. */
  worker: (() => Worker) | undefined;
}
