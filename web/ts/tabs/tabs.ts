// A store that tabs and workers share, see protocol.ts: owned here, or asked for where it is owned. Which of the two may
// change at any time, as the owner ends.
import type { Answer, Args, Backend, Listener, MaybePromise, Method } from '../engine/calls.js';
import type { Engine } from '../engine/engine.js';
import { Session } from '../engine/session.js';
import { RemoteBackend } from '../remote/remote-backend.js';
import { TrilithError } from '../store/errors.js';
import type { EngineSettings } from '../store/options.js';
import { Desk } from './desk.js';
import { namesOf, newMember, SETTLE_MS, type Member, type Names, type ToGuest, type ToOwner, type Word } from './protocol.js';

/** Whether this realm has what sharing takes. */
export const canShare = (): boolean =>
  typeof BroadcastChannel === 'function' && typeof navigator !== 'undefined' && 'locks' in navigator;

type Role =
  /** Nobody is known to own the store. Calls wait. */
  | { is: 'seeking' }
  | { is: 'guest'; owner: Member; isWelcome: boolean }
  | { is: 'owner'; engine: Engine; session: Session; desk: Desk }
  /** The store could not be opened here when its owner had ended. The next call tries again. */
  | { is: 'failed'; error: TrilithError }
  | { is: 'closed' };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class TabsBackend implements Backend {
  readonly #settings: EngineSettings;
  readonly #openEngine: () => Promise<Engine>;
  readonly #listener: Listener;
  readonly #names: Names;
  readonly #me = newMember();
  readonly #common: BroadcastChannel;
  readonly #channel: BroadcastChannel;
  readonly #remote: RemoteBackend;
  readonly #leaving = new AbortController();
  #role: Role = { is: 'seeking' };
  #isWatching = false;
  /** Told when the store can be called, or cannot be opened. */
  #onSettled: ((error?: TrilithError) => void)[] = [];
  #letGo: (() => void) | undefined;
  #ownership: Promise<void> | undefined;

  private constructor(settings: EngineSettings, openEngine: () => Promise<Engine>, listener: Listener) {
    this.#settings = settings;
    this.#openEngine = openEngine;
    this.#listener = listener;
    this.#names = namesOf(settings);
    this.#common = new BroadcastChannel(this.#names.common);
    this.#channel = new BroadcastChannel(this.#names.guest(this.#me));
    this.#common.onmessage = ({ data }: MessageEvent<Word>) => { this.#hear(data); };
    this.#channel.onmessage = ({ data }: MessageEvent<ToGuest>) => { this.#hearOwner(data); };
    const send = (message: Pick<ToOwner, 'requests'>): void => {
      // While nobody answers requests stay with the backend, and are sent to who comes next.
      if (this.#role.is !== 'guest' || !this.#role.isWelcome) return;
      const tagged: ToOwner = { ...message, owner: this.#role.owner };
      this.#channel.postMessage(tagged);
    };
    this.#remote = new RemoteBackend({ send, transfers: false, close: () => Promise.resolve() }, listener);
  }

  /**
   * The store, opened here or found with its owner.
   *
   * @throws {TrilithError} what opening fails with; `locked` if its owner does not answer
   */
  static async open(settings: EngineSettings, engine: () => Promise<Engine>, listener: Listener): Promise<TabsBackend> {
    const backend = new TabsBackend(settings, engine, listener);
    await backend.#live();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settled = new Promise<void>((resolve, reject) => {
      backend.#onSettled.push((error) => {
        if (error) reject(error);
        else resolve();
      });
      const blocked = new TrilithError('locked', 'the tab that owns the store does not answer', { reason: 'blocked' });
      timer = setTimeout(() => { reject(blocked); }, settings.openTimeoutMs);
    });
    backend.#seek();
    try {
      await settled;
    } catch (error) {
      await backend.#end();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return backend;
  }

  /** Holds this member's lock: its end is the member's. */
  #live(): Promise<void> {
    return new Promise((resolve) => {
      const held = new Promise<void>((letGo) => {
        this.#leaving.signal.addEventListener('abort', () => { letGo(); }, { once: true });
      });
      void navigator.locks.request(this.#names.guest(this.#me), () => {
        resolve();
        return held;
      });
    });
  }

  /** Asks who owns the store, and waits to own it. */
  #seek(): void {
    this.#role = { is: 'seeking' };
    const { signal } = this.#leaving;
    this.#ownership = navigator.locks
      .request(this.#names.owner, { signal }, () => this.#own())
      .then(() => {}, () => {});
    this.#say({ who: true });
  }

  #say(word: Word): void {
    this.#common.postMessage(word);
  }

  #settle(error?: TrilithError): void {
    for (const onSettled of this.#onSettled.splice(0)) onSettled(error);
  }

  /** The owner's lock is ours: opens the store, and holds the lock until the store is closed here. */
  async #own(): Promise<void> {
    if (this.#role.is === 'guest') await sleep(SETTLE_MS);
    if (this.#role.is === 'closed') return;
    const wasGuest = this.#role.is === 'guest';
    let engine: Engine;
    try {
      engine = await this.#openEngine();
    } catch (error) {
      this.#fail(TrilithError.from(error));
      return;
    }
    const { is } = this.#role as Role;
    if (is === 'closed') {
      await engine.close();
      return;
    }
    const held = new Promise<void>((letGo) => (this.#letGo = letGo));
    const session = new Session(engine, { syncs: false, listener: this.#listener });
    const desk = new Desk(engine, this.#names, this.#me, this.#common, this.#settings.durability === 'always');
    this.#role = { is: 'owner', engine, session, desk };
    if (this.#isWatching) void session.call('watch', true);
    if (wasGuest) this.#listener.missed();
    for (const { request: [, method, args], resolve, reject } of this.#remote.abandon()) {
      try {
        resolve((session.call as (...all: unknown[]) => unknown).call(session, method, ...args));
      } catch (error) {
        reject(error);
      }
    }
    this.#settle();
    await held;
  }

  #fail(error: TrilithError): void {
    if (this.#role.is === 'closed') return;
    this.#role = { is: 'failed', error };
    this.#remote.fail(error);
    this.#settle(error);
  }

  #hear(word: Word): void {
    if (this.#role.is === 'owner') this.#role.desk.hear(word);
    else if ('owner' in word && !('join' in word)) void this.#join(word.owner);
  }

  async #join(owner: Member): Promise<void> {
    if (this.#role.is === 'guest') {
      if (this.#role.owner === owner) return;
      await sleep(SETTLE_MS);
    }
    if (this.#role.is !== 'guest' && this.#role.is !== 'seeking') return;
    this.#role = { is: 'guest', owner, isWelcome: false };
    this.#say({ join: this.#me, owner, syncs: this.#settings.durability === 'always' });
  }

  #hearOwner(message: ToGuest): void {
    if (this.#role.is !== 'guest' || message.owner !== this.#role.owner) return;
    if (!('welcome' in message)) {
      this.#remote.receive(message);
      return;
    }
    this.#role.isWelcome = true;
    // What an owner before this one was asked; at first there is nothing.
    const again = this.#remote.abandon();
    if (this.#isWatching) {
      void this.#remote.call('watch', true).catch(() => {});
      this.#listener.missed();
    }
    this.#remote.adopt(again);
    this.#settle();
  }

  call<M extends Method>(method: M, ...args: Args<M>): MaybePromise<Answer<M>> {
    if (method === 'watch') this.#isWatching = args[0] as boolean;
    const role = this.#role;
    if (role.is === 'owner') return role.session.call(method, ...args);
    if (role.is === 'closed') throw new TrilithError('closed', 'the store was closed');
    if (role.is === 'failed') this.#seek();
    return this.#remote.call(method, ...args);
  }

  async close(): Promise<void> {
    const role = this.#role;
    if (role.is === 'owner') {
      this.#role = { is: 'closed' };
      try {
        await role.desk.close();
        role.session.leave();
        await role.engine.close();
      } finally {
        await this.#end();
      }
      return;
    }
    while (!this.#remote.isIdle) await this.#remote.idle();
    // It may have become the owner meanwhile.
    if ((this.#role as Role).is === 'owner') await this.close();
    else await this.#end();
  }

  async #end(): Promise<void> {
    this.#role = { is: 'closed' };
    this.#remote.fail(new TrilithError('closed', 'the store was closed'));
    this.#leaving.abort();
    this.#letGo?.();
    this.#common.close();
    this.#channel.close();
    await this.#ownership;
  }
}
