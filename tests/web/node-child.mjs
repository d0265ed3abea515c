// What is run in a process of its own by node.mjs.
import { readFile } from 'node:fs/promises';
import { NodeFiles } from '../../web/js/node-fs.js';
import init, { Store } from '../../web/dist/wasm/trilith.js';
import { bytes } from './page/flat.js';

const [task, folder] = process.argv.slice(2);
await init({ module_or_path: await readFile(new URL('../../web/dist/wasm/trilith_bg.wasm', import.meta.url)) });
const store = await Store.open({ storage: { files: new NodeFiles(folder) }, sync: task === 'write' ? 'everysec' : 'always', memoryBytes: 1 << 20 });

if (task === 'write') {
  for (let at = 0; ; at++) {
    await store.put(bytes(`key ${at}`), bytes(`value ${at}`));
    process.stdout.write(`${at}\n`);
    // The parent reads.
    if (at % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
} else {
  await store.put(bytes('key'), bytes('value'));
  console.log('synced');
  // And the process ends by itself, with the store open.
}
