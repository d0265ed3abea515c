// Runs a Rust test binary that was built for wasm32-wasip1 under Node's own WASI, so that the engine's
// tests run on 32 bits and on wasm with nothing installed but Node. cargo calls it as the target's runner:
// the module, then the arguments of the test harness.
//
// The module gets arguments, the clock, random bytes, standard output and the variables that steer tests;
// no directory: the engine's tests touch no file.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import process from 'node:process';

// Node warns that WASI is experimental, on every run; what it does here is stable.
process.removeAllListeners('warning');
const { WASI } = await import('node:wasi');

const [module, ...args] = process.argv.slice(2);
if (module === undefined) {
  console.error('usage: node wasi-runner.mjs MODULE.wasm [ARGUMENT...]');
  process.exit(2);
}

const passed = ['PROPTEST_', 'RUST_', 'TRILITH_'];
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => passed.some((prefix) => name.startsWith(prefix))),
);
const wasi = new WASI({ version: 'preview1', args: [basename(module), ...args], env, returnOnExit: true });
const imports = wasi.getImportObject();
// Called straight from wasm, Node 20's functions take a fast path that now and then ends in a segmentation
// fault at exit; called through JavaScript they do not.
for (const [name, call] of Object.entries(imports.wasi_snapshot_preview1)) {
  imports.wasi_snapshot_preview1[name] = (...values) => call(...values);
}
const compiled = await WebAssembly.compile(await readFile(module));
const instance = await WebAssembly.instantiate(compiled, imports);

try {
  process.exitCode = wasi.start(instance);
} catch (error) {
  // A panic traps, as wasm cannot unwind. With --nocapture its message stands above.
  console.error(`${basename(module)}: ${error}`);
  process.exitCode = 101;
}
