// A whole ring in one process.
import { browser } from './platform/browser.js';
import { ringOpener, type OpenRing, type ReplayRing } from './ring/open-ring.js';
import { ringWasmUrl } from './wasm-url.js';

export * from './ring/api.js';

/** Opens a ring. */
export const openRing: OpenRing = (options) => ringOpener((address) => browser.read(address), ringWasmUrl).openRing(options);

/** Opens a ring and does again what a script tells, up to its end. */
export const replayRing: ReplayRing = (script, setup) =>
  ringOpener((address) => browser.read(address), ringWasmUrl).replayRing(script, setup);
