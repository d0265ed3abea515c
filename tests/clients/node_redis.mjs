// node-redis' cluster with its default options. README.md says what the script is told and what it answers.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCluster, RESP_TYPES } from 'redis';
import { addresses, expect, serve, valueOf } from './protocol.mjs';

const client = createCluster({ rootNodes: addresses.map(({ host, port }) => ({ url: `redis://${host}:${port}` })) });
// It reconnects by itself; what it says of that would end the process if nobody listened.
client.on('error', (error) => console.error(error.message));
await client.connect();
const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

const key = (rest) => `node-redis:plain:${rest}`;
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
    expect(await client.incrBy(key('counter'), 32), 42);
    return 11;
  },
  expiry: async () => {
    await client.set(key('mortal'), 'x');
    expect(await client.expire(key('mortal'), 100), 1);
    const ttl = await client.ttl(key('mortal'));
    expect(ttl >= 98 && ttl <= 100, true);
    await client.set(key('brief'), 'x', { expiration: { type: 'PX', value: 50 } });
    await sleep(100);
    expect(await client.get(key('brief')), null);
    return 5;
  },
  'several keys': async () => {
    const keys = numbers(20).map((number) => key(`{tag}:${number}`));
    expect(await client.mSet(keys.map((each) => [each, valueOf(each)])), 'OK');
    expect(await client.mGet(keys), keys.map(valueOf));
    return 2;
  },
  // The cluster's mGet is cut into one a slot by the library: a node that is sent all of it refuses.
  'cross slot': async () => {
    const node = await client.nodeClient(client.masters[0]);
    const error = await node.mGet([key('a'), key('b')]).then(() => null, (refusal) => refusal.message);
    expect(error?.split(' ')[0], 'CROSSSLOT');
    return 1;
  },
  // Commands of one turn of the event loop are sent together.
  pipelines: async () => {
    const replies = numbers(200).map((number) => client.set(key(`pipe:${number}`), `${number}`));
    expect(await Promise.all(replies), numbers(200).map(() => 'OK'));
    const values = numbers(200).map((number) => client.get(key(`pipe:${number}`)));
    expect(await Promise.all(values), numbers(200).map(String));
    return 400;
  },
  binary: async () => {
    const [name, value] = [Buffer.from(`${key('binary')}\0\r\n\xff`, 'latin1'), Buffer.from(numbers(256))];
    await client.set(name, value);
    expect((await buffers.get(name)).equals(value), true);
    return 2;
  },
  big: async () => {
    const value = randomBytes(4 << 20);
    await client.set(key('big'), value);
    expect((await buffers.get(key('big'))).equals(value), true);
    return 2;
  },
  scan: async () => {
    const found = new Set();
    for (const master of client.masters) {
      const node = await client.nodeClient(master);
      for await (const keys of node.scanIterator({ MATCH: key('pipe:*'), COUNT: 100 })) {
        keys.forEach((each) => found.add(each));
      }
    }
    expect([...found].sort(), numbers(200).map((number) => key(`pipe:${number}`)).sort());
    return 1;
  },
};

await serve('node-redis', client, checks);
