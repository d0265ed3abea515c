// Keyv over stores in files: `node --test keyv.test.mjs`.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Keyv } from 'keyv';
import { KeyvTrilith } from '../../web/dist/keyv-node.js';

const folder = mkdtempSync(path.join(tmpdir(), 'trilith-keyv-'));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
let count = 0;
const fresh = () => path.join(folder, `${(count += 1)}`);
const all = async (walk) => {
  const found = [];
  for await (const one of walk) found.push(one);
  return found;
};

test('entries are kept, and go when they are due', async () => {
  const name = fresh();
  const keyv = new Keyv({ store: new KeyvTrilith(name) });
  const errors = [];
  keyv.on('error', (error) => errors.push(error));
  assert.equal(await keyv.set('key', { a: 1 }), true);
  await keyv.set('short', 'x', 50);
  assert.deepEqual(await keyv.get('key'), { a: 1 });
  assert.deepEqual(await keyv.getMany(['key', 'nothing']), [{ a: 1 }, undefined]);
  assert.equal(await keyv.has('short'), true);
  while (await keyv.has('short')) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(await keyv.get('short'), undefined);
  assert.equal(await keyv.delete('key'), true);
  assert.equal(await keyv.delete('key'), false);
  await keyv.set('stays', 1);
  await keyv.disconnect();
  const again = new Keyv({ store: new KeyvTrilith(name) });
  assert.equal(await again.get('stays'), 1);
  await again.disconnect();
  assert.deepEqual(errors, []);
});

test('namespaces are kept apart', async () => {
  const store = new KeyvTrilith(fresh());
  store.namespace = 'a';
  await store.set('key', 1);
  store.namespace = 'a:b';
  await store.setMany([{ key: 'key', value: 2 }, { key: 'late', value: 3, expires: Date.now() - 1 }]);
  assert.deepEqual(await all(store.iterator()), [['key', 2]]);
  store.namespace = 'a';
  await store.clear();
  assert.deepEqual(await store.hasMany(['key', 'nothing']), [false, false]);
  store.namespace = 'a:b';
  assert.equal(await store.get('key'), 2);
  await store.disconnect();
});
