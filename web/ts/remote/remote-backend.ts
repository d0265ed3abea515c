// A store that is reached by messages.
import { HELD, WRITES, type Answer, type Args, type Backend, type Listener, type Method } from '../engine/calls.js';
import { TrilithError } from '../store/errors.js';
import { buffersOf, type Replies, type Request, type RequestId, type Requests } from './wire.js';

export interface Sender {
  send(message: Requests, transfer: ArrayBuffer[]): void;
  /** Called when the store is closed. What was asked before is answered first. */
  close(): Promise<void>;
  /** Whether bytes that are nobody else's go over without a copy. What was sent so cannot be sent again. */
  transfers: boolean;
}

/** A request without an answer. */
export interface Outstanding {
  request: Request;
  isAccepted: boolean;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export class RemoteBackend implements Backend {
  #sender: Sender;
  readonly #listener: Listener;
  readonly #outstanding = new Map<RequestId, Outstanding>();
  #last: RequestId = 0;
  #outbox: Request[] = [];
  #isScheduled = false;
  #idle: (() => void)[] = [];

  constructor(sender: Sender, listener: Listener) {
    this.#sender = sender;
    this.#listener = listener;
  }

  call<M extends Method>(method: M, ...args: Args<M>): Promise<Answer<M>> {
    return new Promise<Answer<M>>((resolve, reject) => {
      const request: Request = [(this.#last += 1), method, args];
      this.#add({ request, isAccepted: false, resolve: resolve as (value: unknown) => void, reject });
    });
  }

  #add(outstanding: Outstanding): void {
    this.#outstanding.set(outstanding.request[0], outstanding);
    this.#outbox.push(outstanding.request);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const requests = this.#outbox;
    if (requests.length === 0) return;
    this.#outbox = [];
    const { transfers } = this.#sender;
    // Operations are made for the call; other bytes may be the caller's own.
    const own = transfers ? requests.flatMap(([, method, args]) => (method === 'write' ? args : [])) : [];
    try {
      this.#sender.send({ requests }, buffersOf(own));
    } catch (error) {
      for (const [id] of requests) this.#take(id)?.reject(TrilithError.from(error));
    }
  }

  #take(id: RequestId): Outstanding | undefined {
    const outstanding = this.#outstanding.get(id);
    this.#outstanding.delete(id);
    if (this.#outstanding.size === 0) for (const idle of this.#idle.splice(0)) idle();
    return outstanding;
  }

  get isIdle(): boolean {
    return this.#outstanding.size === 0;
  }

  /** Fulfilled when everything has its answer, or is taken away by `abandon`. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isIdle) resolve();
      else this.#idle.push(resolve);
    });
  }

  /** Takes what has come. */
  receive({ accepted, replies, changes, missed }: Replies): void {
    for (const id of accepted ?? []) {
      const outstanding = this.#outstanding.get(id);
      if (outstanding) outstanding.isAccepted = true;
    }
    // Who made a change has it from the change before it has the answer.
    if (changes) this.#listener.changes(changes);
    if (missed) this.#listener.missed();
    for (const [id, failed, value] of replies ?? []) {
      const outstanding = this.#take(id);
      if (failed) outstanding?.reject(TrilithError.from(value));
      else outstanding?.resolve(value);
    }
  }

  /**
   * Who was asked is gone. Gives what can be asked of another; the rest is rejected: writes that were begun, and what was
   * held there.
   */
  abandon(): Outstanding[] {
    this.#outbox = [];
    const rest = [...this.#outstanding.values()];
    this.#outstanding.clear();
    for (const idle of this.#idle.splice(0)) idle();
    return rest.filter(({ request: [, method], isAccepted, reject }) => {
      if (WRITES.has(method) && isAccepted) {
        reject(new TrilithError('unknown', 'the tab that owned the store ended in the middle of the write'));
        return false;
      }
      if (HELD.has(method)) {
        reject(new TrilithError('lost', 'what was held is gone', { reason: 'owner' }));
        return false;
      }
      return true;
    });
  }

  /** Asks again what another was asked. */
  adopt(outstanding: readonly Outstanding[]): void {
    for (const { request, resolve, reject } of outstanding) {
      this.#add({ request: [(this.#last += 1), request[1], request[2]], isAccepted: false, resolve, reject });
    }
  }

  /** Rejects whatever has no answer. */
  fail(error: TrilithError): void {
    for (const { reject } of this.#outstanding.values()) reject(error);
    this.#outstanding.clear();
    this.#outbox = [];
    for (const idle of this.#idle.splice(0)) idle();
  }

  async close(): Promise<void> {
    this.#flush();
    await this.#sender.close();
    this.fail(new TrilithError('closed', 'the store was closed'));
  }
}
