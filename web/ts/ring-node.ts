// A whole ring in one process, in Node.
import { node } from './platform/node.js';
import { ringOpener, type OpenRing, type ReplayRing } from './ring/open-ring.js';
import { ringWasmUrl } from './wasm-url.js';

export * from './ring/api.js';

/** Opens a ring. */
export const openRing: OpenRing = (options) => ringOpener((address) => node.read(address), ringWasmUrl).openRing(options);

/** Opens a ring and does again what a script tells, up to its end. */
export const replayRing: ReplayRing = (script, setup) =>
  ringOpener((address) => node.read(address), ringWasmUrl).replayRing(script, setup);
