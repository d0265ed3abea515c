// A snapshot as level has it: taken at once, though the store tells later that it is.
import { AbstractSnapshot as Base } from 'abstract-level';
import type { Snapshot } from '../store/snapshot.js';
import type { ByteStore } from './database.js';

// Its constructor takes the options that the database was given, which its types do not say.
const AbstractSnapshot = Base as unknown as new (options: object) => Base;

export class LevelSnapshot extends AbstractSnapshot {
  readonly taken: Promise<Snapshot<Uint8Array, Uint8Array>>;

  constructor(store: ByteStore, options: object) {
    super(options);
    this.taken = store.snapshot();
    // Who reads from it hears of it.
    this.taken.catch(() => {});
  }

  async _close(): Promise<void> {
    (await this.taken).close();
  }
}
