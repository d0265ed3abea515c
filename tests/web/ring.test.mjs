// The ring in Node: `node --test ring.test.mjs`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRing, replayRing } from '../../web/dist/ring-node.js';

test('a ring answers, survives a node, and is judged', async () => {
  const ring = await openRing({ seed: 7 });
  await ring.put('key', 'value');
  assert.equal(await ring.get('key', { node: 3 }), 'value');
  assert.equal(await ring.get('nothing'), undefined);
  ring.kill(2);
  ring.advance(3000);
  await ring.put('key', 'after', { node: 4 });
  assert.equal(await ring.get('key', { node: 5 }), 'after');
  assert.equal(await ring.delete('key'), true);
  assert.equal(ring.inspect(2).state, 'dead');
  assert.equal(ring.inspect(1).state, 'running');
  const verdict = ring.check();
  assert.deepEqual([verdict.green, verdict.lost, verdict.stale], [true, 0, 0]);
  await assert.rejects(ring.get('key', { node: 2 }), { name: 'RingError', code: 'refused' });
  assert.throws(() => ring.kill(99), { name: 'TrilithError', code: 'invalid' });
  const events = ring.events();
  assert.ok(events.some(({ kind, node }) => kind === 'killed' && node === 2));
  assert.deepEqual(ring.setting().quorum, [3, 2, 2]);
  ring.close();
});

test('a run is done again by its script', async () => {
  const ring = await openRing({ seed: 3, nodes: 3, n: 3 });
  await Promise.all([ring.put('a', '1'), ring.put('b', '2')]);
  for (let at = 0; at < 20; at++) await ring.put(`key ${at}`, `${at}`, { node: 1 + (at % 3) });
  ring.kill(1, { power: true });
  ring.advance(1000);
  const again = await replayRing(ring.script());
  assert.equal(again.nowMs, ring.nowMs);
  assert.equal(again.traceHash(), ring.traceHash());
  ring.close();
  again.close();
  assert.throws(() => ring.nowMs, { code: 'closed' });
});

test('time passes by itself when it is told to', async () => {
  let frames = 0;
  const ring = await openRing({ time: 'wall', speed: 20, onAdvance: () => (frames += 1) });
  await ring.put('key', 'value');
  assert.equal(await ring.get('key'), 'value');
  assert.ok(frames > 0);
  ring.stop();
  const then = ring.nowMs;
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.equal(ring.nowMs, then);
  assert.equal(await ring.get('key'), 'value');
  ring.close();
});

test('what is awaited when the ring is closed rejects', async () => {
  const ring = await openRing();
  const put = ring.put('key', 'value');
  ring.close();
  await assert.rejects(put, { code: 'closed' });
});
