// Hearing of changes, whoever makes them: this page, another tab, a worker.
import type { Listener } from '../engine/calls.js';
import type { Abortable } from './abort.js';
import { decodeChanges, type Change } from './flat.js';
import { overlap, startsWith, type ByteRange } from './range.js';

/** What has happened to keys that are watched. */
export type WatchEvent<V, K> =
  | { type: 'put'; key: K; value: V; ttlMs?: number }
  | { type: 'delete'; key: K }
  /** All keys from `start` on and before `end` were removed; `undefined` is no bound. */
  | { type: 'clear'; start: K; end: K | undefined }
  /** Changes may have been missed: read again what you show. Comes when another tab takes the store over, when it had to
   *  be rebuilt, behind an import, and when this walk was not read from for too long. */
  | { type: 'missed' };

/** Events that wait to be taken; beyond that they are dropped, and said to be missed. */
const WAITING_MAX = 10_000;

export interface WatchContext<V, K> {
  keyOf(bytes: Uint8Array): K;
  decode(bytes: Uint8Array): V;
}

/** Changes of keys with a prefix, from the call of `watch` on. */
export class Watch<V, K> implements AsyncIterableIterator<WatchEvent<V, K>>, AsyncDisposable {
  /** Fulfilled when every change is heard that is made from then on, in whichever tab. */
  readonly ready: Promise<void>;
  readonly #context: WatchContext<V, K>;
  readonly #range: ByteRange & { prefix: Uint8Array };
  readonly #onEnd: () => void;
  #events: (() => WatchEvent<V, K>)[] = [];
  #takers: { resolve(result: IteratorResult<WatchEvent<V, K>>): void; reject(error: unknown): void }[] = [];
  #end: { error?: unknown } | undefined;

  /** @internal */
  constructor(
    context: WatchContext<V, K>,
    range: ByteRange & { prefix: Uint8Array },
    ready: Promise<void>,
    onEnd: () => void,
    { signal }: Abortable,
  ) {
    this.#context = context;
    this.#range = range;
    this.#onEnd = onEnd;
    this.ready = ready;
    ready.catch((error: unknown) => {
      this.finish({ error });
    });
    if (signal?.aborted) this.finish({ error: signal.reason });
    signal?.addEventListener('abort', () => { this.finish({ error: signal.reason }); }, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<WatchEvent<V, K>>> {
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.#hand();
    });
  }

  return(): Promise<IteratorResult<WatchEvent<V, K>>> {
    this.#events = [];
    this.finish({});
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** @internal */
  hear(changes: readonly Change[]): void {
    for (const change of changes) if (this.#isOurs(change)) this.#add(() => this.#shown(change));
    this.#hand();
  }

  /** @internal */
  miss(): void {
    this.#add(() => ({ type: 'missed' }));
    this.#hand();
  }

  /** @internal No more events come: those that wait are given, then the walk ends. */
  finish(end: { error?: unknown }): void {
    if (this.#end) return;
    this.#end = end;
    this.#onEnd();
    this.#hand();
  }

  #isOurs(change: Change): boolean {
    return change.type === 'clear' ? overlap(change, this.#range) : startsWith(change.key, this.#range.prefix);
  }

  #add(event: () => WatchEvent<V, K>): void {
    if (this.#end) return;
    if (this.#events.length >= WAITING_MAX) this.#events = [() => ({ type: 'missed' })];
    this.#events.push(event);
  }

  #shown(change: Change): WatchEvent<V, K> {
    const { keyOf, decode } = this.#context;
    switch (change.type) {
      case 'put': {
        const put = { type: 'put' as const, key: keyOf(change.key), value: decode(change.value.slice()) };
        return change.ttlMs === undefined ? put : { ...put, ttlMs: change.ttlMs };
      }
      case 'delete':
        return { type: 'delete', key: keyOf(change.key) };
      case 'clear':
        return { type: 'clear', start: keyOf(change.start), end: change.end && keyOf(change.end) };
    }
  }

  #hand(): void {
    while (this.#takers.length > 0 && (this.#events.length > 0 || this.#end)) {
      const taker = this.#takers.shift()!;
      const event = this.#events.shift();
      try {
        if (event) taker.resolve({ done: false, value: event() });
        else if (this.#end && 'error' in this.#end) throw this.#once(this.#end);
        else taker.resolve({ done: true, value: undefined });
      } catch (error) {
        taker.reject(error);
      }
    }
  }

  /** The error, once; the walk is over then. */
  #once(end: { error?: unknown }): unknown {
    this.#end = {};
    return end.error;
  }
}

/** All walks of a store. */
export class Watches implements Listener {
  readonly #all = new Set<Watch<unknown, unknown>>();

  add(watch: Watch<unknown, unknown>): void {
    this.#all.add(watch);
  }

  delete(watch: Watch<unknown, unknown>): void {
    this.#all.delete(watch);
  }

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  changes(operations: readonly Uint8Array[]): void {
    for (const flat of operations) {
      const changes = [...decodeChanges(flat)];
      for (const watch of this.#all) watch.hear(changes);
    }
  }

  missed(): void {
    for (const watch of this.#all) watch.miss();
  }

  finish(): void {
    for (const watch of [...this.#all]) watch.finish({});
  }
}
