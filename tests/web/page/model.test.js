// The engine's model test and the contract of its storage, over IndexedDB.
import init, { poisoned, runContract, runModel } from '/dist/model/model.js';

/** A panic leaves what was under way unanswered: it is told apart here. */
const unlessPoisoned = async (promise) => {
  let timer;
  const panic = new Promise((_, reject) => {
    timer = setInterval(() => poisoned() !== undefined && reject(new Error(poisoned())), 50);
  });
  return Promise.race([promise, panic]).finally(() => clearInterval(timer));
};

const name = () => `model ${Math.random()}`;

export const the_storage_in_a_database_keeps_its_promises = async () => {
  await init();
  await unlessPoisoned(runContract(name(), undefined));
};

export const a_store_in_a_database_is_a_map = async () => {
  await init();
  let met;
  for (let seed = 1; seed <= 6; seed++) met = await unlessPoisoned(runModel(name(), undefined, seed, 150, seed % 2 === 0));
  return met;
};
