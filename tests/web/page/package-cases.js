// What a store of the package does, wherever it lies: run over memory and files in Node, and over IndexedDB and OPFS in a
// page and in a worker. Each case is given `open(options)`, for a store of its own, and `isKept`.
import { check, equal, fails } from './assert.js';

const all = async (walk) => {
  const found = [];
  for await (const one of walk) found.push(one);
  return found;
};

export const values_come_back_as_they_went_in = async ({ open }) => {
  const json = await open();
  for (const value of [1, 'text', null, true, [1, [2]], { a: { b: 'ü' } }, '']) {
    await json.put('key', value);
    equal(await json.get('key'), value);
  }
  equal(await json.get('nothing'), undefined);
  await fails(() => json.put('key', undefined), 'invalid');
  await fails(() => json.put(7, 1), 'invalid');
  await json.put(Uint8Array.of(0x6b), 'by bytes');
  equal(await json.get('k'), 'by bytes');
  await json.close();

  const bytes = await open({ values: 'bytes', keys: 'bytes' });
  await bytes.put(Uint8Array.of(0xff, 0), Uint8Array.of(1, 2));
  equal([...(await bytes.get(Uint8Array.of(0xff, 0)))], [1, 2]);
  equal((await all(bytes)).map((pair) => pair.map((part) => [...part])), [[[255, 0], [1, 2]]]);
  await fails(() => bytes.put('key', 'text'), 'invalid');
  await bytes.close();

  const dates = await open({
    values: {
      encode: (date) => new TextEncoder().encode(date.toISOString()),
      decode: (raw) => new Date(new TextDecoder().decode(raw)),
    },
  });
  await dates.put('then', new Date(86_400_000));
  equal((await dates.get('then')).getTime(), 86_400_000);
  await dates.close();
};

export const writes_of_one_turn_keep_their_order = async ({ open }) => {
  const store = await open();
  const given = [];
  const asked = (promise) => given.push(promise);
  asked(store.put('a', 1).then(() => 'put'));
  asked(store.compareAndSet('a', 1, 2));
  asked(store.put('b', 2).then(() => 'put'));
  asked(store.delete('a').then(() => 'deleted'));
  asked(store.compareAndSet('a', 2, 9));
  asked(store.put('a', 3).then(() => 'put'));
  asked(store.compareAndSet('a', 3, 4));
  asked(store.compareAndSet('a', 3, 5));
  equal(await Promise.all(given), ['put', true, 'put', 'deleted', false, 'put', true, false]);
  equal(await Promise.all([store.get('a'), store.get('b'), store.getMany(['a', 'b', 'c']), store.get('c')]), [4, 2, [4, 2, undefined], undefined]);
  await store.close();
};

export const a_wrong_call_takes_no_other_with_it = async ({ open }) => {
  const store = await open();
  const outcomes = await Promise.allSettled([
    store.put('good', 1),
    store.put('x'.repeat(70_000), 1),
    store.put('ttl', 1, { ttl: -1 }),
    store.get('x'.repeat(70_000)),
    store.get('good'),
  ]);
  equal(outcomes.map(({ status, reason }) => reason?.code ?? status), ['fulfilled', 'invalid', 'invalid', 'invalid', 'fulfilled']);
  check(/Correct the call/.test(outcomes[1].reason.message), outcomes[1].reason.message);
  await store.close();
};

export const batches_are_whole_and_clear_ranges = async ({ open }) => {
  const store = await open();
  await store.batch(['a', 'b', 'c/1', 'c/2', 'd'].map((key) => ({ type: 'put', key, value: key.toUpperCase() })));
  equal(await store.size(), 5);
  equal(await store.size({ prefix: 'c/' }), 2);
  await store.batch([{ type: 'clear', prefix: 'c/' }, { type: 'delete', key: 'a' }, { type: 'put', key: 'c/3', value: 'new' }]);
  equal(await all(store), [['b', 'B'], ['c/3', 'new'], ['d', 'D']]);
  await fails(() => store.batch([{ type: 'put', key: 'e', value: 1 }, { type: 'nothing', key: 'f' }]), 'invalid');
  equal(await store.has('e'), false);
  await store.clear({ gt: 'b', lte: 'c/3' });
  equal(await all(store.keys()), ['b', 'd']);
  await store.clear();
  equal(await store.size(), 0);
  await store.close();
};

export const scans_keep_to_their_range_and_moment = async ({ open }) => {
  const store = await open();
  const keys = Array.from({ length: 3000 }, (_, at) => `key ${String(at).padStart(4, '0')}`);
  await store.batch(keys.map((key, value) => ({ type: 'put', key, value })));
  equal(await all(store.keys()), keys);
  equal(await all(store.keys({ reverse: true })), keys.toReversed?.() ?? [...keys].reverse());
  equal(await all(store.values({ gt: 'key 0009', lte: 'key 0012' })), [10, 11, 12]);
  equal(await all(store.values({ gte: 'key 0009', lt: 'key 0012' })), [9, 10, 11]);
  equal(await all(store.scan({ prefix: 'key 29', reverse: true, limit: 2 })), [['key 2999', 2999], ['key 2998', 2998]]);
  equal(await all(store.keys({ limit: 0 })), []);
  await fails(() => all(store.keys({ limit: -1 })), 'invalid');
  await fails(() => all(store.keys({ prefix: 'a', gt: 'b' })), 'invalid');

  const walk = store.keys();
  const snapshot = await store.snapshot();
  equal((await walk.next()).value, 'key 0000');
  await store.clear();
  await store.put('key 0001', 'late');
  equal((await all(walk)).length, 2999);
  equal(await snapshot.get('key 0001'), 1);
  equal((await all(snapshot.scan({ prefix: 'key 1' }))).length, 1000);
  snapshot.close();
  await fails(() => snapshot.get('key 0001'), 'lost', 'owner');
  for await (const key of store.keys()) {
    equal(key, 'key 0001');
    break;
  }
  await store.close();
};

