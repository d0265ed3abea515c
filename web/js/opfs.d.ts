import type { FileHost, FileHostContents } from '../wasm/trilith.js';

/** The files in a directory of the origin's own file system. For dedicated workers. */
export declare class OpfsFiles implements FileHost {
  constructor(name: string);
  load(): Promise<FileHostContents>;
  commit(meta: Uint8Array): void;
  create(name: string): Promise<unknown>;
  open(name: string): Promise<unknown>;
  read(handle: unknown, offset: number, length: number): Uint8Array;
  write(handle: unknown, offset: number, bytes: Uint8Array): void;
  truncate(handle: unknown, length: number): void;
  sync(handle: unknown): void;
  syncName(name: string): void;
  close(handle: unknown): void;
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  room(): Promise<number>;
  beside(directory: string): OpfsFiles;
  release(): void;
}
