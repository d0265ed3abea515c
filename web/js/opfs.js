// Files of the origin's own file system, by sync access handles: the host of a store, see `FileHost` in the types. For
// dedicated workers; there is no such thing anywhere else.
//
// An access handle is the only one to its file, and a file that has one cannot be renamed or removed. So a name stands
// for a file NAME~N: what replaces a file gets the next N, and the old one is removed when it is closed. The blob lies in
// two slots that are written in turn, each with a count and a checksum; the greatest count that is sound is the blob.

const SLOTS = ['META~0', 'META~1'];
const LOCK = 'LOCK~0';
const HEADER_BYTES = 16;
const MAGIC = 0x31_4d_52_54;

const coded = (code, message) => Object.assign(new Error(message), { code });

/** Errors as the store knows them. */
const translated = (error, what) => {
  const codes = { QuotaExceededError: 'ENOSPC', NotFoundError: 'ENOENT', NoModificationAllowedError: 'ELOCKED' };
  const code = codes[error?.name];
  return code ? coded(code, `${what}: ${error.message}`) : error;
};

const guarded = (what, call) => {
  try {
    return call();
  } catch (error) {
    throw translated(error, what);
  }
};

/** CRC-32 of IEEE 802.3, bit by bit: for a few kilobytes now and then. */
const checksum = (bytes) => {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xed_b8_83_20 & -(crc & 1));
  }
  return ~crc >>> 0;
};

export class OpfsFiles {
  #name;
  #root;
  #lock;
  #slots = [];
  #count = 0;
  /** Name -> the number of its file. */
  #current = new Map();
  /** Access handles that are open, with the directory and the name of the file. */
  #open = new Map();
  #last = 0;
  #turn = Promise.resolve();
  #isReleased = false;

  /** The files in the directory `name` of the origin. */
  constructor(name) {
    this.#name = name;
  }

  async load() {
    this.#isReleased = false;
    try {
      let directory = await navigator.storage.getDirectory();
      for (const part of this.#name.split('/')) {
        directory = await directory.getDirectoryHandle(part, { create: true });
      }
      this.#root = directory;
    } catch (error) {
      throw translated(error, `opening ${this.#name}`);
    }
    try {
      this.#lock = await this.#access(this.#root, LOCK, true);
    } catch (error) {
      if (error.code === 'ELOCKED') {
        throw coded('ELOCKED', `${this.#name} is open in another tab or worker: close that one, or let it do the work`);
      }
      throw error;
    }
    try {
      const meta = await this.#loadMeta();
      const files = [];
      await this.#list(this.#root, '', files);
      return { meta, files };
    } catch (error) {
      this.release();
      throw translated(error, `loading ${this.#name}`);
    }
  }

