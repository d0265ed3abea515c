// Opens rings: each in an instance of its own.
import { instantiate, moduleOf, type WasmSource } from '../engine/instance.js';
import type { Ring as Inner } from '../wasm-ring/trilith.js';
import { makeInstance, type Instance } from '../wasm-ring/instance.js';
import { TrilithError } from '../store/errors.js';
import type { RingOptions, RingSetup } from './options.js';
import { Ring } from './ring.js';

type Read = (address: string | URL) => Promise<Response | Uint8Array>;

const opened = async (read: Read, ours: WasmSource, setup: RingSetup, make: (instance: Instance) => Inner) => {
  const module = await moduleOf(setup.wasm ?? ours, read);
  let ring: Ring | undefined;
  const { instance } = await instantiate(makeInstance, module, (message) => ring?.poison(message));
  const names = {
    events: new Map(instance.Ring.eventKinds() as [number, string][]),
    columns: instance.Ring.eventColumns(),
  };
  try {
    ring = new Ring(make(instance), names, setup);
    return ring;
  } catch (error) {
    throw new TrilithError('invalid', (error as Error).message, { cause: error });
  }
};

export const ringOpener = (read: Read, ours: () => WasmSource) => ({
  openRing: ({ time, speed, wasm, onAdvance, ...options }: RingOptions & RingSetup = {}): Promise<Ring> =>
    opened(read, ours(), { time, speed, wasm, onAdvance }, (instance) => instance.Ring.open(options)),
  replayRing: (script: string, setup: RingSetup = {}): Promise<Ring> =>
    opened(read, ours(), setup, (instance) => instance.Ring.replay(script)),
});

/** Opens a ring. */
export type OpenRing = ReturnType<typeof ringOpener>['openRing'];
/** Opens a ring and does again what a script tells, up to its end. */
export type ReplayRing = ReturnType<typeof ringOpener>['replayRing'];
