// Makes of the glue that wasm-bindgen wrote what the package imports, and puts the file hosts beside it.
//
// The glue keeps its instance in variables of its module: one instance for each JavaScript realm, for ever. The package
// wants one for each store, and a new one when one has panicked. So the glue's text becomes the body of a function that
// makes an instance; bundlers see an ordinary module. What is changed in the text is checked to be there.
import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';

const dist = new URL('../dist/', import.meta.url);
const hosts = new URL('../js/', import.meta.url);

const replaced = (text, found, by) => {
  if (text.split(found).length !== 2) throw new Error(`the glue has changed: ${found} is not there once`);
  return text.replace(found, () => by);
};

/** Makes FOLDER/instance.js and its types of FOLDER/NAME.js. */
const instanceOf = async (folder, name) => {
  let text = await readFile(new URL(`${folder}/${name}.js`, dist), 'utf8');
  if (/^import /m.test(text)) throw new Error('the glue has changed: it imports something');
  const exported = [...text.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, found]) => found);
  text = text.replace(/^export (class|function) /gm, '$1 ');
  text = replaced(text, 'export { initSync, __wbg_init as default };', '');
  text = replaced(text, 'wasm = instance.exports;', 'wasm = guarded(instance.exports);');
  text = replaced(text, `new URL('${name}_bg.wasm', import.meta.url)`, 'undefined');
  text = text.replace(/^\/\* @ts-self-types=.*\n/, '');
  const made = `// Made by build/package.mjs.\nexport const makeInstance = (guarded) => {\n${text}\nreturn { default: __wbg_init, ${exported.join(', ')} };\n};\n`;
  await writeFile(new URL(`${folder}/instance.js`, dist), made);
  const types = `export type Instance = Omit<typeof import('./${name}.js'), 'initSync'>;
/** An instance that is yet to be loaded, by \`default\`. \`guarded\` is given what it exports, and gives what is used. */
export declare const makeInstance: (guarded: (exports: WebAssembly.Exports) => WebAssembly.Exports) => Instance;
`;
  await writeFile(new URL(`${folder}/instance.d.ts`, dist), types);
};

await instanceOf('wasm', 'trilith');
await instanceOf('wasm-ring', 'trilith');
await mkdir(new URL('host/', dist), { recursive: true });
for (const file of await readdir(hosts)) await copyFile(new URL(file, hosts), new URL(`host/${file}`, dist));
