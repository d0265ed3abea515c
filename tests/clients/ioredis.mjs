// ioredis' Cluster with its default options. README.md says what the script is told and what it answers.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from 'ioredis';
import { addresses, expect, serve, valueOf } from './protocol.mjs';

const client = new Cluster(addresses);
// It reconnects by itself; what it says of that would end the process if nobody listened.
client.on('error', (error) => console.error(error.message));

const key = (rest) => `ioredis:plain:${rest}`;
const numbers = (count) => Array.from({ length: count }, (_, number) => number);

const checks = {
  strings: async () => {
    for (const number of numbers(100)) expect(await client.set(key(number), valueOf(key(number))), 'OK');
    for (const number of numbers(100)) expect(await client.get(key(number)), valueOf(key(number)));
    expect(await client.del(key(0)), 1);
    expect(await client.get(key(0)), null);
    return 202;
  },
  counters: async () => {
    for (const number of numbers(10)) expect(await client.incr(key('counter')), number + 1);
    expect(await client.incrby(key('counter'), 32), 42);
    return 11;
  },
  expiry: async () => {
    await client.set(key('mortal'), 'x');
    expect(await client.expire(key('mortal'), 100), 1);
    const ttl = await client.ttl(key('mortal'));
    expect(ttl >= 98 && ttl <= 100, true);
    await client.set(key('brief'), 'x', 'PX', 50);
    await sleep(100);
    expect(await client.get(key('brief')), null);
    return 5;
  },
  'several keys': async () => {
    const keys = numbers(20).map((number) => key(`{tag}:${number}`));
    expect(await client.mset(new Map(keys.map((each) => [each, valueOf(each)]))), 'OK');
    expect(await client.mget(keys), keys.map(valueOf));
    return 2;
  },
  'cross slot': async () => {
    const error = await client.mget(key('a'), key('b')).then(() => null, (refusal) => refusal.message);
    expect(error?.split(' ')[0], 'CROSSSLOT');
    return 1;
  },
  // All keys of one pipeline have to be on one node.
  pipelines: async () => {
    const pipeline = client.pipeline();
    for (const number of numbers(200)) pipeline.set(key(`{pipe}:${number}`), number);
    for (const number of numbers(200)) pipeline.get(key(`{pipe}:${number}`));
    const wanted = [...numbers(200).map(() => [null, 'OK']), ...numbers(200).map((number) => [null, `${number}`])];
    expect(await pipeline.exec(), wanted);
    return 400;
  },
  binary: async () => {
    const [name, value] = [Buffer.from(`${key('binary')}\0\r\n\xff`, 'latin1'), Buffer.from(numbers(256))];
    await client.set(name, value);
    expect((await client.getBuffer(name)).equals(value), true);
    return 2;
  },
  big: async () => {
    const value = randomBytes(4 << 20);
    await client.set(key('big'), value);
    expect((await client.getBuffer(key('big'))).equals(value), true);
    return 2;
  },
  scan: async () => {
    for (const number of numbers(200)) await client.set(key(`scan:${number}`), number);
    const found = new Set();
    for (const node of client.nodes('master')) {
      for await (const keys of node.scanStream({ match: key('scan:*'), count: 100 })) {
        keys.forEach((each) => found.add(each));
      }
    }
    expect([...found].sort(), numbers(200).map((number) => key(`scan:${number}`)).sort());
    return 201;
  },
};

await serve('ioredis', client, checks);
