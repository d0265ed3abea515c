// A store as an abstract-level database, in Node. Needs the package abstract-level.
import { LevelDatabase, type LevelOptions } from './level/database.js';
import { open } from './node.js';

export type { LevelOptions, StoreOptions } from './level/database.js';

/** An abstract-level database in a store of this name. */
export class TrilithLevel<K = string, V = string> extends LevelDatabase<K, V> {
  constructor(location: string, options?: LevelOptions<K, V>) {
    super((name, given) => open(name, given), location, options);
  }
}
