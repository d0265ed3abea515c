// What is left of a store when a tab dies or the power fails at any moment: every transaction is recorded, databases are
// made as they were behind each of them, and opened.
import init, { Store } from '/web/dist/wasm/trilith.js';
import { all, bytes, operations } from './flat.js';
import { check, equal } from './assert.js';

/** What was committed to databases, in its order: the transaction's durability and its requests. */
class Recorder {
  committed = [];
  #originals = {};
  #open = new WeakMap();

  install() {
    const recorder = this;
    const { transaction } = IDBDatabase.prototype;
    const { put, delete: remove } = IDBObjectStore.prototype;
    this.#originals = { transaction, put, remove };
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      const begun = transaction.call(this, stores, mode, options);
      if (mode === 'readwrite') {
        const requests = [];
        recorder.#open.set(begun, requests);
        const entry = { database: this.name, strict: options?.durability === 'strict', requests };
        begun.addEventListener('complete', () => recorder.committed.push(entry));
      }
      return begun;
    };
    IDBObjectStore.prototype.put = function (value, key) {
      recorder.#open.get(this.transaction)?.push((store) => store(this.name).put(value, key));
      return put.call(this, value, key);
    };
    IDBObjectStore.prototype.delete = function (key) {
      recorder.#open.get(this.transaction)?.push((store) => store(this.name).delete(key));
      return remove.call(this, key);
    };
    return this;
  }

  remove() {
    IDBDatabase.prototype.transaction = this.#originals.transaction;
    IDBObjectStore.prototype.put = this.#originals.put;
    IDBObjectStore.prototype.delete = this.#originals.remove;
  }

  /** A database that holds what the first transactions have made. */
  async image(name, count) {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => ['store', 'objects', 'rows'].forEach((store) => opening.result.createObjectStore(store));
    await new Promise((resolve, reject) => Object.assign(opening, { onsuccess: resolve, onerror: reject }));
    const database = opening.result;
    const transaction = database.transaction(['store', 'objects', 'rows'], 'readwrite');
    for (const { requests } of this.committed.slice(0, count)) {
      for (const request of requests) request((store) => transaction.objectStore(store));
    }
    await new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: reject }));
    database.close();
  }
}

const random = (seed) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
};

/** Writes a lot, and notes for each write how many transactions there were when it was answered, and the state then. */
const history = async (name, sync, seed) => {
  await init();
  const draw = random(seed);
  const recorder = new Recorder().install();
  const options = { storage: { indexedDB: name }, sync, memoryBytes: 1 << 20, memtableBytes: 12 << 10, segmentBytes: 16 << 10, largeValueBytes: 700 };
  const store = await Store.open(options);
  const model = new Map();
  const answers = [{ transactions: recorder.committed.length, state: new Map() }];
  for (let at = 0; at < 220; at++) {
    const list = Array.from({ length: 1 + Math.floor(draw() * 6) }, () => {
      const key = `key ${Math.floor(draw() * 60)}`;
      if (draw() < 0.2) return ['delete', key];
      return ['put', key, `${at} `.repeat(1 + Math.floor(draw() * draw() * 400))];
    });
    await store.write(operations(list));
    for (const [kind, key, value] of list) kind === 'put' ? model.set(key, value) : model.delete(key);
    if (at % 60 === 59) await store.flush();
    answers.push({ transactions: recorder.committed.length, state: new Map(model) });
  }
  store.abandon();
  recorder.remove();
  return { recorder, answers, options };
};

const stateOf = async (name, options) => {
  const store = await Store.open({ ...options, storage: { indexedDB: name } });
  const found = new Map(await all(store.scan(undefined, undefined, false, 3)));
  const problems = (await store.verify()).problems;
  equal(problems, []);
  // It goes on from there.
  await store.put(bytes('~after'), bytes('1'));
  await store.close();
  store.free();
  indexedDB.deleteDatabase(name);
  return found;
};

const same = (a, b) => a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);

/** Opens what `count` transactions have left: it is the state behind some write, and not before `atLeast`. */
const checkImage = async ({ recorder, answers, options }, count, atLeast) => {
  const name = `image ${count} ${Math.random()}`;
  await recorder.image(name, count);
  const found = await stateOf(name, options);
  const behind = answers.findIndex((answer, at) => at >= atLeast && same(answer.state, found));
  check(behind >= 0, `behind ${count} transactions: no state from write ${atLeast} on is what was found (${found.size} keys)`);
};

export const a_tab_that_dies_at_any_moment_leaves_all_that_was_answered = async () => {
  const past = await history(`dying ${Math.random()}`, 'everysec', 7);
  const total = past.recorder.committed.length;
  check(total > 200, `only ${total} transactions`);
  let images = 0;
  for (let count = 1; count <= total; count += 1 + (images % 4)) {
    // Answered when there were no more transactions than these.
    const atLeast = past.answers.findLastIndex((answer) => answer.transactions <= count);
    await checkImage(past, count, Math.max(atLeast, 0));
    images += 1;
  }
  return `${images} images of ${total} transactions`;
};

export const a_loss_of_power_leaves_all_that_was_answered_under_always = async () => {
  const past = await history(`powerless ${Math.random()}`, 'always', 11);
  const { committed } = past.recorder;
  let images = 0;
  let dropped = 0;
  for (let count = 1; count <= committed.length; count += 1 + (images % 4)) {
    // What is not strict may be lost, from any of it on, as long as nothing strict came behind it.
    const strict = committed.slice(0, count).findLastIndex((transaction) => transaction.strict) + 1;
    const atLeast = past.answers.findLastIndex((answer) => answer.transactions <= count);
    dropped += count - strict;
    await checkImage(past, strict, Math.max(atLeast, 0));
    images += 1;
  }
  check(dropped > 0, 'nothing was ever dropped');
  return `${images} images of ${committed.length} transactions, ${dropped} dropped`;
};

export const a_loss_of_power_leaves_a_state_that_once_was_under_everysec = async () => {
  const past = await history(`relaxed ${Math.random()}`, 'everysec', 13);
  const { committed } = past.recorder;
  let images = 0;
  for (let count = 5; count <= committed.length; count += 9) {
    const strict = committed.slice(0, count).findLastIndex((transaction) => transaction.strict) + 1;
    const atLeast = past.answers.findLastIndex((answer) => answer.transactions <= strict);
    await checkImage(past, strict, Math.max(atLeast, 0));
    images += 1;
  }
  return `${images} images of ${committed.length} transactions`;
};
