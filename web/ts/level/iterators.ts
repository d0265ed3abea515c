// Level's iterators.
import { AbstractIterator, AbstractKeyIterator, AbstractValueIterator } from 'abstract-level';
import type { LevelDatabase, LevelRange } from './database.js';
import { LevelWalk } from './walk.js';

// The abstract classes take their options as abstract-level made them, which its types do not name.
type Given = never;
// Of whatever keys and values: they are bytes by now.
type Database = LevelDatabase<any, any>;
type Entry = [key: Uint8Array, value: Uint8Array];

export class LevelIterator extends AbstractIterator<Database, Uint8Array, Uint8Array> {
  readonly #walk: LevelWalk<Entry>;

  constructor(database: Database, options: LevelRange) {
    super(database, options as Given);
    this.#walk = new LevelWalk(database.store, options, (from, range) => from.scan(range));
  }

  _next(): Promise<Entry | undefined> {
    return this.#walk.next();
  }

  _nextv(size: number): Promise<Entry[]> {
    return this.#walk.many(size);
  }

  _seek(target: Uint8Array): void {
    this.#walk.seek(target);
  }

  _close(): Promise<void> {
    return this.#walk.close();
  }
}

export class LevelKeys extends AbstractKeyIterator<Database, Uint8Array> {
  readonly #walk: LevelWalk<Uint8Array>;

  constructor(database: Database, options: LevelRange) {
    super(database, options as Given);
    this.#walk = new LevelWalk(database.store, options, (from, range) => from.keys(range));
  }

  _next(): Promise<Uint8Array | undefined> {
    return this.#walk.next();
  }

  _nextv(size: number): Promise<Uint8Array[]> {
    return this.#walk.many(size);
  }

  _seek(target: Uint8Array): void {
    this.#walk.seek(target);
  }

  _close(): Promise<void> {
    return this.#walk.close();
  }
}

export class LevelValues extends AbstractValueIterator<Database, Uint8Array, Uint8Array> {
  readonly #walk: LevelWalk<Uint8Array>;

  constructor(database: Database, options: LevelRange) {
    super(database, options as Given);
    this.#walk = new LevelWalk(database.store, options, (from, range) => from.values(range));
  }

  _next(): Promise<Uint8Array | undefined> {
    return this.#walk.next();
  }

  _nextv(size: number): Promise<Uint8Array[]> {
    return this.#walk.many(size);
  }

  _seek(target: Uint8Array): void {
    this.#walk.seek(target);
  }

  _close(): Promise<void> {
    return this.#walk.close();
  }
}
