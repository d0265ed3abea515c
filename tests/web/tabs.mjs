// Tabs that share a store, and the end of the one that owns it. Tabs own the store in the order in which they opened it.
import assert from 'node:assert/strict';

const KILLED_BEHIND = 150;

/** A tab with the store open, and a load in it that tells of each write before it is issued and when it is answered. */
const loadedTab = async (browser, name, tab, told, options = {}) => {
  const page = await browser.tab();
  await page.exposeFunction('tell', (what, at) => told(tab, what, at));
  await page.evaluate(
    async ([name, tab, options]) => {
      const { open } = await import('/web/dist/index.js');
      window.store = await open(name, options);
      window.outcomes = { unknown: 0, other: [] };
      window.isGoing = true;

      /** Numbers that only grow, each written when the one before it is answered. */
      const sequence = async () => {
        for (let at = 1; window.isGoing; at++) {
          try {
            await store.put(`sequence ${tab}`, at);
            await window.tell('put', at);
          } catch (error) {
            if (error.code === 'unknown') outcomes.unknown += 1;
            else outcomes.other.push(`put: ${error.message}`);
          }
        }
      };
      /** Many at once, each a key of its own. */
      const crowd = async (lane) => {
        for (let at = 0; window.isGoing; at++) {
          try {
            await store.put(`crowd ${tab} ${lane} ${at}`, at);
            if (at % 10 === 0) await window.tell(`crowd ${lane}`, at);
          } catch (error) {
            if (error.code !== 'unknown') outcomes.other.push(`crowd: ${error.message}`);
          }
        }
      };
      /** One counter for all tabs. */
      const count = async () => {
        while (window.isGoing) {
          const before = await store.get('count');
          await window.tell('trying', 1);
          let outcome = 'unknown';
          try {
            outcome = (await store.compareAndSet('count', before, (before ?? 0) + 1)) ? 'counted' : 'refused';
          } catch (error) {
            if (error.code !== 'unknown') outcomes.other.push(`count: ${error.message}`);
          }
          await window.tell(outcome, 1);
        }
      };
      window.load = Promise.all([sequence(), count(), ...Array.from({ length: 6 }, (_, lane) => crowd(lane))]);
    },
    [name, tab, options],
  );
  return page;
};

/** Looks out for a tab's sequence that goes back: then something was done twice. */
const observe = (page) =>
  page.evaluate(() => {
    const seen = {};
    window.backwards = [];
    const look = async () => {
      for await (const [key, value] of store.scan({ prefix: 'sequence ' })) {
        if (value < (seen[key] ?? 0)) backwards.push(`${key}: ${value} behind ${seen[key]}`);
        seen[key] = value;
      }
    };
    window.observed = (async () => {
      while (window.isGoing) {
        // What memory answers leaves the event loop no turn.
        await new Promise((resolve) => setTimeout(resolve));
        try {
          await look();
        } catch (error) {
          // A scan ends with the owner that it was begun at.
          if (error.code !== 'lost') backwards.push(error.message);
        }
      }
    })();
  });

const killed = async (page, how) => {
  if (how === 'closed') {
    await page.close();
    return;
  }
  const crashed = new Promise((resolve) => page.once('crash', resolve));
  page.goto('chrome://crash').catch(() => {});
  await crashed;
  await page.close();
};

