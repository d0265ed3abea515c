// Browsers, and whatever is like them.
import { OpfsFiles } from '../host/opfs.js';
import { wasmUrl } from '../wasm-url.js';
import type { Platform } from './platform.js';

export const browser: Platform = {
  defaultStorage: () => (typeof indexedDB === 'undefined' ? 'memory' : 'indexeddb'),
  storages: ['indexeddb', 'opfs', 'memory'],
  files: ({ name }) => new OpfsFiles(name),
  wasm: wasmUrl,
  read: (address) => fetch(address),
  // Bundlers look for these very words.
  worker: () => new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'trilith' }),
};