export const keys_that_are_no_text_are_said_to_be_so = async ({ open }) => {
  const store = await open();
  await store.put(Uint8Array.of(0xff), 1);
  const error = await fails(() => all(store.keys()), 'invalid');
  check(error.message.includes('"bytes"'), error.message);
  equal(await all(store.values()), [1]);
  await store.close();
};

export const what_expires_is_gone = async ({ open }) => {
  const store = await open();
  const begun = Date.now();
  await Promise.all([store.put('short', 1, { ttl: 100 }), store.put('long', 2, { ttl: 1e7 }), store.put('ever', 3)]);
  equal(await store.deadline('nothing'), undefined);
  equal(await store.deadline('ever'), 0);
  const deadline = await store.deadline('long');
  check(deadline >= begun + 1e7 && deadline <= Date.now() + 1e7, `${deadline}`);
  while (await store.has('short')) await new Promise((resolve) => setTimeout(resolve, 5));
  check(Date.now() >= begun + 100);
  equal(await store.getMany(['short', 'long', 'ever']), [undefined, 2, 3]);
  await store.close();
};

export const watchers_hear_of_their_keys = async ({ open }) => {
  const store = await open();
  const stop = new AbortController();
  const watch = store.watch('a/', { signal: stop.signal });
  const other = store.watch('b/');
  await watch.ready;
  await store.put('a/1', { n: 1 });
  await store.put('b/1', 'elsewhere');
  await store.batch([{ type: 'delete', key: 'a/1' }, { type: 'put', key: 'a/2', value: 2, ttl: 1e6 }, { type: 'clear', prefix: 'a' }]);
  await store.clear({ prefix: 'c' });
  const events = [];
  for (let at = 0; at < 4; at++) events.push((await watch.next()).value);
  equal(events, [
    { type: 'put', key: 'a/1', value: { n: 1 } },
    { type: 'delete', key: 'a/1' },
    { type: 'put', key: 'a/2', value: 2, ttlMs: 1e6 },
    { type: 'clear', start: 'a', end: 'b' },
  ]);
  equal((await other.next()).value, { type: 'put', key: 'b/1', value: 'elsewhere' });
  await other.return();
  equal((await other.next()).done, true);
  stop.abort(new Error('enough'));
  let reason;
  try {
    await watch.next();
  } catch (error) {
    reason = error.message;
  }
  equal(reason, 'enough');
  equal((await watch.next()).done, true);
  const last = store.watch();
  await store.close();
  equal((await last.next()).done, true);
};

export const a_signal_ends_the_wait = async ({ open }) => {
  const store = await open();
  const signal = AbortSignal.abort(new Error('no'));
  for (const call of [() => store.get('a', { signal }), () => store.put('a', 1, { signal }), () => all(store.keys({ signal }))]) {
    let said;
    try {
      await call();
    } catch (error) {
      said = error.message;
    }
    equal(said, 'no');
  }
  equal(await store.has('a'), false);
  await store.close();
};

export const a_store_goes_out_as_a_file_and_comes_in_again = async ({ open }) => {
  const [from, to, third] = [await open(), await open(), await open()];
  await from.batch(Array.from({ length: 2000 }, (_, at) => ({ type: 'put', key: `key ${at}`, value: 'v'.repeat(at % 300) })));
  await from.put('expires', 1, { ttl: 1e8 });
  const pieces = await all(from.export());
  check(pieces.reduce((sum, piece) => sum + piece.length, 0) > 10_000);
  equal(await to.import(pieces), { keys: 2001, skipped: 0 });
  equal(await all(to), await all(from));
  equal(await to.deadline('expires'), await from.deadline('expires'));
  equal(await third.import(from.export().stream()), { keys: 2001, skipped: 0 });
  await fails(() => third.import(new TextEncoder().encode('REDIS0011 and no more')), 'corrupt');
  equal(await third.size(), 2001);
  await Promise.all([from.close(), to.close(), third.close()]);
};

export const stats_and_explanations_are_plain = async ({ open }) => {
  const store = await open();
  await store.put('key', 'value');
  const stats = await store.stats();
  equal([stats.recordsEstimate, stats.rebuilt, stats.backgroundErrors], [1, 0, {}]);
  const explained = await store.explain('key');
  check(explained.found && explained.steps.length > 0);
  await store.sync();
  await store.close();
};

export const a_closed_store_says_so = async ({ open }) => {
  const store = await open();
  const write = store.put('last', 1);
  await store.close();
  await write;
  for (const call of [() => store.get('a'), () => store.put('a', 1), () => all(store.scan()), () => store.snapshot(), () => store.watch(), () => store.size()]) {
    await fails(call, 'closed');
  }
  await store.close();
};

export const what_was_written_is_there_again = async ({ open, isKept }) => {
  if (!isKept) return 'not kept';
  const name = `again-${Math.random().toString(36).slice(2)}`;
  const store = await open({ name, durability: 'always' });
  await Promise.all(Array.from({ length: 500 }, (_, at) => store.put(`key ${at}`, at)));
  await store.close();
  const again = await open({ name });
  equal(await again.size(), 500);
  equal(await again.getMany(['key 7', 'key 499', 'key 500']), [7, 499, undefined]);
  await again.close();
};
