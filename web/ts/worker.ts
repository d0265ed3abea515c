// The script of the worker that runs a store for a page. `open` starts it; to start it by another way, as where a bundler
// asks for it, give `open` the function that does: `open(name, { worker: () => new Worker(...) })`.
import type { Backend } from './engine/calls.js';
import { openHere } from './open.js';
import { browser } from './platform/browser.js';
import { Server } from './remote/serve.js';
import type { FromWorker, ToWorker } from './remote/wire.js';
import { TrilithError } from './store/errors.js';

interface WorkerScope {
  postMessage(message: FromWorker, transfer?: ArrayBuffer[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const serve = (scope: WorkerScope): void => {
  const server = new Server((replies, transfer) => { scope.postMessage(replies, transfer); }, false);
  let backend: Backend | undefined;

  const open = async (settings: Parameters<typeof openHere>[1]): Promise<void> => {
    backend = await openHere(browser, settings, server);
    scope.postMessage({ opened: true });
  };
  const close = async (): Promise<void> => {
    try {
      await server.end();
      await backend?.close();
      scope.postMessage({ closed: true });
    } catch (error) {
      scope.postMessage({ closed: true, error: TrilithError.from(error).plain() });
    }
  };

  const fail = (error: unknown): void => { scope.postMessage({ failed: TrilithError.from(error).plain() }); };

  scope.onmessage = ({ data }) => {
    if ('requests' in data && backend) server.receive(data.requests, backend);
    else if ('open' in data) open(data.open).catch(fail);
    else if ('close' in data) void close();
  };
  scope.postMessage({ ready: true });
};

// Whatever else imports this, on a server for one, is not a worker.
if ('WorkerGlobalScope' in globalThis) serve(globalThis as unknown as WorkerScope);
