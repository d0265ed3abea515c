// Stores in the origin's own file system, in workers.
import { equal, fails } from './assert.js';

const begin = () => new Worker('/page/opfs.worker.js', { type: 'module' });
const ask = (worker, ...task) =>
  new Promise((resolve, reject) => {
    // What a panic said comes as a message, ahead of the trap.
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data: { done, error } }) =>
      error ? reject(Object.assign(new Error(error.message), error)) : resolve(done);
    worker.postMessage(task);
  });
const once = async (...task) => {
  const worker = begin();
  try {
    return await ask(worker, ...task);
  } finally {
    worker.terminate();
  }
};
const name = () => `opfs-${Math.random()}`;

export const the_storage_in_access_handles_keeps_its_promises = () => once('contract', name());

export const a_store_in_access_handles_is_a_map = async () => {
  let met;
  for (let seed = 1; seed <= 4; seed++) met = await once('model', name(), seed);
  return met;
};

export const a_second_worker_is_refused_and_a_dead_one_leaves_everything = async () => {
  const store = name();
  const owner = begin();
  equal(await ask(owner, 'write', store, 50), 0);
  await fails(() => once('read', store, 'key 7'), 'locked');
  owner.terminate();
  // The browser takes its time to let go of a dead worker's handles.
  for (;;) {
    try {
      equal(await once('read', store, 'key 49'), 'value 49');
      break;
    } catch (error) {
      if (error.code !== 'locked') throw error;
    }
  }
};
