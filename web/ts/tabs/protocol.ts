// How tabs and workers of one origin share a store. One of them owns it: who holds the Web Lock `owner`. The others are
// guests and ask the owner.
//
// On the channel that all hear, the owner says who it is: when it has opened the store, and when somebody asks. A guest
// then joins, and the two have a channel of their own, named by the guest. Each guest holds a Web Lock as long as it lives,
// so that the owner hears of its end; and each waits for the owner's lock, so that one of them is the next owner.
//
// What is said on a guest's channel bears the owner's name: what comes late from one that has ended is told apart.
//
// The owner says which writes it begins before it begins them. When it ends, its guests reject those as `unknown`, and ask
// the next owner for all others. Messages that were on their way when it ended are waited for first: SETTLE_MS.
import type { Replies, Requests } from '../remote/wire.js';
import type { EngineSettings } from '../store/options.js';

export type Member = string;

/** On the channel that all hear. */
export type Word =
  | { who: true }
  | { owner: Member }
  /** `syncs`: its writes are to be synced before they are answered. */
  | { join: Member; owner: Member; syncs: boolean };

/** On a guest's channel. */
export type ToOwner = Requests & { owner: Member };
export type ToGuest = (Replies | { welcome: true }) & { owner: Member };

/** How long messages of an owner that has ended may take. */
export const SETTLE_MS = 50;

export interface Names {
  common: string;
  owner: string;
  guest(member: Member): string;
}

/** The names of locks and channels of a store. */
export const namesOf = ({ storage, name }: EngineSettings): Names => {
  const base = `trilith ${storage} ${name}`;
  return { common: base, owner: `${base} owner`, guest: (member) => `${base} guest ${member}` };
};

export const newMember = (): Member => crypto.randomUUID?.() ?? `${Math.random()}${Math.random()}`;
