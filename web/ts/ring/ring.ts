// A whole cluster inside one page: real nodes, each with its own store, over a simulated network. It is the code of the
// native node and of its simulator; this gives it promises, types and a clock.
import type { Ring as Inner } from '../wasm-ring/trilith.js';
import { TrilithError } from '../store/errors.js';
import { Clock } from './clock.js';
import type { NodeView } from './node-view.js';
import type { AskOptions, Load, Packet, Reply, RingEvent, RingSetup, Setting, Verdict } from './options.js';

/** What a node answered a request with. */
export class RingError extends Error {
  override readonly name = 'RingError';
  /** `unknown` for a write that may or may not take effect; behind any other nothing was written. */
  readonly code: string;

  constructor(reply: string) {
    const code = reply.split(' ', 1)[0]!.toLowerCase();
    const cure = {
      unknown: 'the write may or may not take effect: read it back',
      refused: 'nothing was written: ask another node, or start this one',
    }[code];
    super(cure === undefined ? reply : `${reply}: ${cure}`);
    this.code = code;
  }
}

interface InnerAnswer {
  id: number;
  error?: string;
  value?: Reply;
}

interface Asked {
  resolve(reply: Reply): void;
  reject(error: unknown): void;
}

/** The names of kinds of events, of messages, and how long a row is: the same for all rings of a module. */
export interface Names {
  events: ReadonlyMap<number, string>;
  columns: number;
}

const textOf = (reply: Reply): string => {
  if (typeof reply === 'string') return reply;
  return reply instanceof Uint8Array ? new TextDecoder().decode(reply) : String(reply);
};

export class Ring implements Disposable {
  readonly #inner: Inner;
  readonly #names: Names;
  readonly #clock: Clock;
  readonly #asked = new Map<number, Asked>();
  #ended: TrilithError | undefined;

