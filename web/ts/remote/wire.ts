// What is said between who calls a store and where it runs: a worker, or another tab. Both ways messages are batches: all
// that was issued within one turn of the event loop.
import type { Method } from '../engine/calls.js';
import type { PlainError } from '../store/errors.js';
import type { EngineSettings } from '../store/options.js';

export type RequestId = number;
export type Request = [id: RequestId, method: Method, args: unknown[]];
export type Reply = [id: RequestId, failed: false, value: unknown] | [id: RequestId, failed: true, error: PlainError];

/** To where the store runs. */
export interface Requests {
  requests: Request[];
}

/** From there. */
export interface Replies {
  /** Writes that were begun: if nothing more is heard of them, what became of them is not known. */
  accepted?: RequestId[];
  replies?: Reply[];
  /** Operations of writes that took effect. */
  changes?: Uint8Array[];
  /** Changes may have been missed. */
  missed?: boolean;
}

/** What a worker is told, and what it says, beside requests and replies. */
export type ToWorker = Requests | { open: EngineSettings } | { close: true };
export type FromWorker = Replies | { ready: true } | { opened: true } | { closed: true; error?: PlainError } | { failed: PlainError };

/** The buffers of what is sent for good: of bytes that are nobody else's. */
export const buffersOf = (values: readonly unknown[]): ArrayBuffer[] => {
  const buffers = new Set<ArrayBuffer>();
  for (const value of values) {
    if (!(value instanceof Uint8Array) || !(value.buffer instanceof ArrayBuffer)) continue;
    if (value.byteLength === value.buffer.byteLength && value.byteLength > 0) buffers.add(value.buffer);
  }
  return [...buffers];
};
