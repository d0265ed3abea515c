// Stores in memory, for tests and caches: no worker and no storage.
import { opener, type Open } from './open.js';
import { browser } from './platform/browser.js';

export * from './api.js';

/** Opens a store that is gone when it is closed. */
export const open: Open = /* @__PURE__ */ opener({ ...browser, defaultStorage: () => 'memory', storages: ['memory'], worker: undefined });
