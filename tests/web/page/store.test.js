// The store as JavaScript has it, over IndexedDB.
import init, { Store, poisoned, version } from '/web/dist/wasm/trilith.js';
import { all, bytes, keys, operations, text, values } from './flat.js';
import { check, equal, fails } from './assert.js';

let count = 0;
const open = async (name, options = {}) => {
  await init();
  return Store.open({ storage: { indexedDB: name }, ...options });
};
const fresh = () => `store ${(count += 1)} ${Math.random()}`;

export const what_was_written_is_there_again = async () => {
  const name = fresh();
  const store = await open(name);
  check(version().startsWith('trilith '));
  for (let at = 0; at < 200; at++) await store.put(bytes(`key ${at}`), bytes(`value ${at}`));
  await store.write(operations([['put', 'a', '1'], ['put', 'b', '2', 1e7], ['delete', 'key 7'], ['deleteRange', 'key 10', 'key 11']]));
  await store.close();
  await fails(() => store.put(bytes('late'), bytes('')), 'closed');
  store.free();
  const again = await open(name);
  equal(text(await again.get(bytes('key 3'))), 'value 3');
  equal(await again.get(bytes('key 7')), undefined);
  equal(await again.get(bytes('key 100')), undefined, 'key 100 lies between key 10 and key 11');
  check((await again.deadline(bytes('b'))) > Date.now());
  equal(values(await again.getMany(keys(['a', 'nothing', 'b']))), ['1', undefined, '2']);
  equal(await again.count(undefined, undefined), 200 + 2 - 1 - 11);
  equal((await again.verify()).problems.length, 0);
  await again.close();
};

export const reads_of_what_memory_knows_are_answered_at_once = async () => {
  const store = await open(fresh());
  await store.put(bytes('key'), bytes('value'));
  equal(text(store.get(bytes('key'))), 'value');
  equal(store.get(bytes('no key')), undefined);
  equal(store.has(bytes('key')), true);
  check(store.put(bytes('key'), bytes('other')) instanceof Promise);
  await store.close();
};

export const walks_go_both_ways_and_keep_to_their_moment = async () => {
  const store = await open(fresh());
  for (const key of ['b', 'a', 'c/1', 'c/2', 'd']) await store.put(bytes(key), bytes(key.toUpperCase()));
  const cursor = store.scan(bytes('a\0'), bytes('d'), true, 3);
  const snapshot = store.snapshot();
  await store.delete(bytes('b'));
  await store.put(bytes('c/3'), bytes('late'));
  equal(await all(cursor, 1), [['c/2', 'C/2'], ['c/1', 'C/1'], ['b', 'B']]);
  equal(await all(snapshot.scanPrefix(bytes('c/'), false, 1)), [['c/1', ''], ['c/2', '']]);
  equal(text(await snapshot.get(bytes('b'))), 'B');
  equal(await all(store.scan(undefined, undefined, false, 2)), [['', 'A'], ['', 'C/1'], ['', 'C/2'], ['', 'late'], ['', 'D']]);
  snapshot.free();
  await store.close();
};

export const compare_and_set_takes_the_writes_before_it_into_account = async () => {
  const name = fresh();
  const store = await open(name);
  const key = bytes('key');
  const first = store.put(key, bytes('1'));
  const swaps = ['1', '1', '2'].map((expected, at) => store.compareAndSet(key, bytes(expected), bytes(`${at + 2}`)));
  await first;
  equal(await Promise.all(swaps), [true, false, true]);
  equal(await store.compareAndSet(bytes('new'), undefined, bytes('made')), true);
  equal(await store.compareAndSet(bytes('new'), undefined, bytes('again')), false);
  equal(await store.compareAndSet(key, bytes('4'), undefined), true);
  await store.close();
  const again = await open(name);
  equal(await again.get(key), undefined);
  equal(text(await again.get(bytes('new'))), 'made');
  await again.close();
};

