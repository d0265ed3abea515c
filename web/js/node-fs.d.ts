import type { FileHost, FileHostContents } from '../wasm/trilith.js';

/** The files in a directory of Node's. */
export declare class NodeFiles implements FileHost {
  constructor(directory: string);
  load(): FileHostContents;
  commit(meta: Uint8Array): void;
  create(name: string): unknown;
  open(name: string): unknown;
  read(handle: unknown, offset: number, length: number): Uint8Array;
  write(handle: unknown, offset: number, bytes: Uint8Array): void;
  truncate(handle: unknown, length: number): void;
  sync(handle: unknown): Promise<void>;
  syncName(name: string): void;
  close(handle: unknown): void;
  rename(from: string, to: string): void;
  remove(name: string): void;
  room(): number;
  beside(directory: string): NodeFiles;
  release(): void;
}
