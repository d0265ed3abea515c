// What the scripts of Node's clients have in common: orders in, answers out, and workers that write and read back.

import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const WORKERS = 4;
const ERROR_PAUSE_MS = 20;
const WRITE_PAUSE_MS = 10;

/** A value that no other key has. */
export const valueOf = (key) => `value of ${key}`;

/** The nodes' addresses that the script was started with. */
export const addresses = process.argv[2].split(',').map((address) => {
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
});

export function expect(seen, wanted) {
  const [left, right] = [JSON.stringify(seen), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${left?.slice(0, 200)} instead of ${right.slice(0, 200)}`);
}

const describe = (error) => `${error.name}: ${error.message}`.slice(0, 300);

/** Runs checks, each of which returns its number of operations. */
async function plain(checks) {
  const answer = { operations: 0, checks: {} };
  for (const [name, check] of Object.entries(checks)) {
    try {
      answer.operations += await check();
      answer.checks[name] = '';
    } catch (error) {
      answer.checks[name] = describe(error);
    }
  }
  return answer;
}

/** Workers that write and read back until they are told to stop. */
class Load {
  acknowledged = [];
  operations = 0;
  errors = {};
  wrong = [];
  gapMs = 0;
  last = [];
  stopping = false;

  constructor(client, prefix) {
    this.client = client;
    this.prefix = prefix;
  }

  async start() {
    this.workers = Array.from({ length: WORKERS }, (_, worker) => this.work(worker));
    while (this.operations < WORKERS) await sleep(10);
  }

  async work(worker) {
    this.last[worker] = performance.now();
    for (let number = 0; !this.stopping; number += 1) {
      const key = `${this.prefix}:${worker}:${number}`;
      try {
        await this.client.set(key, valueOf(key));
        this.success(worker);
        this.acknowledged.push(key);
        const seen = await this.client.get(key);
        this.success(worker);
        if (seen !== valueOf(key)) this.wrong.push(`${key}: ${seen}`);
        await sleep(WRITE_PAUSE_MS);
      } catch (error) {
        this.errors[describe(error)] = (this.errors[describe(error)] ?? 0) + 1;
        await sleep(ERROR_PAUSE_MS);
      }
    }
  }

  success(worker) {
    const now = performance.now();
    this.gapMs = Math.max(this.gapMs, now - this.last[worker]);
    this.last[worker] = now;
    this.operations += 1;
  }

  async end() {
    // One that had no success lately has a gap up to now.
    const now = performance.now();
    this.gapMs = Math.max(this.gapMs, ...this.last.map((last) => now - last));
    this.stopping = true;
    await Promise.all(this.workers);
    const { operations, errors } = this;
    return { operations, errors, wrong: this.wrong.slice(0, 10), gap_ms: Math.round(this.gapMs) };
  }
}

async function verified(client, acknowledged) {
  const lost = [];
  for (const key of acknowledged) {
    const seen = await client.get(key);
    if (seen !== valueOf(key)) lost.push(`${key}: ${seen}`);
  }
  return { operations: acknowledged.length, lost: lost.slice(0, 10) };
}

/** Obeys orders until there are no more. `client` has `set(key, value)` and `get(key)`. */
export async function serve(name, client, checks) {
  const loads = [];
  const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  for await (const order of createInterface({ input: process.stdin })) {
    const [word, phase] = order.split(' ');
    if (word === 'plain') {
      tell(await plain(checks));
    } else if (word === 'load') {
      loads.push(new Load(client, `${name}:${phase}`));
      await loads.at(-1).start();
      tell({});
    } else if (word === 'end') {
      tell(await loads.at(-1).end());
    } else if (word === 'verify') {
      tell(await verified(client, loads.flatMap((load) => load.acknowledged)));
    }
  }
  process.exit(0);
}
