// What can be asked of a store, in bytes. The engine in this realm, a worker and another tab all answer the same calls:
// that they are plain data is what lets them be sent.
import type { Explanation, StoreStats } from '../wasm/trilith.js';

/** The caller's name for something that lives where the store is: a cursor, a snapshot, an export, an import. */
export type Handle = number;

export interface ScanRequest {
  start: Uint8Array | undefined;
  end: Uint8Array | undefined;
  reverse: boolean;
  /** 1 for keys, 2 for values, 3 for both. */
  fields: number;
}

export interface ImportResult {
  /** Keys that were taken. */
  keys: number;
  /** Keys of types that are not kept here. */
  skipped: number;
}

/** Numbers about a store, and where it runs. */
export interface Stats extends Omit<StoreStats, 'trouble' | 'backgroundErrors'> {
  /** What keeps the store from taking writes. */
  trouble?: string | undefined;
  /** What background work failed with and has not overcome, by its name. */
  backgroundErrors: Record<string, string>;
  /** How often the instance had to be rebuilt behind a panic. */
  rebuilt: number;
}

export interface Calls {
  get(key: Uint8Array, snapshot: Handle | undefined): Uint8Array | undefined;
  getMany(keys: Uint8Array): Uint8Array;
  has(key: Uint8Array): boolean;
  deadline(key: Uint8Array): number | undefined;
  write(operations: Uint8Array): void;
  compareAndSet(
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array | undefined,
    ttlMs: number | undefined,
  ): boolean;
  count(start: Uint8Array | undefined, end: Uint8Array | undefined): number;
  scan(handle: Handle, request: ScanRequest, snapshot: Handle | undefined): void;
  page(handle: Handle, limit: number, maxBytes: number): Uint8Array;
  snapshot(handle: Handle): void;
  export(handle: Handle): void;
  exported(handle: Handle): Uint8Array | undefined;
  import(handle: Handle): void;
  push(handle: Handle, piece: Uint8Array): void;
  finish(handle: Handle): ImportResult;
  release(handle: Handle): void;
  explain(key: Uint8Array): Explanation;
  stats(): Stats;
  sync(): void;
  /** Whether changes are to be told. */
  watch(on: boolean): void;
}

export type Method = keyof Calls;
export type Args<M extends Method> = Parameters<Calls[M]>;
export type Answer<M extends Method> = ReturnType<Calls[M]>;
export type MaybePromise<T> = T | Promise<T>;

/** Calls that change something: what becomes of one that was never answered is not known. */
export const WRITES: ReadonlySet<Method> = new Set<Method>(['write', 'compareAndSet', 'finish']);

/** Calls about something that lives where the store is, and ends with that. */
export const HELD: ReadonlySet<Method> = new Set<Method>(['page', 'exported', 'push', 'finish', 'release']);

/** Hears what was changed. */
export interface Listener {
  /** Operations of writes that have taken effect, in their order. */
  changes(operations: readonly Uint8Array[]): void;
  /** Changes may have been missed: what is shown of the store is to be read again. */
  missed(): void;
}

/** A store that can be called, wherever it is. */
export interface Backend {
  /** Writes take effect in the order in which they are made. A read sees every write that was answered before it; one that
   *  is under way may be seen or not. Answered at once where memory can answer. */
  call<M extends Method>(method: M, ...args: Args<M>): MaybePromise<Answer<M>>;
  close(): Promise<void>;
}