  async #access(directory, name, create) {
    let handle;
    try {
      const file = await directory.getFileHandle(name, { create });
      handle = await file.createSyncAccessHandle();
    } catch (error) {
      throw translated(error, `opening ${name}`);
    }
    if (this.#isReleased) {
      // It would stand in the way of who opens the store next.
      handle.close();
      throw coded('ECLOSED', `opening ${name}: the store was let go of meanwhile`);
    }
    return handle;
  }

  async #loadMeta() {
    let meta;
    for (const name of SLOTS) {
      const slot = await this.#access(this.#root, name, true);
      this.#slots.push(slot);
      const bytes = new Uint8Array(slot.getSize());
      slot.read(bytes, { at: 0 });
      if (bytes.length < HEADER_BYTES) continue;
      const view = new DataView(bytes.buffer);
      const body = bytes.subarray(HEADER_BYTES, HEADER_BYTES + view.getUint32(8, true));
      const count = view.getUint32(4, true);
      const isSound =
        view.getUint32(0, true) === MAGIC &&
        body.length === view.getUint32(8, true) &&
        view.getUint32(12, true) === (checksum(body) ^ count) >>> 0;
      if (isSound && count > this.#count) {
        this.#count = count;
        meta = body.slice();
      }
    }
    return meta;
  }

  async #list(directory, prefix, files) {
    const found = new Map();
    for await (const [name, handle] of directory.entries()) {
      if (handle.kind === 'directory') {
        await this.#list(handle, `${prefix}${name}/`, files);
        continue;
      }
      const [, plain, number] = /^(.*)~(\d+)$/.exec(name) ?? [];
      if (plain === undefined || (prefix === '' && (SLOTS.includes(name) || name === LOCK))) continue;
      this.#last = Math.max(this.#last, Number(number));
      const before = found.get(plain);
      const [kept, old] = (before ?? -1) < Number(number) ? [Number(number), before] : [before, Number(number)];
      found.set(plain, kept);
      // What was replaced when the tab ended.
      if (old !== undefined) await directory.removeEntry(`${plain}~${old}`);
    }
    for (const [plain, number] of found) {
      const file = await (await directory.getFileHandle(`${plain}~${number}`)).getFile();
      this.#current.set(prefix + plain, number);
      files.push(prefix + plain, file.size);
    }
  }

  async #place(name, create) {
    const parts = name.split('/');
    const plain = parts.pop();
    let directory = this.#root;
    for (const part of parts) directory = await directory.getDirectoryHandle(part, { create });
    return { directory, plain };
  }

  commit(meta) {
    const slot = this.#slots[(this.#count + 1) % 2];
    const count = this.#count + 1;
    const bytes = new Uint8Array(HEADER_BYTES + meta.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, count, true);
    view.setUint32(8, meta.length, true);
    view.setUint32(12, (checksum(meta) ^ count) >>> 0, true);
    bytes.set(meta, HEADER_BYTES);
    guarded('writing META', () => {
      // Longer first: a handle that cannot grow has changed nothing.
      if (slot.write(bytes, { at: 0 }) !== bytes.length) throw coded('ENOSPC', 'there is no room');
      slot.truncate(bytes.length);
      slot.flush();
    });
    this.#count = count;
  }

  /** Changes take their turns: a file that is being opened cannot be removed. */
  #alone(change) {
    const done = this.#turn.then(change);
    this.#turn = done.catch(() => {});
    return done;
  }

  create(name) {
    return this.#alone(() => this.#create(name));
  }

  open(name) {
    return this.#alone(() => this.#openFile(name));
  }

  rename(from, to) {
    return this.#alone(() => this.#rename(from, to));
  }

  remove(name) {
    return this.#alone(() => this.#remove(name));
  }

  async #create(name) {
    const { directory, plain } = await this.#place(name, true);
    const before = this.#current.get(name);
    const number = ++this.#last;
    const handle = await this.#access(directory, `${plain}~${number}`, true);
    this.#current.set(name, number);
    this.#open.set(handle, { directory, file: `${plain}~${number}`, removed: false });
    if (before !== undefined) await this.#removeFile(directory, `${plain}~${before}`);
    return handle;
  }

  async #openFile(name) {
    const number = this.#current.get(name);
    if (number === undefined) throw coded('ENOENT', `there is no ${name}`);
    const { directory, plain } = await this.#place(name, false);
    const file = `${plain}~${number}`;
    const handle = await this.#access(directory, file, false);
    this.#open.set(handle, { directory, file, removed: false });
    return handle;
  }

  read(handle, offset, length) {
    const bytes = new Uint8Array(length);
    const read = guarded('reading', () => handle.read(bytes, { at: offset }));
    return read === length ? bytes : bytes.subarray(0, read);
  }

  write(handle, offset, bytes) {
    const written = guarded('writing', () => handle.write(bytes, { at: offset }));
    if (written !== bytes.length) throw coded('ENOSPC', 'there is no room');
  }

  truncate(handle, length) {
    guarded('cutting', () => handle.truncate(length));
  }

  sync(handle) {
    guarded('flushing', () => handle.flush());
  }

  syncName() {
    // A name is there when it was made.
  }

  close(handle) {
    const place = this.#open.get(handle);
    if (!place) return;
    this.#open.delete(handle);
    handle.close();
    // If it fails, the next to load finds it.
    if (place.removed) place.directory.removeEntry(place.file).catch(() => {});
  }

  async #rename(from, to) {
    const { directory, plain } = await this.#place(from, false);
    const number = this.#current.get(from);
    if (number === undefined) throw coded('ENOENT', `there is no ${from}`);
    const isOpen = [...this.#open].find(([, place]) => place.directory === directory && place.file === `${plain}~${number}`);
    if (isOpen) guarded('flushing', () => isOpen[0].flush());
    const source = await (await directory.getFileHandle(`${plain}~${number}`)).getFile();
    const bytes = new Uint8Array(await source.arrayBuffer());
    const handle = await this.#create(to);
    this.write(handle, 0, bytes);
    this.sync(handle);
    this.close(handle);
    await this.#remove(from);
  }

  async #remove(name) {
    const number = this.#current.get(name);
    if (number === undefined) throw coded('ENOENT', `there is no ${name}`);
    this.#current.delete(name);
    const { directory, plain } = await this.#place(name, false);
    await this.#removeFile(directory, `${plain}~${number}`);
  }

  async #removeFile(directory, file) {
    for (const place of this.#open.values()) {
      if (place.file === file && (await place.directory.isSameEntry(directory))) {
        place.removed = true;
        return;
      }
    }
    try {
      await directory.removeEntry(file);
    } catch (error) {
      throw translated(error, `removing ${file}`);
    }
  }

  async room() {
    const { quota, usage } = await navigator.storage.estimate();
    return quota - usage;
  }

  beside(directory) {
    return new OpfsFiles(directory);
  }

  release() {
    this.#isReleased = true;
    for (const handle of [...this.#open.keys(), ...this.#slots, this.#lock]) handle?.close();
    this.#open.clear();
    this.#slots = [];
    this.#lock = undefined;
  }
}
