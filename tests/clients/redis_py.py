"""redis-py's RedisCluster, threads that share one client. README.md says what it is told and what it answers.

Its second argument is how often a command is repeated, or `default`.
"""

import os
import sys
import threading
import time

from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ClusterCrossSlotError
from redis.retry import Retry

import protocol
from protocol import Checks, Ledger, expect, value_of


def connect(mode):
    nodes = [ClusterNode(host, port) for host, port in protocol.addresses()]
    if mode == "default":
        return RedisCluster(startup_nodes=nodes)
    backoff = ExponentialWithJitterBackoff(base=0.01, cap=1)
    return RedisCluster(startup_nodes=nodes, retry=Retry(backoff, retries=int(mode)))


def plain(client, name):
    key = lambda rest: f"{name}:plain:{rest}"

    def strings():
        for number in range(100):
            expect(client.set(key(number), value_of(key(number))), True)
        for number in range(100):
            expect(client.get(key(number)), value_of(key(number)).encode())
        expect(client.delete(*(key(number) for number in range(50))), 50)
        expect(client.get(key(0)), None)
        return 202

    def counters():
        expect([client.incr(key("counter")) for _ in range(10)], list(range(1, 11)))
        expect(client.incrby(key("counter"), 32), 42)
        return 11

    def expiry():
        client.set(key("mortal"), "x")
        expect(client.expire(key("mortal"), 100), True)
        expect(98 <= client.ttl(key("mortal")) <= 100, True)
        client.set(key("brief"), "x", px=50)
        time.sleep(0.1)
        expect(client.get(key("brief")), None)
        return 5

    def several_keys():
        pairs = {key(f"{{tag}}:{number}"): str(number) for number in range(20)}
        expect(client.mset(pairs), True)
        expect(client.mget(list(pairs)), [value.encode() for value in pairs.values()])
        return 2

    def cross_slot():
        try:
            client.execute_command("MGET", key("a"), key("b"), target_nodes=client.get_default_node())
        except ClusterCrossSlotError:
            return 1
        raise AssertionError("keys of several slots were taken")

    def pipelines():
        pipeline = client.pipeline()
        for number in range(200):
            pipeline.set(key(f"pipe:{number}"), str(number))
        for number in range(200):
            pipeline.get(key(f"pipe:{number}"))
        expect(pipeline.execute(), [True] * 200 + [str(number).encode() for number in range(200)])
        return 400

    def binary():
        value = bytes(range(256)) * 5
        client.set(key("binary").encode() + b"\0\r\n\xff", value)
        expect(client.get(key("binary").encode() + b"\0\r\n\xff"), value)
        return 2

    def big():
        value = os.urandom(4 << 20)
        client.set(key("big"), value)
        expect(client.get(key("big")) == value, True)
        return 2

    def scan():
        wanted = {key(f"pipe:{number}").encode() for number in range(200)}
        expect(set(client.scan_iter(match=key("pipe:*"), count=100)), wanted)
        return 1

    checks = Checks()
    for check in (strings, counters, expiry, several_keys, cross_slot, pipelines, binary, big, scan):
        checks.run(check.__name__.replace("_", " "), check)
    return checks.answer()


class Load:
    """Workers that write and read back until they are told to stop."""

    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.ledger = Ledger()
        self.acknowledged = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(worker,)) for worker in range(protocol.WORKERS)]

    def start(self):
        for thread in self.threads:
            thread.start()
        protocol.await_first_writes(self.ledger)

    def work(self, worker):
        with self.lock:
            self.ledger.begin(worker)
        number = 0
        while not self.stopping.is_set():
            key = f"{self.prefix}:{worker}:{number}"
            number += 1
            try:
                self.client.set(key, value_of(key))
                self.note(worker, acknowledged=key)
                seen = self.client.get(key)
                self.note(worker)
                if seen != value_of(key).encode():
                    self.ledger.wrong.append(f"{key}: {seen!r}")
                time.sleep(protocol.WRITE_PAUSE_S)
            except Exception as error:  # whatever surfaces is what is counted
                with self.lock:
                    self.ledger.errors[protocol.describe(error)] += 1
                time.sleep(protocol.ERROR_PAUSE_S)

    def note(self, worker, acknowledged=None):
        with self.lock:
            self.ledger.success(worker)
            if acknowledged:
                self.acknowledged.append(acknowledged)

    def end(self):
        self.ledger.close()
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.ledger.answer()


def main():
    name = "redis-py" if sys.argv[2] == "default" else f"redis-py-{sys.argv[2]}"
    client = connect(sys.argv[2])
    loads = []
    for order in sys.stdin:
        match order.split():
            case ["plain"]:
                protocol.tell(plain(client, name))
            case ["load", phase]:
                loads.append(Load(client, f"{name}:{phase}"))
                loads[-1].start()
                protocol.tell({})
            case ["end"]:
                protocol.tell(loads[-1].end())
            case ["verify"]:
                keys = [key for load in loads for key in load.acknowledged]
                protocol.tell(protocol.verified(keys, client.get))


main()
