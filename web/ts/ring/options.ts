// What a ring is told, and what it tells. Facts are those of web/src/ring/mod.rs.
import type { WasmSource } from '../engine/instance.js';

export interface RingOptions {
  /** 5 by default; 1 to 16. */
  nodes?: number;
  /** Copies of each range: 3 by default. */
  n?: number;
  /** Copies that store a write before it is acknowledged: 2 by default. */
  w?: number;
  /** Copies that a read hears: 2 by default. */
  r?: number;
  /** What all that is random comes from: 1 by default. */
  seed?: number;
  /** "always" by default. */
  sync?: 'always' | 'everysec' | 'no';
  /** 4 MiB a node by default. */
  memoryBytes?: number;
  memtableBytes?: number;
  /** Append-only files and snapshots. */
  archive?: boolean;
}

export interface RingSetup {
  /** "virtual": time passes when it is told to, and while an answer is awaited. "wall": it passes by itself. "virtual" by
   *  default. */
  time?: 'virtual' | 'wall' | undefined;
  /** Virtual milliseconds for each that passes on the wall: 1 by default. */
  speed?: number | undefined;
  /** Where the wasm module is, if not beside this package's files. */
  wasm?: WasmSource | undefined;
  /** Heard after each time that time has passed by itself: to draw the next frame, for one. */
  onAdvance?: (() => void) | undefined;
}

/** How a request is asked. */
export interface AskOptions {
  /** Through which node: 1 by default. */
  node?: number | undefined;
  w?: number | undefined;
  r?: number | undefined;
  /** The asked node answers by itself. */
  weak?: boolean | undefined;
}

export interface Load {
  /** Requests a second; 0 ends it. */
  perS: number;
  keys?: number;
  pattern?: 'uniform' | 'hot' | 'sequence';
  /** In percent. */
  reads?: number;
  valueBytes?: number;
}

export type Reply = string | Uint8Array | number | bigint | null | Reply[];

/** A row of the trace. What its fields mean for each kind stands in the module's documentation. */
export interface RingEvent {
  atMs: number;
  kind: string;
  node: number;
  /** 0 for none. */
  other: number;
  /** 0 to 255, 256 for meta, -1 for none. */
  range: number;
  term: number;
  index: number;
  id: number;
  detail: number;
  more: number;
}

export interface Packet {
  id: number;
  from: number;
  to: number;
  sentMs: number;
  count: number;
  messages: { kind: string; range: number; term: number; fields: [name: string, text: string][] }[];
}

export interface Finding {
  key: string;
  range: number;
  node: number;
  askedMs: number;
  answeredMs: number;
  value: string;
  instead: string;
  text: string;
}

/** What the checkers say of everything so far. */
export interface Verdict {
  atMs: number;
  /** Whether N, W and R promised, all the time, that nothing is lost and nothing stale. */
  promises: boolean;
  paid: string | null;
  /** Nothing is lost, nothing was stale, and all that clients saw looks as if done one at a time. */
  green: boolean;
  linearizable: boolean | null;
  operations: number;
  acknowledged: number;
  answered: number;
  refused: number;
  unknown: number;
  open: number;
  lost: number;
  stale: number;
  lostWrites: Finding[];
  staleReads: Finding[];
  violations: string[];
  leftOut: number;
}

/** How the ring is set. */
export interface Setting {
  quorum: [n: number, w: number, r: number];
  load: [perS: number, keys: number, pattern: string, reads: number, valueBytes: number];
  partition: number[][];
  delays: [node: number, ms: number][];
  drops: [node: number, permille: number][];
  wishes: number;
  isWhole: boolean;
}
