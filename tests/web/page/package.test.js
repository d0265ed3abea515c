// The package in a page: over IndexedDB, in the page and in a worker; over OPFS in a worker; in memory.
import { open as openStore } from '/web/dist/index.js';
import { open as openMemory } from '/web/dist/memory.js';
import * as cases from './package-cases.js';
import { check, equal, fails } from './assert.js';
import { withTraps } from './traps.js';

const fresh = () => `package-${Math.random().toString(36).slice(2)}`;

const places = {
  memory: { open: (options) => openMemory(fresh(), options), isKept: false },
  page: { worker: false },
  'page alone': { worker: false, shared: false },
  worker: {},
  'worker alone': { shared: false },
  opfs: { storage: 'opfs' },
};

const inPlace = (place) => {
  if (places[place].open) return places[place];
  const open = async ({ name = fresh(), ...options } = {}) => {
    const store = await openStore(name, { ...places[place], ...options });
    equal(store.place, places[place].worker === false ? 'here' : 'worker');
    return store;
  };
  return { open, isKept: true };
};

/** All cases in one place, each of which says its name when it fails. */
const allIn = async (place) => {
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run(inPlace(place));
    } catch (error) {
      throw new Error(`${name}: ${error.code ?? ''} ${error.message}\n${error.stack}`, { cause: error });
    }
  }
};

export const a_store_in_memory_does_it_all = () => allIn('memory');
export const a_store_in_the_page_does_it_all = () => allIn('page');
export const a_store_in_the_page_alone_does_it_all = () => allIn('page alone');
export const a_store_in_a_worker_does_it_all = () => allIn('worker');
export const a_store_in_a_worker_alone_does_it_all = () => allIn('worker alone');
export const a_store_in_opfs_does_it_all = () => allIn('opfs');

export const a_worker_that_does_not_start_is_said_and_done_without = async () => {
  const refusing = [
    () => {
      throw new Error('not allowed here');
    },
    () => new Worker('/page/nothing.js', { type: 'module' }),
  ];
  for (const worker of refusing) {
    const notices = [];
    const store = await openStore(fresh(), { worker, onNotice: (notice) => notices.push(notice) });
    equal([store.place, notices.length], ['here', 1]);
    check(notices[0].includes('runs in the page'), notices[0]);
    await store.put('key', 1);
    equal(await store.get('key'), 1);
    await store.close();
  }
};

export const what_opening_fails_with_comes_out_of_the_worker = async () => {
  const name = fresh();
  const alone = await openStore(name, { shared: false });
  await fails(() => openStore(name, { shared: false }), 'locked');
  await alone.close();
  await fails(() => openStore(fresh(), { wasm: '/web/nothing.wasm' }), 'failed');
  await fails(() => openStore(fresh(), { storage: 'files' }), 'invalid');
};

export const stores_of_one_page_share_by_name = async () => {
  const name = fresh();
  const stores = await Promise.all([openStore(name), openStore(name), openStore(name, { worker: false })]);
  const watches = stores.map((store) => store.watch('w/'));
  await Promise.all(watches.map(({ ready }) => ready));
  await Promise.all(stores.map((store, at) => store.put(`w/${at}`, at)));
  for (const store of stores) equal(await store.getMany(['w/0', 'w/1', 'w/2']), [0, 1, 2]);
  for (const watch of watches) {
    const heard = [];
    for (let at = 0; at < 3; at++) heard.push((await watch.next()).value.value);
    equal(heard.sort(), [0, 1, 2]);
  }
  for (const store of stores) await store.close();
};

export const an_instance_that_traps_is_rebuilt = () =>
  withTraps(async (arm, made) => {
    const name = fresh();
    const store = await openStore(name, { worker: false });
    const guest = await openStore(name);
    for (let at = 0; at < 50; at++) await guest.put(`key ${at}`, at);
    const before = made.count;
    arm();
    await fails(() => store.put('under way', 1), 'unknown');
    equal(await guest.get('key 7'), 7);
    await guest.put('afterwards', 1);
    equal(made.count, before + 1);
    equal(await store.size({ prefix: 'key' }), 50);
    await guest.close();
    await store.close();
  });
