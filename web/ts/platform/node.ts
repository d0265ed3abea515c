// Node, and whatever has its modules.
import { readFile } from 'node:fs/promises';
import { NodeFiles } from '../host/node-fs.js';
import { wasmUrl } from '../wasm-url.js';
import type { Platform } from './platform.js';

export const node: Platform = {
  defaultStorage: () => 'files',
  storages: ['files', 'memory'],
  files: ({ name }) => new NodeFiles(name),
  wasm: wasmUrl,
  read: (address) => {
    const url = address instanceof URL ? address : /^[a-z]{2,}:/.test(address) ? new URL(address) : undefined;
    return url && url.protocol !== 'file:' ? fetch(url) : readFile(url ?? address);
  },
  worker: undefined,
};
