// What every entry of the ring gives beside `openRing` and `replayRing`.
export { isTrilithError, TrilithError } from '../store/errors.js';
export type { NodeView, RunningView, CopyView, TableView, MemtableView } from './node-view.js';
export type * from './options.js';
export { Ring, RingError } from './ring.js';
export type { OpenRing, ReplayRing } from './open-ring.js';
