// Lets a ring's time pass: on demand while somebody awaits an answer, or with the clock on the wall.

/** What the clock moves on. */
export interface Clocked {
  advance(ms: number): void;
  /** To the next thing that happens. */
  advanceToEvent(): void;
  /** Hands out the answers that there are, and tells whether any is still awaited. */
  handOut(): { handed: number; awaited: number };
}

/** No tick takes more, however long the page was asleep. */
const TICK_MS_MAX = 100;
const TICK_MS = 16;
/** How long virtual time is moved on before the event loop has a turn, in milliseconds on the wall. */
const SLICE_MS = 8;

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

export class Clock {
  readonly #ring: Clocked;
  readonly #onAdvance: () => void;
  readonly #onFailure: (error: unknown) => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isDriving = false;
  #isStopped = false;

  constructor(ring: Clocked, onAdvance: () => void, onFailure: (error: unknown) => void) {
    this.#ring = ring;
    this.#onAdvance = onAdvance;
    this.#onFailure = onFailure;
  }

  get isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** Time passes with the clock on the wall, `speed` times as fast. */
  start(speed: number): void {
    this.pause();
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      const passed = Math.min(now - last, TICK_MS_MAX);
      last = now;
      try {
        this.#ring.advance(passed * speed);
        this.#ring.handOut();
      } catch (error) {
        this.stop();
        this.#onFailure(error);
        return;
      }
      this.#onAdvance();
    }, TICK_MS);
  }

  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  stop(): void {
    this.pause();
    this.#isStopped = true;
  }

  /** Somebody awaits an answer: where time does not pass by itself it does until the answer is there. */
  await(): void {
    if (this.isRunning || this.#isDriving || this.#isStopped) return;
    this.#isDriving = true;
    this.#drive().catch((error: unknown) => {
      this.#isDriving = false;
      this.#onFailure(error);
    });
  }

  async #drive(): Promise<void> {
    // What else is asked within this turn is asked at the same moment.
    await turn();
    let begun = performance.now();
    for (;;) {
      const { handed, awaited } = this.#ring.handOut();
      if (this.isRunning || this.#isStopped || (awaited === 0 && handed === 0)) {
        // At once: whoever asks next finds that nobody drives.
        this.#isDriving = false;
        return;
      }
      // Who has an answer may ask again before time goes on: runs are the same however fast the machine is.
      if (handed > 0 || performance.now() - begun > SLICE_MS) {
        await turn();
        this.#onAdvance();
        begun = performance.now();
      }
      if (this.#ring.handOut().awaited > 0) this.#ring.advanceToEvent();
    }
  }
}
