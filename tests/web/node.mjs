// Stores in Node: the same module, over node:fs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeFiles } from '../../web/js/node-fs.js';
import init, { Store } from '../../web/dist/wasm/trilith.js';
import initModel, { poisoned, runContract, runModel } from './built/model/model.js';
import { all, bytes, operations, text } from './page/flat.js';
import { recover } from './page/panic.js';

const at = (file) => fileURLToPath(new URL(file, import.meta.url));
const load = async () => init({ module_or_path: await readFile(at('../../web/dist/wasm/trilith_bg.wasm')) });
const loadModel = async () => initModel({ module_or_path: await readFile(at('built/model/model_bg.wasm')) });

const inFolder = async (use) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'trilith-node-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** A panic leaves what was under way unanswered. */
const unlessPoisoned = (promise) => {
  let timer;
  const panic = new Promise((_, reject) => {
    timer = setInterval(() => poisoned() !== undefined && reject(new Error(poisoned())), 50);
  });
  return Promise.race([promise, panic]).finally(() => clearInterval(timer));
};

const open = async (folder, options = {}) => {
  await load();
  return Store.open({ storage: { files: new NodeFiles(folder) }, ...options });
};

export const the_storage_in_files_keeps_its_promises = () =>
  inFolder(async (folder) => {
    await loadModel();
    await unlessPoisoned(runContract(path.join(folder, 'store'), (name) => new NodeFiles(name)));
  });

export const a_store_in_files_is_a_map = () =>
  inFolder(async (folder) => {
    await loadModel();
    let met;
    for (let seed = 1; seed <= 8; seed++) {
      const make = (name) => new NodeFiles(name);
      met = await unlessPoisoned(runModel(path.join(folder, `store ${seed}`), make, seed, 150, seed % 2 === 0));
    }
    return met;
  });

/** Runs a script in a process of its own; its lines go to `onLine`. */
const child = (script, ...given) => {
  const running = spawn(process.execPath, [at('node-child.mjs'), script, ...given], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = [];
  running.stdout.setEncoding('utf8');
  let rest = '';
  running.stdout.on('data', (chunk) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop();
    lines.push(...parts);
  });
  return {
    lines,
    kill: () => running.kill('SIGKILL'),
    ended: new Promise((resolve) => running.once('exit', (code) => resolve(code))),
  };
};

const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
};

export const a_process_that_is_killed_while_it_writes_loses_nothing_it_was_told = () =>
  inFolder(async (folder) => {
    const writer = child('write', folder);
    await until(() => writer.lines.length > 3000);
    await assert.rejects(open(folder), { code: 'locked' });
    writer.kill();
    await writer.ended;
    const told = Number(writer.lines.at(-1));
    const store = await open(folder);
    for (let key = 0; key <= told; key++) assert.equal(text(await store.get(bytes(`key ${key}`))), `value ${key}`);
    await store.close();
    return `killed behind write ${told}`;
  });

export const an_idle_store_keeps_no_process_alive_and_a_call_does = () =>
  inFolder(async (folder) => {
    const idle = child('idle', folder);
    assert.equal(await idle.ended, 0);
    assert.deepEqual(idle.lines, ['synced']);
  });

export const the_native_store_opens_what_node_has_written_and_the_reverse = () =>
  inFolder(async (folder) => {
    const native = at('../../target/debug/examples/pairs');
    if (!existsSync(native)) return 'SKIPPED: the native example is not built';
    const run = (...given) =>
      new Promise((resolve, reject) => {
        const running = spawn(native, [folder, ...given], { stdio: ['ignore', 'pipe', 'inherit'] });
        let output = '';
        running.stdout.on('data', (chunk) => (output += chunk));
        running.once('exit', (code) => (code === 0 ? resolve(output) : reject(new Error(`ended with ${code}`))));
      });
    let store = await open(folder);
    const list = Array.from({ length: 500 }, (_, key) => ['put', `key ${key}`, `value ${key}`]);
    await store.write(operations(list));
    await store.compareAndSet(bytes('key 3'), bytes('value 3'), bytes('swapped'));
    await store.flush();
    await store.put(bytes('in the log'), bytes('yes'));
    await store.compareAndSet(bytes('cas in the log'), undefined, bytes('yes'));
    const locked = store;
    await locked.close();
    const seen = await run('put', 'from native', 'hello');
    assert.match(seen, /^503 pairs$/m);
    store = await open(folder);
    assert.equal(text(await store.get(bytes('from native'))), 'hello');
    assert.equal(text(await store.get(bytes('key 3'))), 'swapped');
    assert.equal(text(await store.get(bytes('cas in the log'))), 'yes');
    assert.equal((await all(store.scan(undefined, undefined, false, 1))).length, 503);
    await store.close();
    const names = (await readdir(folder)).sort();
    assert.ok(names.includes('META') && names.includes('LOCK') && !names.includes('LOCK.node'), names.join());
    return seen.trim();
  });

export const an_instance_that_has_panicked_is_replaced_and_nothing_is_lost = () =>
  inFolder(async (folder) => {
    let loads = 0;
    const wasm = await readFile(at('built/model/model_bg.wasm'));
    const load = async () => {
      const module = await import(`./built/model/model.js?${(loads += 1)}`);
      await module.default({ module_or_path: wasm });
      return module;
    };
    await recover(load, () => ({ files: new NodeFiles(path.join(folder, 'store')) }));
  });

export const a_store_in_memory_works_in_node = async () => {
  await load();
  const store = await Store.open({});
  store.put(bytes('a'), bytes('1'));
  assert.equal(text(store.get(bytes('a'))), '1');
  await store.close();
};
