// Runs the tests and counts them, see README.md.
import { readdir } from 'node:fs/promises';
import { withBrowser } from './harness.mjs';
import * as browserTests from './browser.mjs';
import * as nodeTests from './node.mjs';
import * as tabsTests from './tabs.mjs';

const words = process.argv.slice(2);
const wanted = (name) => words.length === 0 || words.some((word) => name.includes(word));
const LIMIT_MS = 120_000;
let passed = 0;
const failures = [];

const limited = (promise) => {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
};

const run = async (name, test) => {
  if (!wanted(name)) return;
  const begun = performance.now();
  try {
    const said = await limited(test());
    console.log(`test ${name} ... ok, ${Math.round(performance.now() - begun)} ms${said ? `: ${said}` : ''}`);
    passed += 1;
  } catch (error) {
    console.log(`test ${name} ... FAILED`);
    console.log(error.stack ?? error);
    failures.push(name);
  }
};

for (const [name, test] of Object.entries(nodeTests)) await run(`node: ${name}`, test);

// Each file of pages has a browser of its own, and so has each test that is done from outside: what one leaves behind
// when it fails, such as a quota, ends with its browser.
const files = (await readdir(new URL('page/', import.meta.url))).filter((file) => file.endsWith('.test.js'));
for (const file of files.sort()) {
  await withBrowser(async (browser) => {
    const names = await browser.namesIn(file);
    for (const name of names) await run(`${file.replace('.test.js', '')}: ${name}`, () => browser.runInPage(file, name));
  });
}
for (const [name, test] of Object.entries({ ...browserTests, ...tabsTests })) {
  await run(`browser: ${name}`, () => withBrowser((browser) => test(browser)));
}

console.log(`test result: ${failures.length ? 'FAILED' : 'ok'}. ${passed} passed; ${failures.length} failed`);
process.exitCode = failures.length || passed === 0 ? 1 : 0;
