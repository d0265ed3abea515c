// What is done to pages from outside.
import assert from 'node:assert/strict';

/** Opens a store in a page, as `store` on its window, with helpers beside it. */
const openIn = (page, name, options = {}) =>
  page.evaluate(
    async ([name, options]) => {
      const module = await import('/web/dist/wasm/trilith.js');
      await module.default();
      const flat = await import('/page/flat.js');
      Object.assign(window, { module, flat });
      try {
        window.store = await module.Store.open({ storage: { indexedDB: name }, ...options });
        return { opened: true };
      } catch ({ code, reason, message }) {
        return { code, reason, message };
      }
    },
    [name, options],
  );

const get = (page, key) => page.evaluate(async (key) => flat.text(await store.get(flat.bytes(key))), key);
const put = (page, key, value) =>
  page.evaluate(
    async ([key, value]) => {
      try {
        await store.put(flat.bytes(key), flat.bytes(value));
        return 'done';
      } catch ({ code, reason }) {
        return [code, reason].filter(Boolean).join(' ');
      }
    },
    [key, value],
  );
const name = () => `store ${Math.random()}`;

export const everything_answered_is_there_after_a_reload = async (browser) => {
  const store = name();
  const page = await browser.tab();
  await openIn(page, store);
  for (let at = 0; at < 20; at++) assert.equal(await put(page, `key ${at}`, `value ${at}`), 'done');
  await page.reload();
  assert.deepEqual(await openIn(page, store), { opened: true });
  for (let at = 0; at < 20; at++) assert.equal(await get(page, `key ${at}`), `value ${at}`);
  await page.close();
};

export const a_tab_that_is_killed_while_it_writes_loses_nothing_it_was_told = async (browser) => {
  const store = name();
  const page = await browser.tab();
  let told = -1;
  await page.exposeFunction('told', (at) => (told = Math.max(told, at)));
  await openIn(page, store, { memoryBytes: 1 << 20 });
  await page.evaluate(() => {
    const write = async () => {
      for (let at = 0; ; at++) {
        await store.put(flat.bytes(`key ${at}`), flat.bytes(`${at} `.repeat(40)));
        if (at % 20 === 0) window.told(at);
      }
    };
    write();
  });
  while (told < 1000) await new Promise((resolve) => setTimeout(resolve, 20));
  const crashed = new Promise((resolve) => page.once('crash', resolve));
  page.goto('chrome://crash').catch(() => {});
  await crashed;
  await page.close();
  const next = await browser.tab();
  let opened = await openIn(next, store);
  // The dead tab's lock is let go of when the browser has noticed.
  while (opened.code === 'locked') opened = await openIn(next, store);
  assert.deepEqual(opened, { opened: true });
  for (let at = 0; at <= told; at += 17) assert.equal(await get(next, `key ${at}`), `${at} `.repeat(40), `key ${at} of ${told}`);
  await next.close();
  return `killed behind write ${told}`;
};

export const a_second_tab_is_told_that_the_store_is_taken = async (browser) => {
  const store = name();
  const [first, second] = [await browser.tab(), await browser.tab()];
  await openIn(first, store);
  assert.equal((await openIn(second, store)).code, 'locked');
  await first.evaluate(() => store.close());
  assert.deepEqual(await openIn(second, store), { opened: true });
  await Promise.all([first.close(), second.close()]);
};

