// What is issued within one turn of the event loop goes to the store as one call: writes as one write, and reads as one
// getMany where each call is a message. Calls keep their order: whatever is of another kind sends what was gathered first.
import type { Answer, Args, Backend, MaybePromise, Method } from '../engine/calls.js';
import { decodeValues, encodeKeys, joined } from './flat.js';

/** A write is sent when it has become so long, even if the turn goes on. */
const WRITE_BYTES = 1 << 20;

interface Writes {
  parts: Uint8Array[];
  bytes: number;
  done: Promise<void>;
  settle(result: MaybePromise<void>): void;
  fail(error: unknown): void;
}

interface Read {
  key: Uint8Array;
  resolve(value: MaybePromise<Uint8Array | undefined>): void;
  reject(error: unknown): void;
}

export class Gathered implements Backend {
  readonly #backend: Backend;
  readonly #gathersReads: boolean;
  #writes: Writes | undefined;
  #reads: Read[] = [];
  #isScheduled = false;

  constructor(backend: Backend, gathersReads: boolean) {
    this.#backend = backend;
    this.#gathersReads = gathersReads;
  }

  call<M extends Method>(method: M, ...args: Args<M>): MaybePromise<Answer<M>> {
    this.#send();
    return this.#backend.call(method, ...args);
  }

  write(operations: Uint8Array): Promise<void> {
    this.#sendReads();
    const writes = (this.#writes ??= this.#newWrites());
    writes.parts.push(operations);
    writes.bytes += operations.length;
    if (writes.bytes >= WRITE_BYTES) this.#sendWrites();
    return writes.done;
  }

  get(key: Uint8Array): MaybePromise<Uint8Array | undefined> {
    this.#sendWrites();
    if (!this.#gathersReads) return this.#backend.call('get', key, undefined);
    this.#schedule();
    return new Promise((resolve, reject) => this.#reads.push({ key, resolve, reject }));
  }

  close(): Promise<void> {
    this.#send();
    return this.#backend.close();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  #send(): void {
    this.#sendWrites();
    this.#sendReads();
  }

  #newWrites(): Writes {
    this.#schedule();
    let settle!: Writes['settle'];
    let fail!: Writes['fail'];
    const done = new Promise<void>((resolve, reject) => {
      settle = resolve;
      fail = reject;
    });
    return { parts: [], bytes: 0, done, settle, fail };
  }

  #sendWrites(): void {
    const writes = this.#writes;
    if (!writes) return;
    this.#writes = undefined;
    try {
      writes.settle(this.#backend.call('write', joined(writes.parts)));
    } catch (error) {
      writes.fail(error);
    }
  }

  #sendReads(): void {
    const reads = this.#reads;
    const [only] = reads;
    if (!only) return;
    this.#reads = [];
    try {
      if (reads.length === 1) only.resolve(this.#backend.call('get', only.key, undefined));
      else void this.#sendMany(reads);
    } catch (error) {
      only.reject(error);
    }
  }

  async #sendMany(reads: readonly Read[]): Promise<void> {
    try {
      const flat = await this.#backend.call('getMany', encodeKeys(reads.map(({ key }) => key)));
      const values = decodeValues(flat);
      for (const [at, read] of reads.entries()) read.resolve(values[at]?.slice());
    } catch (error) {
      for (const read of reads) read.reject(error);
    }
  }
}