/** `tabs` of them under load; all but the last are ended, the owner each time. */
const endOwners = async (browser, tabs, how, options) => {
  const name = `tabs-${Math.random().toString(36).slice(2)}`;
  const told = Array.from({ length: tabs }, () => ({}));
  const hear = (tab, what, at) => {
    const numbers = told[tab];
    numbers[what] = ['trying', 'counted', 'refused', 'unknown'].includes(what) ? (numbers[what] ?? 0) + 1 : at;
  };
  const until = async (condition, what) => {
    const limit = Date.now() + 60_000;
    while (!condition()) {
      assert.ok(Date.now() < limit, `${what}: ${JSON.stringify(told)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const pages = [];
  for (let tab = 0; tab < tabs; tab++) pages.push(await loadedTab(browser, name, tab, hear, options));
  const last = tabs - 1;
  await observe(pages[last]);
  for (let tab = 0; tab < last; tab++) {
    const from = told[last].put ?? 0;
    await until(() => (told[last].put ?? 0) >= from + KILLED_BEHIND, `tab ${tab} is the owner`);
    await killed(pages[tab], how);
  }
  const from = told[last].put ?? 0;
  await until(() => (told[last].put ?? 0) >= from + KILLED_BEHIND, 'the last tab is the owner');
  const page = pages[last];
  const said = await page.evaluate(async () => {
    window.isGoing = false;
    await Promise.all([window.load, window.observed]);
    return { outcomes, backwards };
  });
  assert.deepEqual(said.outcomes.other, []);
  assert.deepEqual(said.backwards, []);
  for (const [tab, numbers] of told.entries()) {
    const stored = await page.evaluate((tab) => store.get(`sequence ${tab}`), tab);
    assert.ok(stored >= numbers.put, `tab ${tab}: ${stored} is there, ${numbers.put} was acknowledged`);
    for (let lane = 0; lane < 6; lane++) {
      const at = numbers[`crowd ${lane}`];
      const key = `crowd ${tab} ${lane} ${at}`;
      if (at !== undefined) assert.equal(await page.evaluate((key) => store.get(key), key), at, key);
    }
  }
  const sum = (count) => told.reduce((all, numbers) => all + count(numbers), 0);
  const count = await page.evaluate(() => store.get('count'));
  const least = sum(({ counted = 0 }) => counted);
  const most = sum(({ trying = 0, refused = 0 }) => trying - refused);
  assert.ok(count >= least && count <= most, `counted to ${count}, which is not from ${least} to ${most}`);
  await page.evaluate(() => store.close());
  await page.close();
  const unknown = said.outcomes.unknown;
  return `${sum(({ put = 0 }) => put)} puts, counted to ${count} of ${least} to ${most}, ${unknown} unknown`;
};

export const tabs_two_share_a_store_whose_owner_is_closed = (browser) => endOwners(browser, 2, 'closed');
export const tabs_two_share_a_store_whose_owner_crashes = (browser) => endOwners(browser, 2, 'crashed');
export const tabs_two_without_workers_share_a_store_whose_owner_crashes = (browser) =>
  endOwners(browser, 2, 'crashed', { worker: false });
export const tabs_two_share_files_whose_owner_is_closed = (browser) => endOwners(browser, 2, 'closed', { storage: 'opfs' });
export const tabs_five_share_a_store_whose_owners_crash_one_by_one = (browser) => endOwners(browser, 5, 'crashed', { durability: 'always' });
export const tabs_five_share_a_store_whose_owners_are_closed_one_by_one = (browser) => endOwners(browser, 5, 'closed');

export const tabs_hear_of_each_other_s_changes = async (browser) => {
  const name = `tabs-${Math.random().toString(36).slice(2)}`;
  const pages = [await browser.tab(), await browser.tab()];
  for (const page of pages) {
    await page.evaluate(async (name) => {
      const { open } = await import('/web/dist/index.js');
      window.store = await open(name);
      window.heard = [];
      const watch = store.watch('w/');
      await watch.ready;
      (async () => {
        for await (const event of watch) heard.push(event);
      })();
    }, name);
  }
  const heard = async (page, length) => {
    await page.waitForFunction((length) => heard.length >= length, length);
    return page.evaluate(() => heard);
  };
  await pages[0].evaluate(() => store.put('w/1', 'first'));
  await pages[1].evaluate(() => store.put('w/2', 'second'));
  const events = [
    { type: 'put', key: 'w/1', value: 'first' },
    { type: 'put', key: 'w/2', value: 'second' },
  ];
  for (const page of pages) assert.deepEqual(await heard(page, 2), events);
  // In good order, with the other going on.
  await pages[0].evaluate(() => store.close());
  await pages[1].evaluate(() => store.put('w/3', 'third'));
  assert.deepEqual(await heard(pages[1], 4), [...events, { type: 'missed' }, { type: 'put', key: 'w/3', value: 'third' }]);
  for (const page of pages) await page.close();
};
