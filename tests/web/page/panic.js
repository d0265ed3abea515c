// What is left to do when the instance has panicked, in a page and in Node.
import { bytes, text } from './flat.js';
import { check, equal, fails } from './assert.js';

/** `load()` gives the model's module, instantiated anew each time; `storage()` is what a store is opened over. */
export const recover = async (load, storage) => {
  const broken = await load();
  const heard = [];
  const releases = [];
  broken.onPanic((message) => heard.push(message));
  const store = await broken.Store.open({ storage: storage(), releases });
  for (let at = 0; at < 50; at++) await store.put(bytes(`key ${at}`), bytes(`value ${at}`));
  store.put(bytes('under way'), bytes('?'));
  let trap;
  try {
    broken.panicNow();
  } catch (error) {
    trap = error;
  }
  check(trap instanceof WebAssembly.RuntimeError, `a trap was expected and ${trap} came`);
  equal(heard.length, 1);
  check(heard[0].includes('on purpose'), heard[0]);
  equal(broken.poisoned(), heard[0]);
  await fails(async () => store.get(bytes('key 1')), 'poisoned');
  await fails(async () => store.put(bytes('key 1'), bytes('')), 'poisoned');
  await fails(async () => broken.Store.open({}), 'poisoned');

  const sound = await load();
  equal(sound.poisoned(), undefined);
  // What the broken instance held, it holds until it is told.
  await fails(() => sound.Store.open({ storage: storage() }), 'locked');
  for (const release of releases) release();
  const again = await sound.Store.open({ storage: storage() });
  for (let at = 0; at < 50; at++) equal(text(await again.get(bytes(`key ${at}`))), `value ${at}`);
  check([undefined, '?'].includes(text(await again.get(bytes('under way')))));
  equal((await again.verify()).problems, []);
  await again.put(bytes('after'), bytes('1'));
  await again.close();
};
