// The package in Node: `node --test package.test.mjs`.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { open as openMemory } from '../../web/dist/memory-node.js';
import { open as openFiles } from '../../web/dist/node.js';
import * as cases from './page/package-cases.js';
import { withTraps } from './page/traps.js';

const folder = mkdtempSync(path.join(tmpdir(), 'trilith-package-'));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
let count = 0;
const fresh = () => `store-${(count += 1)}`;
const inFiles = ({ name = fresh(), ...options } = {}) => openFiles(path.join(folder, name), options);

for (const [name, run] of Object.entries(cases)) {
  test(`memory: ${name}`, () => run({ open: (options) => openMemory(fresh(), options), isKept: false }));
  test(`files: ${name}`, () => run({ open: inFiles, isKept: true }));
}

test('a second store in the same directory is refused', async () => {
  const name = fresh();
  const store = await inFiles({ name });
  await assert.rejects(inFiles({ name }), { name: 'TrilithError', code: 'locked' });
  await store.close();
  await (await inFiles({ name })).close();
});

test('an unknown storage names those that there are', async () => {
  await assert.rejects(openFiles('x', { storage: 'opfs' }), /"files", "memory"/);
  await assert.rejects(openFiles('x', { durability: 'sometimes' }), { code: 'invalid' });
  await assert.rejects(openFiles('', {}), { code: 'invalid' });
  await assert.rejects(openFiles(path.join(folder, 'x'), { wasm: path.join(folder, 'nothing') }), /options\.wasm/);
});

test('importing the package asks for nothing', async () => {
  const names = ['navigator', 'indexedDB', 'Worker', 'BroadcastChannel', 'document', 'window', 'fetch', 'WebAssembly'];
  const kept = new Map(names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  const asked = [];
  for (const name of names) {
    Object.defineProperty(globalThis, name, { configurable: true, get: () => asked.push(name) && undefined });
  }
  try {
    for (const entry of ['index', 'memory', 'worker', 'node']) await import(`../../web/dist/${entry}.js?fresh`);
  } finally {
    for (const [name, descriptor] of kept) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
  assert.deepEqual(asked, []);
});

test('an instance that traps is rebuilt from what was written', () =>
  withTraps(async (arm, made) => {
    const store = await inFiles({ durability: 'always' });
    for (let at = 0; at < 50; at++) await store.put(`key ${at}`, at);
    const watch = store.watch();
    await watch.ready;
    const snapshot = await store.snapshot();
    const instances = made.count;
    arm();
    const outcomes = await Promise.allSettled([store.put('under way', 1), store.put('too', 1)]);
    for (const { reason } of outcomes) assert.equal(reason?.code, 'unknown', String(reason));
    assert.equal(await store.get('key 7'), 7);
    assert.equal(made.count, instances + 1);
    assert.equal((await watch.next()).value.type, 'missed');
    await store.put('afterwards', 2);
    assert.deepEqual((await watch.next()).value, { type: 'put', key: 'afterwards', value: 2 });
    await assert.rejects(snapshot.get('key 7'), { code: 'lost', reason: 'owner' });
    assert.equal((await store.stats()).rebuilt, 1);
    for (let at = 0; at < 50; at++) assert.equal(await store.get(`key ${at}`), at);
    await store.close();
  }));

test('a store in memory does not outlive its instance, and says so', () =>
  withTraps(async (arm) => {
    const store = await openMemory('x');
    await store.put('key', 1);
    arm();
    await assert.rejects(store.put('key', 2), { code: 'unknown' });
    await assert.rejects(store.get('key'), { code: 'lost' });
    await store.close();
  }));