  /** @internal */
  constructor(inner: Inner, names: Names, setup: RingSetup) {
    this.#inner = inner;
    this.#names = names;
    const clocked = {
      advance: (ms: number): void => { this.#do(() => { inner.advance(ms); }); },
      advanceToEvent: (): void => { this.#do(() => { inner.advanceToEvent(); }); },
      handOut: () => this.#handOut(),
    };
    this.#clock = new Clock(clocked, setup.onAdvance ?? (() => {}), (error) => { this.#end(TrilithError.from(error)); });
    if (setup.time === 'wall') this.#clock.start(setup.speed ?? 1);
  }

  /** Calls into the instance. Its errors have codes in capitals. */
  #do<T>(call: () => T): T {
    if (this.#ended) throw this.#ended;
    try {
      return call();
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      if (code !== 'INVALID' && code !== 'FAILED') throw TrilithError.from(error);
      throw new TrilithError(code === 'INVALID' ? 'invalid' : 'failed', message ?? '', { cause: error });
    }
  }

  /** @internal The instance has ended, or the ring was closed. */
  #end(error: TrilithError): void {
    this.#ended ??= error;
    this.#clock.stop();
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  /** @internal */
  poison(message: string): void {
    this.#end(new TrilithError('lost', `the ring's instance has panicked (${message}); open another ring`));
  }

  #handOut(): { handed: number; awaited: number } {
    const answers = this.#do(() => this.#inner.answers()) as InnerAnswer[];
    let handed = 0;
    for (const { id, error, value } of answers) {
      const asked = this.#asked.get(id);
      if (!asked) continue;
      this.#asked.delete(id);
      handed += 1;
      if (error === undefined) asked.resolve(value ?? null);
      else asked.reject(new RingError(error));
    }
    return { handed, awaited: this.#asked.size };
  }

  #await(id: number): Promise<Reply> {
    const answer = new Promise<Reply>((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.#clock.await();
    return answer;
  }

  // Asking

  /** A client asks a node: `["SET", "key", "value"]`. Rejects with a RingError. */
  async ask(words: readonly (string | Uint8Array)[], { node = 1, ...how }: AskOptions = {}): Promise<Reply> {
    const given = Object.fromEntries(Object.entries(how).filter(([, value]) => value !== undefined));
    return this.#await(this.#do(() => this.#inner.ask(node, [...words], given)));
  }

  /** The same, to be told which way it takes. */
  async explain(words: readonly (string | Uint8Array)[], { node = 1 }: Pick<AskOptions, 'node'> = {}): Promise<Reply> {
    return this.#await(this.#do(() => this.#inner.explain(node, [...words])));
  }

  async put(key: string, value: string | Uint8Array, options?: AskOptions): Promise<void> {
    await this.ask(['SET', key, value], options);
  }

  /** The value as text; `undefined` if the key is not there. */
  async get(key: string, options?: AskOptions): Promise<string | undefined> {
    const reply = await this.ask(['GET', key], options);
    return reply === null ? undefined : textOf(reply);
  }

  /** Whether the key was there. */
  async delete(key: string, options?: AskOptions): Promise<boolean> {
    return (await this.ask(['DEL', key], options)) === 1;
  }

  // Time

  /** Virtual milliseconds since it was opened. */
  get nowMs(): number {
    return this.#do(() => this.#inner.nowMs);
  }

  advance(ms: number): void {
    this.#do(() => { this.#inner.advance(ms); });
    this.#handOut();
  }

  /** To the next moment at which anything happens. */
  step(): void {
    this.#do(() => { this.#inner.step(); });
    this.#handOut();
  }

  /** Until there is a new row in the trace; 10 s at most. */
  advanceToEvent(): void {
    this.#do(() => { this.#inner.advanceToEvent(); });
    this.#handOut();
  }

  /** Time passes with the clock on the wall from here on, `speed` times as fast. */
  start(speed = 1): void {
    if (!(speed > 0 && Number.isFinite(speed))) throw new TrilithError('invalid', `a speed of ${speed}`);
    this.#do(() => { this.#clock.start(speed); });
  }

  /** Time stands still, but for who awaits an answer. */
  stop(): void {
    this.#clock.pause();
    if (this.#asked.size > 0) this.#clock.await();
  }

  // Doing

  kill(node: number, { power = false } = {}): void {
    this.#do(() => { this.#inner.kill(node, power); });
  }

  restart(node: number): void {
    this.#do(() => { this.#inner.restart(node); });
  }

  pause(node: number): void {
    this.#do(() => { this.#inner.pause(node); });
  }

  resume(node: number): void {
    this.#do(() => { this.#inner.resume(node); });
  }

  /** The disk is lost, and a new node comes up on the machine. */
  wipe(node: number): void {
    this.#do(() => { this.#inner.wipe(node); });
  }

  partition(groups: readonly (readonly number[])[]): void {
    this.#do(() => { this.#inner.partition(groups); });
  }

  heal(): void {
    this.#do(() => { this.#inner.heal(); });
  }

  /** Packets take up to so much longer: of one node, or of all. */
  delay(ms: number, node?: number): void {
    this.#do(() => { this.#inner.delay(ms, node); });
  }

  /** Share of packets that are lost, 0 to 1. */
  drop(share: number, node?: number): void {
    this.#do(() => { this.#inner.drop(share, node); });
  }

  skew(node: number, ms: number): void {
    this.#do(() => { this.#inner.skew(node, ms); });
  }

  addNode(): void {
    this.#do(() => { this.#inner.addNode(); });
  }

  drainNode(node: number): void {
    this.#do(() => { this.#inner.drainNode(node); });
  }

  setQuorum(n: number, w: number, r: number): void {
    this.#do(() => { this.#inner.setQuorum(n, w, r); });
  }

  /** Clients ask by themselves. */
  load(load: Load): void {
    this.#do(() => { this.#inner.load(load); });
  }

  /** Any of these in a script's words: `"kill 2"`. The request's id, if it is one. */
  act(action: string): number | undefined {
    return this.#do(() => this.#inner.act(action));
  }

  /** What an action may cost beyond what N, W and R promise, in a sentence. */
  price(action: string): string | undefined {
    return this.#do(() => this.#inner.price(action));
  }

  // Seeing

  /** The trace since the last call, as rows of numbers. */
  rows(): Float64Array {
    return this.#do(() => this.#inner.events());
  }

  /** The trace since the last call of this or of `rows`. */
  events(): RingEvent[] {
    const rows = this.rows();
    const events: RingEvent[] = [];
    for (let at = 0; at < rows.length; at += this.#names.columns) {
      const [atMs, kind, node, other, range, term, index, id, detail, more] = rows.subarray(at) as unknown as [
        number, number, number, number, number, number, number, number, number, number,
      ];
      const name = this.#names.events.get(kind) ?? String(kind);
      events.push({ atMs, kind: name, node, other, range, term, index, id, detail, more });
    }
    return events;
  }

  /** Rows that were dropped before those of the last call. */
  get eventsDropped(): number {
    return this.#do(() => this.#inner.eventsDropped);
  }

  /** A picture of the moment, as one array: see the module's documentation. */
  frame(withHeartbeats = false): Float64Array {
    return this.#do(() => this.#inner.frame(withHeartbeats));
  }

  packet(id: number): Packet | undefined {
    return this.#do(() => this.#inner.packet(id) as Packet | undefined);
  }

  inspect(node: number): NodeView {
    return this.#do(() => this.#inner.inspect(node) as NodeView);
  }

  setting(): Setting {
    return this.#do(() => this.#inner.setting() as Setting);
  }

  /** What the checkers say of everything so far. */
  check(): Verdict {
    return this.#do(() => this.#inner.check() as Verdict);
  }

  /** What does everything again, by `replayRing`. */
  script(): string {
    return this.#do(() => this.#inner.script());
  }

  /** Equal for equal runs, here and natively. */
  traceHash(): string {
    return this.#do(() => this.#inner.traceHash());
  }

  /** Ends the ring. What is awaited rejects. */
  close(): void {
    if (this.#ended) return;
    this.#end(new TrilithError('closed', 'the ring was closed'));
    this.#inner.free();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
