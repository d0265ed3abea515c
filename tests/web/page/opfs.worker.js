// Runs what needs sync access handles, which only dedicated workers have.
import initModel, { onPanic, runContract, runModel } from '/dist/model/model.js';
import init, { Store } from '/web/dist/wasm/trilith.js';
import { OpfsFiles } from '/web/js/opfs.js';
import { bytes, text } from './flat.js';

const make = (name) => new OpfsFiles(name);
const open = async (name, options = {}) => {
  await init();
  return Store.open({ storage: { files: new OpfsFiles(name) }, ...options });
};
/** A panic leaves what was under way unanswered. */
const loadModel = async () => {
  await initModel();
  onPanic((message) => postMessage({ error: { message } }));
};
let held;

const tasks = {
  contract: async (name) => {
    await loadModel();
    await runContract(name, make);
  },
  model: async (name, seed) => {
    await loadModel();
    return runModel(name, make, seed, 150, seed % 2 === 0);
  },
  write: async (name, count) => {
    held = await open(name, { sync: 'always' });
    for (let at = 0; at < count; at++) await held.put(bytes(`key ${at}`), bytes(`value ${at}`));
    return (await held.verify()).problems.length;
  },
  read: async (name, key) => {
    const store = await open(name);
    const found = text(await store.get(bytes(key)));
    await store.close();
    return found;
  },
};

onmessage = async ({ data: [task, ...given] }) => {
  try {
    postMessage({ done: await tasks[task](...given) });
  } catch ({ message, code, stack }) {
    postMessage({ error: { message, code, stack } });
  }
};
