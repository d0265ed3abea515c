// Speeds in one page, beside raw IndexedDB: `node speed.mjs`. 10,000 keys of 16 bytes, values of 100; the median of 3
// fresh profiles. Operations a second.
import { withBrowser } from './harness.mjs';

const RUNS = 3;

const measure = (page) =>
  page.evaluate(async () => {
    const module = await import('/web/dist/wasm/trilith.js');
    await module.default();
    const flat = await import('/page/flat.js');
    const KEYS = 10_000;
    const keys = Array.from({ length: KEYS }, (_, at) => flat.bytes(`key ${String(at).padStart(12, '0')}`));
    const value = crypto.getRandomValues(new Uint8Array(100));
    const rates = {};
    const rate = async (name, count, work) => {
      const begun = performance.now();
      await work();
      rates[name] = Math.round((count / (performance.now() - begun)) * 1000);
    };
    const inFlight = async (count, many, put) => {
      let next = 0;
      const one = async () => {
        while (next < count) await put(next++);
      };
      await Promise.all(Array.from({ length: many }, one));
    };

    for (const sync of ['everysec', 'always']) {
      const store = await module.Store.open({ storage: { indexedDB: `speed ${sync}` }, sync });
      await rate(`put, one at a time, ${sync}`, 1000, async () => {
        for (let at = 0; at < 1000; at++) await store.put(keys[at], value);
      });
      await rate(`put, 64 in flight, ${sync}`, KEYS, () => inFlight(KEYS, 64, (at) => store.put(keys[at], value)));
      await rate(`write, 1,000 at once, ${sync}`, KEYS, async () => {
        for (let from = 0; from < KEYS; from += 1000) {
          await store.write(flat.operations(keys.slice(from, from + 1000).map((key) => ['put', key, value])));
        }
      });
      if (sync === 'everysec') {
        await rate('get of a resident key', KEYS * 10, async () => {
          for (let round = 0; round < 10; round++) for (const key of keys) store.get(key);
        });
        await rate('get of a resident key, awaited', KEYS, async () => {
          for (const key of keys) await store.get(key);
        });
        await rate('scan of all', KEYS, () => flat.all(store.scan(undefined, undefined, false, 3), 1000));
      }
      await store.close();
      const begun = performance.now();
      const again = await module.Store.open({ storage: { indexedDB: `speed ${sync}` }, sync });
      rates[`open with 10,000 keys, ${sync}, ms`] = Math.round(performance.now() - begun);
      await again.close();
    }

    const opening = indexedDB.open('raw', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore('pairs');
    await new Promise((resolve) => (opening.onsuccess = resolve));
    const database = opening.result;
    const ended = (transaction) => new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: reject }));
    const put = (at, durability) => {
      const transaction = database.transaction('pairs', 'readwrite', { durability });
      transaction.objectStore('pairs').put(value, keys[at]);
      transaction.commit();
      return ended(transaction);
    };
    for (const durability of ['relaxed', 'strict']) {
      await rate(`raw IndexedDB: put, one at a time, ${durability}`, 1000, async () => {
        for (let at = 0; at < 1000; at++) await put(at, durability);
      });
    }
    await rate('raw IndexedDB: put, 64 in flight, relaxed', KEYS, () => inFlight(KEYS, 64, (at) => put(at, 'relaxed')));
    await rate('raw IndexedDB: 1,000 in a transaction, relaxed', KEYS, async () => {
      for (let from = 0; from < KEYS; from += 1000) {
        const transaction = database.transaction('pairs', 'readwrite', { durability: 'relaxed' });
        for (const key of keys.slice(from, from + 1000)) transaction.objectStore('pairs').put(value, key);
        transaction.commit();
        await ended(transaction);
      }
    });
    await rate('raw IndexedDB: get', 2000, async () => {
      for (let at = 0; at < 2000; at++) {
        const request = database.transaction('pairs').objectStore('pairs').get(keys[at]);
        await new Promise((resolve) => (request.onsuccess = resolve));
      }
    });
    await rate('raw IndexedDB: getAll', KEYS, async () => {
      const request = database.transaction('pairs').objectStore('pairs').getAll();
      await new Promise((resolve) => (request.onsuccess = resolve));
    });
    return rates;
  });

const runs = [];
for (let run = 0; run < RUNS; run++) runs.push(await withBrowser(async (browser) => measure(await browser.tab())));
for (const name of Object.keys(runs[0])) {
  const rates = runs.map((run) => run[name]).sort((a, b) => a - b);
  console.log(`${name.padEnd(52)} ${String(rates[RUNS >> 1]).padStart(9)}`);
}
