// abstract-level's own suite, over stores in files and in memory: `node level.test.cjs`.
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const test = require('tape');
const suite = require('../../web/node_modules/abstract-level/test');

const folder = mkdtempSync(path.join(tmpdir(), 'trilith-level-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
let count = 0;

import('../../web/dist/level-node.js').then(({ TrilithLevel }) => {
  const storage = process.argv[2] ?? 'files';
  suite({
    test,
    factory: (options) => new TrilithLevel(path.join(folder, `${(count += 1)}`), { ...options, store: { storage } }),
  });
});
