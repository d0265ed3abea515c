"""redis-py's asynchronous RedisCluster, tasks that share one client. README.md says what it is told and answers."""

import asyncio
import os
import sys

from redis.asyncio.cluster import ClusterNode, RedisCluster

import protocol
from protocol import Checks, Ledger, expect, value_of

NAME = "redis-py-asyncio"


async def plain(client):
    key = lambda rest: f"{NAME}:plain:{rest}"

    async def strings():
        for number in range(100):
            expect(await client.set(key(number), value_of(key(number))), True)
            expect(await client.get(key(number)), value_of(key(number)).encode())
        expect(await client.delete(*(key(number) for number in range(50))), 50)
        expect(await client.get(key(0)), None)
        return 202

    async def several_keys():
        pairs = {key(f"{{tag}}:{number}"): str(number) for number in range(20)}
        expect(await client.mset(pairs), True)
        expect(await client.mget(list(pairs)), [value.encode() for value in pairs.values()])
        return 2

    async def pipelines():
        pipeline = client.pipeline()
        for number in range(200):
            pipeline.set(key(f"pipe:{number}"), str(number))
        for number in range(200):
            pipeline.get(key(f"pipe:{number}"))
        expect(await pipeline.execute(), [True] * 200 + [str(number).encode() for number in range(200)])
        return 400

    async def big():
        value = os.urandom(4 << 20)
        await client.set(key("big"), value)
        expect(await client.get(key("big")) == value, True)
        return 2

    async def scan():
        wanted = {key(f"pipe:{number}").encode() for number in range(200)}
        expect({found async for found in client.scan_iter(match=key("pipe:*"), count=100)}, wanted)
        return 1

    checks = Checks()
    for check in (strings, several_keys, pipelines, big, scan):
        await checks.run_async(check.__name__.replace("_", " "), check)
    return checks.answer()


class Load:
    """Workers that write and read back until they are told to stop."""

    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.ledger = Ledger()
        self.acknowledged = []
        self.stopping = False
        self.tasks = []

    async def start(self):
        self.tasks = [asyncio.create_task(self.work(worker)) for worker in range(protocol.WORKERS)]
        while not self.ledger.all_began():
            await asyncio.sleep(0.01)

    async def work(self, worker):
        self.ledger.begin(worker)
        number = 0
        while not self.stopping:
            key = f"{self.prefix}:{worker}:{number}"
            number += 1
            try:
                await self.client.set(key, value_of(key))
                self.ledger.success(worker)
                self.acknowledged.append(key)
                seen = await self.client.get(key)
                self.ledger.success(worker)
                if seen != value_of(key).encode():
                    self.ledger.wrong.append(f"{key}: {seen!r}")
                await asyncio.sleep(protocol.WRITE_PAUSE_S)
            except Exception as error:  # whatever surfaces is what is counted
                self.ledger.errors[protocol.describe(error)] += 1
                await asyncio.sleep(protocol.ERROR_PAUSE_S)

    async def end(self):
        self.ledger.close()
        self.stopping = True
        await asyncio.gather(*self.tasks)
        return self.ledger.answer()


async def main():
    client = RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in protocol.addresses()])
    loads = []
    while order := await asyncio.to_thread(sys.stdin.readline):
        match order.split():
            case ["plain"]:
                protocol.tell(await plain(client))
            case ["load", phase]:
                loads.append(Load(client, f"{NAME}:{phase}"))
                await loads[-1].start()
                protocol.tell({})
            case ["end"]:
                protocol.tell(await loads[-1].end())
            case ["verify"]:
                keys = [key for load in loads for key in load.acknowledged]
                found = {key: await client.get(key) for key in keys}
                protocol.tell(protocol.verified(keys, found.get))
    await client.aclose()


asyncio.run(main())
