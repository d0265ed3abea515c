// The package in a browser, and by default. Importing it touches nothing: it can be rendered on a server.
//
// The TypeScript in web/ts is compiled to web/dist, folder for folder; web/dist/wasm is the module that the Rust in web/src
// becomes, and web/dist/host what lies in web/js. Entries lie at the top (index, node, worker, memory); `store` is what
// programs see, `engine` the wasm instance, `remote` calls through messages, `tabs` who owns a store, `platform` what
// differs between a browser and Node. `open.ts` puts them together.
import { opener, type Open } from './open.js';
import { browser } from './platform/browser.js';

export * from './api.js';

/** Opens a store, or makes one. */
export const open: Open = /* @__PURE__ */ opener(browser);
