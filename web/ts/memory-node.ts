// Stores in memory, in Node.
import { opener, type Open } from './open.js';
import { node } from './platform/node.js';

export * from './api.js';

/** Opens a store that is gone when it is closed. */
export const open: Open = /* @__PURE__ */ opener({ ...node, defaultStorage: () => 'memory', storages: ['memory'] });
