// The flat arrays of the module's interface (web/INTERFACE.md), as the tests need them.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const bytes = (text) => (typeof text === 'string' ? encoder.encode(text) : text);
export const text = (found) => (found === undefined ? undefined : decoder.decode(found));

class Flat {
  #parts = [];
  u8(number) {
    this.#parts.push(Uint8Array.of(number));
    return this;
  }
  u32(number) {
    const part = new Uint8Array(4);
    new DataView(part.buffer).setUint32(0, number, true);
    this.#parts.push(part);
    return this;
  }
  f64(number) {
    const part = new Uint8Array(8);
    new DataView(part.buffer).setFloat64(0, number, true);
    this.#parts.push(part);
    return this;
  }
  raw(part) {
    this.#parts.push(part);
    return this;
  }
  done() {
    const all = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** Operations: ['put', key, value, ttlMs?], ['delete', key], ['deleteRange', start, end?]. */
export const operations = (list) => {
  const flat = new Flat();
  for (const [kind, first, second, ttlMs] of list) {
    const a = bytes(first);
    const b = bytes(second);
    if (kind === 'put') {
      if (ttlMs === undefined) flat.u8(1);
      else flat.u8(2).f64(ttlMs);
      flat.u32(a.length).u32(b.length).raw(a).raw(b);
    } else if (kind === 'delete') {
      flat.u8(3).u32(a.length).raw(a);
    } else {
      flat.u8(4).u32(a.length).u32(b === undefined ? 0xffffffff : b.length).raw(a);
      if (b !== undefined) flat.raw(b);
    }
  }
  return flat.done();
};

export const keys = (list) => {
  const flat = new Flat();
  for (const key of list) flat.u32(bytes(key).length).raw(bytes(key));
  return flat.done();
};

export const values = (flat) => {
  const view = new DataView(flat.buffer, flat.byteOffset, flat.length);
  const found = [];
  for (let at = 0; at < flat.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    if (length === 0xffffffff) {
      found.push(undefined);
    } else {
      found.push(text(flat.subarray(at, at + length)));
      at += length;
    }
  }
  return found;
};

export const pairs = (flat) => {
  const view = new DataView(flat.buffer, flat.byteOffset, flat.length);
  const found = [];
  for (let at = 0; at < flat.length; ) {
    const key = view.getUint32(at, true);
    const value = view.getUint32(at + 4, true);
    at += 8;
    found.push([text(flat.subarray(at, at + key)), text(flat.subarray(at + key, at + key + value))]);
    at += key + value;
  }
  return found;
};

/** Everything that a cursor walks over. */
export const all = async (cursor, limit = 100) => {
  const found = [];
  for (;;) {
    const page = await cursor.next(limit, 1 << 20);
    if (page.length === 0) break;
    found.push(...pairs(page));
  }
  cursor.free();
  return found;
};
