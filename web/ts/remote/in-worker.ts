// A store whose engine runs in a worker of its own, so that the page is never kept waiting by it.
import type { Listener } from '../engine/calls.js';
import { TrilithError } from '../store/errors.js';
import type { EngineSettings } from '../store/options.js';
import { RemoteBackend } from './remote-backend.js';
import type { FromWorker, ToWorker } from './wire.js';

/** A worker that has loaded; or why there is none. */
const started = async (start: () => Worker, timeoutMs: number): Promise<Worker | string> => {
  let worker: Worker;
  try {
    worker = start();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const why = await new Promise<string | undefined>((resolve) => {
    timer = setTimeout(() => { resolve(`nothing was heard of it for ${timeoutMs} ms`); }, timeoutMs);
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if ('ready' in data) resolve(undefined);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      resolve(event.message || 'its script does not load');
    };
  });
  clearTimeout(timer);
  if (why === undefined) return worker;
  worker.terminate();
  return why;
};

/**
 * The store in a worker; `undefined` if none starts, which is told first.
 *
 * @throws {TrilithError} what opening fails with
 */
export const inWorker = async (
  start: () => Worker,
  settings: EngineSettings,
  listener: Listener,
  onFailure: (why: string) => void,
): Promise<RemoteBackend | undefined> => {
  const worker = await started(start, settings.openTimeoutMs);
  if (typeof worker === 'string') {
    onFailure(worker);
    return undefined;
  }
  const post = (message: ToWorker, transfer: ArrayBuffer[] = []): void => {
    worker.postMessage(message, transfer);
  };
  let onClosed: (error: TrilithError | undefined) => void = () => {};
  const backend = new RemoteBackend(
    {
      transfers: true,
      send: post,
      close: async () => {
        try {
          await new Promise<void>((resolve, reject) => {
            onClosed = (error) => {
              if (error) reject(error);
              else resolve();
            };
            post({ close: true });
          });
        } finally {
          worker.terminate();
        }
      },
    },
    listener,
  );
  await new Promise<void>((resolve, reject) => {
    const fail = (error: TrilithError): void => {
      reject(error);
      backend.fail(error);
    };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if ('opened' in data) resolve();
      else if ('failed' in data) fail(TrilithError.from(data.failed));
      else if ('closed' in data) onClosed(data.error && TrilithError.from(data.error));
      else if (!('ready' in data)) backend.receive(data);
    };
    worker.onmessageerror = () => { fail(new TrilithError('failed', 'the worker said what cannot be read')); };
    worker.onerror = (event) => { reject(new TrilithError('failed', `the worker failed (${event.message})`)); };
    try {
      const { wasm } = settings;
      // Addresses are meant from where the page is.
      const address = wasm instanceof URL ? wasm.href : typeof wasm === 'string' ? new URL(wasm, location.href).href : wasm;
      post({ open: { ...settings, wasm: address } });
    } catch (error) {
      reject(TrilithError.from(error));
    }
  }).catch((error: unknown) => {
    worker.terminate();
    throw error;
  });
  return backend;
};
