// A node, taken apart.

export interface MemtableView {
  id: number;
  bytes: number;
  entries: number;
}

export interface TableView {
  id: number;
  bytes: number;
  entries: number;
  deletes: number;
  /** The arc of its first key, and that key. */
  smallest: [arc: number, key: string];
  largest: [arc: number, key: string];
  filterBytes: number;
  indexBytes: number;
  dataBlocks: number;
  /** What made it. */
  creator: string;
}

/** A copy of a range. */
export interface CopyView {
  /** 4294967295 is meta. */
  range: number;
  /** `master`, `voter`, `learner`, `candidate` or `void`. */
  role: string;
  /** As far as this copy knows; 0 for none. */
  master: number;
  term: number;
  last: number;
  commit: number;
  applied: number;
  voters: number[];
  learners: number[];
  quorum: [n: number, w: number, r: number];
  writes: number;
  reads: number;
}

/** What is in a running node. */
export interface RunningView {
  mapVersion: number;
  silent: number[];
  ranges: CopyView[];
  keys: number;
  log: { segments: [id: number, bytes: number][]; appendedBytes: number; appends: number };
  hashTable: {
    slots: number;
    used: number;
    dirty: number;
    arenaBytes: number;
    freeBytes: number;
    evicted: number;
    coldReads: number;
  };
  memtable: MemtableView;
  frozen: MemtableView[];
  levels: TableView[][];
  cacheBytes: number;
  cacheHits: number;
  cacheMisses: number;
  writeAmplification: number;
  flushes: number;
  compactions: number;
  moves: number;
  pressure: number;
  trouble: string | null;
  archive: { aofBytes: number; waitingBytes: number; changes: number; savedS: number; tail: string } | null;
}

export interface NodeView {
  number: number;
  /** Its store's identity; a new disk has a new one. */
  id: string | null;
  state: 'running' | 'paused' | 'starting' | 'draining' | 'dead' | 'gone';
  skewMs: number;
  /** The objects on its disk, and their bytes. */
  objects: [name: string, bytes: number][];
  /** `null` if nothing runs on it. */
  running: RunningView | null;
}
