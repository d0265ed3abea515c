// A store in a database outlives the instance that had it open.
import { recover } from './panic.js';

let loads = 0;
const load = async () => {
  // Its address makes it another module, with an instance of its own.
  const module = await import(`/built/model/model.js?${(loads += 1)}`);
  await module.default({ module_or_path: '/built/model/model_bg.wasm' });
  return module;
};

export const an_instance_that_has_panicked_is_replaced_and_nothing_is_lost = () => {
  const name = `panicked ${Math.random()}`;
  return recover(load, () => ({ indexedDB: name }));
};