export const a_full_quota_refuses_writes_and_takes_them_again_when_there_is_room = async (browser) => {
  const page = await browser.tab();
  const session = await browser.context.newCDPSession(page);
  const quota = (quotaSize) => session.send('Storage.overrideQuotaForOrigin', { origin: browser.origin, quotaSize });
  const store = name();
  // Before anything is written: how much room there is, the browser remembers for a while.
  await quota(4 << 20);
  try {
    assert.deepEqual(await openIn(page, store, { memoryBytes: 4 << 20 }), { opened: true });
    assert.equal(await put(page, 'before', 'kept'), 'done');
    const refused = await page.evaluate(async () => {
      const done = [];
      for (let at = 0; at < 200; at++) {
        try {
          await store.put(flat.bytes(`big ${at}`), crypto.getRandomValues(new Uint8Array(60_000)));
          done.push(at);
        } catch ({ code, reason, message }) {
          return { done, code, reason, message };
        }
      }
      return { done };
    });
    assert.equal(refused.code, 'full', `${refused.done.length} written, then ${refused.code}: ${refused.message}`);
    assert.equal(await get(page, 'before'), 'kept');
    for (const at of refused.done) {
      const length = await page.evaluate(async (at) => (await store.get(flat.bytes(`big ${at}`)))?.length, at);
      assert.equal(length, 60_000, `big ${at} was acknowledged`);
    }
    await quota(500 << 20);
    let outcome;
    const until = Date.now() + 30_000;
    do {
      outcome = await put(page, 'after', 'taken');
      // Refused at once, it would be asked again at once.
      if (outcome !== 'done') await new Promise((resolve) => setTimeout(resolve, 20));
    } while (outcome !== 'done' && Date.now() < until);
    assert.equal(outcome, 'done');
    await page.reload();
    assert.deepEqual(await openIn(page, store), { opened: true });
    assert.equal(await get(page, 'before'), 'kept');
    assert.equal(await get(page, 'after'), 'taken');
    return `refused behind ${refused.done.length} writes: ${refused.code} ${refused.reason ?? ''}`;
  } finally {
    await session.send('Storage.overrideQuotaForOrigin', { origin: browser.origin });
    await page.close();
  }
};

export const an_open_that_another_tab_blocks_ends_in_time = async (browser) => {
  const store = name();
  const [holder, page] = [await browser.tab(), await browser.tab()];
  // Holds a connection and does not let go of it for the deletion that then waits, and everybody behind it.
  await holder.evaluate(async (store) => {
    const opening = indexedDB.open(store, 1);
    await new Promise((resolve) => (opening.onsuccess = resolve));
    window.held = opening.result;
    indexedDB.deleteDatabase(store);
  }, store);
  const begun = Date.now();
  const refused = await openIn(page, store, { openTimeoutMs: 300 });
  assert.equal(refused.code, 'locked');
  assert.equal(refused.reason, 'blocked');
  assert.ok(Date.now() - begun < 5000);
  await holder.evaluate(() => held.close());
  assert.deepEqual(await openIn(page, store), { opened: true });
  await Promise.all([holder.close(), page.close()]);
};

export const a_connection_makes_way_for_a_deletion_and_says_so = async (browser) => {
  const store = name();
  const [page, other] = [await browser.tab(), await browser.tab()];
  await openIn(page, store);
  assert.equal(await put(page, 'key', 'value'), 'done');
  await other.evaluate(async (store) => {
    const deleting = indexedDB.deleteDatabase(store);
    await new Promise((resolve, reject) => Object.assign(deleting, { onsuccess: resolve, onerror: reject }));
  }, store);
  const outcomes = [await put(page, 'key', 'late'), await put(page, 'key', 'later')];
  assert.ok(outcomes.every((outcome) => ['lost versionchange', 'unknown versionchange', 'read-only versionchange'].includes(outcome)), outcomes.join());
  await Promise.all([page.close(), other.close()]);
  return outcomes.join();
};

export const a_database_that_is_deleted_from_outside_is_not_taken_for_an_empty_one = async (browser) => {
  const store = name();
  const page = await browser.tab();
  await openIn(page, store);
  assert.equal(await put(page, 'key', 'value'), 'done');
  const session = await browser.context.newCDPSession(page);
  // As when the user clears what the site stores.
  await session.send('Storage.clearDataForOrigin', { origin: browser.origin, storageTypes: 'indexeddb' });
  const outcomes = [await put(page, 'key', 'late'), await put(page, 'key', 'later')];
  assert.ok(outcomes.every((outcome) => /^(lost|unknown|read-only) deleted$/.test(outcome)), outcomes.join());
  await page.close();
  return outcomes.join();
};

export const a_database_of_somebody_else_is_left_alone = async (browser) => {
  const page = await browser.tab();
  const store = name();
  const make = (version) =>
    page.evaluate(
      async ([store, version]) => {
        const opening = indexedDB.open(store, version);
        opening.onupgradeneeded = () => opening.result.createObjectStore(`theirs ${version}`);
        await new Promise((resolve) => (opening.onsuccess = resolve));
        opening.result.close();
      },
      [store, version],
    );
  await make(1);
  assert.equal((await openIn(page, store)).code, 'invalid');
  await make(2);
  assert.equal((await openIn(page, store)).code, 'newer');
  await page.close();
};
