// A store as a file and back: RDB, as Redis has it.
import type { Backend, Handle, ImportResult } from '../engine/calls.js';
import { unlessAborted, type Abortable } from './abort.js';
import { release } from './scan.js';

/** Where an import comes from: pieces of any length. */
export type ImportSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array> | ReadableStream<Uint8Array> | Uint8Array | Blob;

/** The pieces of a file: to be walked over, or as a stream for a Response or a file. */
export class Export implements AsyncIterable<Uint8Array> {
  readonly #pieces: () => AsyncGenerator<Uint8Array>;

  /** @internal */
  constructor(backend: Backend, newHandle: () => Handle, { signal }: Abortable) {
    this.#pieces = async function* pieces() {
      const handle = newHandle();
      try {
        await unlessAborted(signal, backend.call('export', handle));
        for (;;) {
          signal?.throwIfAborted();
          const piece = await unlessAborted(signal, backend.call('exported', handle));
          if (piece === undefined) return;
          yield piece;
        }
      } finally {
        release(backend, handle);
      }
    };
  }

  /** The store as it is when this is called. */
  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.#pieces();
  }

  /** The same as a stream. */
  stream(): ReadableStream<Uint8Array> {
    const pieces = this.#pieces();
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return(undefined);
      },
    });
  }
}

async function* piecesOf(source: ImportSource): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    yield source;
  } else if (Symbol.asyncIterator in source || Symbol.iterator in source) {
    yield* source as AsyncIterable<Uint8Array>;
  } else {
    // Not every browser walks over streams.
    const reader = ('stream' in source ? source.stream() : source).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    } finally {
      reader.releaseLock();
    }
  }
}

/** Writes what is in a file over what is in the store. Nothing is written before all of it is there. */
export const importFrom = async (
  backend: Backend,
  handle: Handle,
  source: ImportSource,
  { signal }: Abortable,
): Promise<ImportResult> => {
  try {
    signal?.throwIfAborted();
    await backend.call('import', handle);
    for await (const piece of piecesOf(source)) {
      signal?.throwIfAborted();
      await backend.call('push', handle, piece);
    }
    signal?.throwIfAborted();
    return await unlessAborted(signal, backend.call('finish', handle));
  } finally {
    release(backend, handle);
  }
};
