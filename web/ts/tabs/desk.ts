// The owner's side: answers its guests, until they end or it does.
import type { Engine } from '../engine/engine.js';
import { Session } from '../engine/session.js';
import { Server } from '../remote/serve.js';
import type { Replies } from '../remote/wire.js';
import type { Member, Names, ToGuest, ToOwner, Word } from './protocol.js';

interface Guest {
  channel: BroadcastChannel;
  server: Server;
  session: Session;
  /** Ends the wait for its end. */
  watch: AbortController;
}

export class Desk {
  readonly #engine: Engine;
  readonly #names: Names;
  readonly #me: Member;
  readonly #common: BroadcastChannel;
  readonly #ownerSyncs: boolean;
  readonly #guests = new Map<Member, Guest>();

  /** `ownerSyncs`: the store syncs each write by itself. */
  constructor(engine: Engine, names: Names, me: Member, common: BroadcastChannel, ownerSyncs: boolean) {
    this.#engine = engine;
    this.#names = names;
    this.#me = me;
    this.#common = common;
    this.#ownerSyncs = ownerSyncs;
    this.#announce();
  }

  #announce(): void {
    const word: Word = { owner: this.#me };
    this.#common.postMessage(word);
  }

  /** Hears what is said to all. */
  hear(word: Word): void {
    if ('who' in word) this.#announce();
    else if ('join' in word && word.owner === this.#me) this.#welcome(word.join, word.syncs);
  }

  #welcome(member: Member, syncs: boolean): void {
    this.#leave(member);
    const channel = new BroadcastChannel(this.#names.guest(member));
    const say = (message: Replies | { welcome: true }): void => {
      const tagged: ToGuest = { ...message, owner: this.#me };
      channel.postMessage(tagged);
    };
    const server = new Server(say, true);
    const session = new Session(this.#engine, { syncs: syncs && !this.#ownerSyncs, listener: server });
    const watch = new AbortController();
    this.#guests.set(member, { channel, server, session, watch });
    channel.onmessage = ({ data }: MessageEvent<ToOwner>) => {
      if (data.owner === this.#me) server.receive(data.requests, session);
    };
    // Ours when it has ended.
    navigator.locks
      .request(this.#names.guest(member), { signal: watch.signal }, () => {
        this.#leave(member);
      })
      .catch(() => {});
    say({ welcome: true });
  }

  #leave(member: Member): void {
    const guest = this.#guests.get(member);
    if (!guest) return;
    this.#guests.delete(member);
    guest.watch.abort();
    guest.channel.close();
    guest.session.leave();
  }

  /** Takes nothing more, and answers what was taken. */
  async close(): Promise<void> {
    await Promise.all([...this.#guests.values()].map(({ server }) => server.end()));
    for (const member of [...this.#guests.keys()]) this.#leave(member);
  }
}
