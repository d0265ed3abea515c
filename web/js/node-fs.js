// Files in a directory of Node's: the host of a store, see `FileHost` in the types. The layout is that of the native
// store, so that each opens what the other has written. This module is the only one that imports anything of Node's.
import * as fs from 'node:fs';
import * as path from 'node:path';

const META = 'META';
const META_NEW = 'META.new';
/** Held by whoever has the store open in Node: its process, and when that began. */
const LOCK = 'LOCK.node';
/** The native store's lock. Node cannot hold it, but can see who does. */
const NATIVE_LOCK = 'LOCK';
const ARCHIVE_DEPTH_MAX = 4;

const locked = (directory, who) =>
  Object.assign(new Error(`${directory} is open in ${who}`), { code: 'ELOCKED' });

const orMissing = (call) => {
  try {
    return call();
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** When a process began, in ticks since boot; '' where the system does not tell. Process ids are used again. */
const beganAt = (pid) => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
};

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

const syncDirectory = (directory) => {
  // Windows cannot, and need not.
  if (process.platform === 'win32') return;
  const handle = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
};

const makeDirectory = (directory) => {
  if (fs.existsSync(directory)) return;
  const above = path.dirname(directory);
  makeDirectory(above);
  fs.mkdirSync(directory, { recursive: true });
  syncDirectory(above);
};

const writeAll = (handle, bytes, offset) => {
  for (let at = 0; at < bytes.length; ) {
    at += fs.writeSync(handle, bytes, at, bytes.length - at, offset + at);
  }
};

export class NodeFiles {
  #directory;
  #lock;
  #handles = new Set();

  /** The files in `directory`, which is made when they are loaded. */
  constructor(directory) {
    this.#directory = path.resolve(directory);
  }

  #path(name) {
    return path.join(this.#directory, ...name.split('/'));
  }

  load() {
    makeDirectory(this.#directory);
    this.#takeLock();
    try {
      for (const name of fs.readdirSync(this.#directory)) {
        if (name === META_NEW || /^\d{6,}\.(table|segment)\.new$/.test(name)) fs.rmSync(this.#path(name));
      }
      const files = [];
      this.#list('', 0, files);
      const boot = orMissing(() => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'));
      return {
        meta: orMissing(() => new Uint8Array(fs.readFileSync(this.#path(META)))),
        files,
        boot: boot?.trim().replaceAll('-', ''),
      };
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #list(prefix, depth, files) {
    for (const entry of fs.readdirSync(this.#path(prefix || '.'), { withFileTypes: true })) {
      const name = prefix + entry.name;
      if (entry.isFile()) files.push(name, fs.statSync(this.#path(name)).size);
      else if (entry.isDirectory() && depth < ARCHIVE_DEPTH_MAX && (depth > 0 || name === 'archive')) {
        this.#list(`${name}/`, depth + 1, files);
      }
    }
  }

  #takeLock() {
    const file = this.#path(LOCK);
    const mine = `${process.pid} ${beganAt(process.pid)} ${Math.random().toString(36).slice(2)}\n`;
    const draft = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    fs.writeFileSync(draft, mine);
    try {
      for (;;) {
        try {
          // Appears whole, or not at all because there is one.
          fs.linkSync(draft, file);
          break;
        } catch (error) {
          if (error.code !== 'EEXIST') throw error;
        }
        this.#removeIfStale(file);
      }
    } finally {
      fs.rmSync(draft, { force: true });
    }
    this.#lock = mine;
    const holder = this.#nativeHolder();
    if (holder !== undefined) {
      this.release();
      throw locked(this.#directory, `process ${holder}`);
    }
  }

  /** Removes the lock of a process that has ended; throws if it has not. */
  #removeIfStale(file) {
    const held = orMissing(() => fs.readFileSync(file, 'latin1'));
    if (held === undefined) return;
    const [pid, began] = held.split(' ');
    if (isAlive(Number(pid)) && beganAt(pid) === began) {
      throw locked(this.#directory, Number(pid) === process.pid ? 'this process already' : `process ${pid}`);
    }
    // Two may find it stale: who moves it aside looks again at what it was that was moved.
    const aside = `${file}.stale.${process.pid}`;
    orMissing(() => fs.renameSync(file, aside));
    const moved = orMissing(() => fs.readFileSync(aside, 'latin1'));
    if (moved !== undefined && moved !== held) {
      try {
        fs.linkSync(aside, file);
      } catch {
        // A third has it by now.
      }
    }
    fs.rmSync(aside, { force: true });
  }

  /** The process that holds the native lock, as far as the system tells. */
  #nativeHolder() {
    const lock = orMissing(() => fs.statSync(this.#path(NATIVE_LOCK)));
    const locks = orMissing(() => fs.readFileSync('/proc/locks', 'latin1'));
    if (!lock || !locks) return undefined;
    const line = locks.split('\n').find((text) => {
      const fields = text.split(/\s+/);
      const inode = fields[5]?.split(':')[2];
      return fields[1] === 'FLOCK' && Number(inode) === lock.ino;
    });
    return line?.split(/\s+/)[4];
  }

  commit(meta) {
    const draft = this.#path(META_NEW);
    const handle = fs.openSync(draft, 'w');
    try {
      writeAll(handle, meta, 0);
      fs.fdatasyncSync(handle);
    } catch (error) {
      fs.closeSync(handle);
      fs.rmSync(draft, { force: true });
      throw error;
    }
    fs.closeSync(handle);
    fs.renameSync(draft, this.#path(META));
    syncDirectory(this.#directory);
  }

  create(name) {
    const file = this.#path(name);
    makeDirectory(path.dirname(file));
    // Not truncated but removed: those who read the old file keep it.
    fs.rmSync(file, { force: true });
    return this.#keep(fs.openSync(file, 'wx+'));
  }

  open(name) {
    return this.#keep(fs.openSync(this.#path(name), 'r+'));
  }

  #keep(handle) {
    this.#handles.add(handle);
    return handle;
  }

  read(handle, offset, length) {
    const bytes = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const read = fs.readSync(handle, bytes, at, length - at, offset + at);
      if (read === 0) break;
      at += read;
    }
    return at === length ? bytes : bytes.subarray(0, at);
  }

  write(handle, offset, bytes) {
    writeAll(handle, bytes, offset);
  }

  truncate(handle, length) {
    fs.ftruncateSync(handle, length);
  }

  sync(handle) {
    return new Promise((resolve, reject) => {
      fs.fdatasync(handle, (error) => (error ? reject(error) : resolve()));
    });
  }

  syncName(name) {
    syncDirectory(path.dirname(this.#path(name)));
  }

  close(handle) {
    if (this.#handles.delete(handle)) fs.closeSync(handle);
  }

  rename(from, to) {
    makeDirectory(path.dirname(this.#path(to)));
    fs.renameSync(this.#path(from), this.#path(to));
    syncDirectory(path.dirname(this.#path(to)));
    if (path.dirname(from) !== path.dirname(to)) syncDirectory(path.dirname(this.#path(from)));
  }

  remove(name) {
    fs.rmSync(this.#path(name));
  }

  room() {
    const { bavail, bsize } = fs.statfsSync(this.#directory);
    return bavail * bsize;
  }

  beside(directory) {
    return new NodeFiles(path.resolve(path.dirname(this.#directory), directory));
  }

  release() {
    for (const handle of this.#handles) {
      try {
        fs.closeSync(handle);
      } catch {
        // It is gone, which is all that is wanted.
      }
    }
    this.#handles.clear();
    const mine = this.#lock;
    this.#lock = undefined;
    const file = this.#path(LOCK);
    if (mine !== undefined && orMissing(() => fs.readFileSync(file, 'latin1')) === mine) {
      fs.rmSync(file, { force: true });
    }
  }
}