export const what_expires_is_gone = async () => {
  const store = await open(fresh());
  await store.put(bytes('short'), bytes('1'), 30);
  await store.put(bytes('long'), bytes('1'), 60_000);
  equal(text(await store.get(bytes('short'))), '1');
  const deadline = await store.deadline(bytes('short'));
  while (Date.now() <= deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  equal(await store.get(bytes('short')), undefined);
  equal(text(await store.get(bytes('long'))), '1');
  await store.close();
};

export const whoever_listens_hears_of_each_write = async () => {
  const store = await open(fresh());
  const heard = [];
  store.onChange((flat) => heard.push([...flat]));
  const written = [[['put', 'a', '1']], [['put', 'b', '2', 5000], ['delete', 'a']], [['deleteRange', 'a']]].map(operations);
  await store.put(bytes('a'), bytes('1'));
  await store.write(written[1]);
  await store.write(written[2]);
  await store.compareAndSet(bytes('c'), bytes('not this'), bytes('x'));
  await store.compareAndSet(bytes('c'), undefined, bytes('x'));
  store.onChange(undefined);
  await store.delete(bytes('c'));
  equal(heard, [...written, operations([['put', 'c', 'x']])].map((flat) => [...flat]));
  await store.close();
};

export const a_store_goes_out_as_a_file_and_comes_in_again = async () => {
  const store = await open(fresh());
  const list = [];
  for (let at = 0; at < 3000; at++) list.push(['put', `key ${String(at).padStart(5, '0')}`, `${'v'.repeat(at % 400)}`]);
  list.push(['put', 'expires', 'x', 1e8]);
  await store.write(operations(list));
  const exporter = store.exportRdb();
  const importing = await open(fresh());
  const importer = await importing.importRdb();
  let size = 0;
  for (;;) {
    const piece = await exporter.next();
    if (piece === undefined) break;
    size += piece.length;
    importer.push(piece);
  }
  check(size > 10_000);
  equal(await importer.finish(), { keys: 3001, skipped: 0 });
  equal(await all(importing.scan(undefined, undefined, false, 3)), await all(store.scan(undefined, undefined, false, 3)));
  equal(await importing.deadline(bytes('expires')), await store.deadline(bytes('expires')));
  const broken = await importing.importRdb();
  broken.push(bytes('REDIS0011 and nothing that makes sense'));
  await fails(() => broken.finish(), 'corrupt');
  await Promise.all([store.close(), importing.close()]);
};

export const many_writers_share_a_transaction = async () => {
  const store = await open(fresh());
  await store.put(bytes('first'), bytes(''));
  const before = store.stats().transactions;
  await Promise.all(Array.from({ length: 500 }, (_, at) => store.put(bytes(`key ${at}`), bytes('value'))));
  const taken = store.stats().transactions - before;
  check(taken <= 3, `500 writers took ${taken} transactions`);
  await store.close();
};

export const what_is_wrong_is_said_and_changes_nothing = async () => {
  const store = await open(fresh());
  await fails(() => store.write(Uint8Array.of(9)), 'invalid');
  await fails(() => store.write(operations([['put', 'a', '1']]).subarray(0, 7)), 'invalid');
  await fails(() => store.put(new Uint8Array(70_000), bytes('')), 'invalid');
  await fails(() => Store.open({ storage: { indexedDB: 'x' }, sync: 'sometimes' }), 'invalid');
  await fails(() => Store.open({ storage: 'nowhere' }), 'invalid');
  equal(await store.count(undefined, undefined), 0);
  equal(poisoned(), undefined);
  await store.close();
};

export const a_store_in_memory_answers_everything_at_once = async () => {
  await init();
  const store = await Store.open({});
  equal(store.put(bytes('a'), bytes('1')), undefined);
  equal(text(store.get(bytes('a'))), '1');
  equal(store.compareAndSet(bytes('a'), bytes('1'), bytes('2')), true);
  equal(store.count(undefined, undefined), 1);
  await store.close();
};

export const large_values_and_many_keys_go_through_tables = async () => {
  const name = fresh();
  const store = await open(name, { memoryBytes: 2 << 20 });
  const value = (at) => `${at} `.repeat(1 + ((at * 37) % 3000));
  for (let from = 0; from < 4000; from += 100) {
    const list = Array.from({ length: 100 }, (_, at) => ['put', `key ${from + at}`, value(from + at)]);
    for (const part of [list.slice(0, 50), list.slice(50)]) await store.write(operations(part));
  }
  await store.flush();
  await store.compact();
  check(store.stats().flushes > 2, 'nothing was flushed');
  for (let at = 0; at < 4000; at += 83) equal(text(await store.get(bytes(`key ${at}`))), value(at));
  const explained = await store.explain(bytes('key 5'));
  check(explained.found && explained.steps.length > 0);
  await store.close();
  const again = await open(name, { memoryBytes: 2 << 20 });
  for (let at = 1; at < 4000; at += 83) equal(text(await again.get(bytes(`key ${at}`))), value(at));
  equal((await again.verify()).problems, []);
  await again.close();
};
