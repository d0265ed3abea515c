// Answers the requests of one caller: a page, or another tab. Answers of one turn of the event loop go together.
import { WRITES, type Backend, type Listener, type MaybePromise } from '../engine/calls.js';
import { TrilithError } from '../store/errors.js';
import { buffersOf, type Replies, type Reply, type Request } from './wire.js';

export class Server implements Listener {
  readonly #send: (message: Replies, transfer: ArrayBuffer[]) => void;
  readonly #tellsAccepted: boolean;
  #out: { replies: Reply[]; changes: Uint8Array[]; missed: boolean } = { replies: [], changes: [], missed: false };
  #isScheduled = false;
  #underWay = 0;
  #idle: (() => void)[] = [];
  #isEnded = false;

  /** `tellsAccepted`: says which writes are begun before they are, for callers that outlive who answers. */
  constructor(send: (message: Replies, transfer: ArrayBuffer[]) => void, tellsAccepted: boolean) {
    this.#send = send;
    this.#tellsAccepted = tellsAccepted;
  }

  /** Does what is asked for. */
  receive(requests: readonly Request[], backend: Backend): void {
    if (this.#isEnded) return;
    if (this.#tellsAccepted) {
      const accepted = requests.filter(([, method]) => WRITES.has(method)).map(([id]) => id);
      if (accepted.length > 0) this.#send({ accepted }, []);
    }
    for (const request of requests) this.#answer(request, backend);
  }

  #answer([id, method, args]: Request, backend: Backend): void {
    let answer: MaybePromise<unknown>;
    try {
      answer = (backend.call as (...all: unknown[]) => MaybePromise<unknown>).call(backend, method, ...args);
    } catch (error) {
      this.#reply([id, true, TrilithError.from(error).plain()]);
      return;
    }
    if (!(answer instanceof Promise)) {
      this.#reply([id, false, answer]);
      return;
    }
    this.#underWay += 1;
    answer
      .then(
        (value: unknown) => {
          this.#reply([id, false, value]);
        },
        (error: unknown) => {
          this.#reply([id, true, TrilithError.from(error).plain()]);
        },
      )
      .finally(() => {
        this.#underWay -= 1;
        if (this.#underWay === 0) for (const idle of this.#idle.splice(0)) idle();
      });
  }

  changes(operations: readonly Uint8Array[]): void {
    this.#out.changes.push(...operations);
    this.#schedule();
  }

  missed(): void {
    this.#out.missed = true;
    this.#schedule();
  }

  #reply(reply: Reply): void {
    this.#out.replies.push(reply);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#isScheduled) return;
    this.#isScheduled = false;
    const { replies, changes, missed } = this.#out;
    this.#out = { replies: [], changes: [], missed: false };
    const message: Replies = { replies };
    if (changes.length > 0) message.changes = changes;
    if (missed) message.missed = true;
    // Changes are told to every listener: they stay where they are.
    this.#send(message, buffersOf(replies.map(([, , value]) => value)));
  }

  /** Takes no more requests, and waits until those that were taken are answered. */
  async end(): Promise<void> {
    this.#isEnded = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#flush();
  }
}
