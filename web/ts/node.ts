// The package in Node: stores lie in directories.
import { opener, type Open } from './open.js';
import { node } from './platform/node.js';

export * from './api.js';

/** Opens a store, or makes one. */
export const open: Open = /* @__PURE__ */ opener(node);
