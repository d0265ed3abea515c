// What every entry gives beside `open`.
export type { Codec, CodecName, Key } from './store/codec.js';
export type { Abortable } from './store/abort.js';
export type { ImportResult, Stats } from './engine/calls.js';
export type { WasmSource } from './engine/instance.js';
export type { Open } from './open.js';
export type { ErrorCode, ErrorReason } from './store/errors.js';
export type { Durability, OpenOptions, StorageName } from './store/options.js';
export type { KeyRange } from './store/range.js';
export type { KeyForm } from './store/reader.js';
export type { Entry, ScanOptions } from './store/scan.js';
export type { BatchStep, Place, PutOptions } from './store/store.js';
export type { Export, ImportSource } from './store/transfer.js';
export type { WatchEvent, Watch } from './store/watch.js';
export type { Explanation, ExplainStep } from './wasm/trilith.js';
export { isTrilithError, TrilithError } from './store/errors.js';
export { Snapshot } from './store/snapshot.js';
export { Store } from './store/store.js';
