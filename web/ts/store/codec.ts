// Values and keys as bytes.
import { TrilithError } from './errors.js';

/** How values become bytes and come back. */
export interface Codec<V> {
  encode(value: V): Uint8Array;
  /** The bytes may be kept: they are nobody else's. */
  decode(bytes: Uint8Array): V;
}

/** The codecs that have names. */
export type CodecName = 'json' | 'string' | 'bytes';

/** A key. Strings are their UTF-8. */
export type Key = string | Uint8Array;

/** Bytes both ways, strings as UTF-8. Stateless, so one of each is enough for a store. */
export class Text {
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  encode(text: string): Uint8Array {
    return this.#encoder.encode(text);
  }

  decode(bytes: Uint8Array, what: string): string {
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw new TrilithError('invalid', `${what} is not UTF-8; open the store with "bytes" to read it`, { cause });
    }
  }
}

/** A key's bytes: the caller's own, which are copied before anything waits. */
export const keyBytes = (key: Key, text: Text): Uint8Array => {
  if (typeof key === 'string') return text.encode(key);
  if (key instanceof Uint8Array) return key;
  throw new TrilithError('invalid', `a key of type ${typeof key}; it is a string or a Uint8Array`);
};

const stringOf = (value: unknown): string => {
  if (typeof value === 'string') return value;
  throw new TrilithError('invalid', `a value of type ${typeof value} in a store of strings`);
};

const jsonOf = (value: unknown): string => {
  const json = JSON.stringify(value) as string | undefined;
  if (json !== undefined) return json;
  throw new TrilithError('invalid', `a value of type ${typeof value} has no JSON; delete the key instead`);
};

/** The codec of this name, or the one that is given. */
export const codecOf = <V>(codec: CodecName | Codec<V>, text: Text): Codec<V> => {
  const named: Record<CodecName, Codec<unknown>> = {
    json: {
      encode: (value) => text.encode(jsonOf(value)),
      decode: (bytes) => JSON.parse(text.decode(bytes, 'the value')) as unknown,
    },
    string: {
      encode: (value) => text.encode(stringOf(value)),
      decode: (bytes) => text.decode(bytes, 'the value'),
    },
    bytes: {
      encode: (value) => {
        if (value instanceof Uint8Array) return value;
        throw new TrilithError('invalid', `a value of type ${typeof value} in a store of bytes`);
      },
      decode: (bytes) => bytes,
    },
  };
  if (typeof codec !== 'string') return codec;
  const found = named[codec] as Codec<V> | undefined;
  if (found) return found;
  throw new TrilithError('invalid', `codec ${JSON.stringify(codec)}; it is "json", "string", "bytes" or { encode, decode }`);
};
