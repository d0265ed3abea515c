// A store for Keyv, in Node.
import { KeyvAdapter, type KeyvTrilithOptions } from './keyv/adapter.js';
import { open } from './node.js';

export type { KeyvEntry, KeyvTrilithOptions } from './keyv/adapter.js';

/** Keeps Keyv's entries in a store of this name: `new Keyv({ store: new KeyvTrilith("cache") })`. */
export class KeyvTrilith extends KeyvAdapter {
  constructor(name: string, options: KeyvTrilithOptions = {}) {
    super((given, more) => open(given, more), name, options);
  }
}
