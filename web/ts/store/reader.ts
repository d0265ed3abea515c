// What a store and a snapshot have in common: a backend to ask, a codec, handles.
import type { Backend, Handle } from '../engine/calls.js';
import type { Codec, Key, Text } from './codec.js';
import { keyBytes } from './codec.js';
import { checkKey } from './flat.js';

/** How keys are given back. */
export type KeyForm = 'string' | 'bytes';

export interface Context<V, K> {
  readonly backend: Backend;
  readonly codec: Codec<V>;
  readonly text: Text;
  keyOf(bytes: Uint8Array): K;
  newHandle(): Handle;
}

/** A key's bytes, checked. */
export const bytesOf = (context: Context<unknown, unknown>, key: Key): Uint8Array => {
  const bytes = keyBytes(key, context.text);
  checkKey(bytes);
  return bytes;
};
