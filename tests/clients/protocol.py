"""What the scripts of Python clients have in common: orders in, answers out, and the workers' bookkeeping."""

import collections
import json
import sys
import time

WORKERS = 4
ERROR_PAUSE_S = 0.02
WRITE_PAUSE_S = 0.01


def value_of(key):
    """A value that no other key has."""
    return f"value of {key}"


class Checks:
    """What the plain phase has seen."""

    def __init__(self):
        self.operations = 0
        self.checks = {}

    def run(self, name, check):
        """Runs a check, which returns its number of operations."""
        try:
            self.operations += check()
            self.checks[name] = ""
        except Exception as error:  # whatever a library raises is what is reported
            self.checks[name] = describe(error)

    async def run_async(self, name, check):
        try:
            self.operations += await check()
            self.checks[name] = ""
        except Exception as error:
            self.checks[name] = describe(error)

    def answer(self):
        return {"operations": self.operations, "checks": self.checks}


def expect(seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{seen!r:.200} instead of {wanted!r:.200}")


def describe(error):
    return f"{type(error).__name__}: {error}"[:300]


class Ledger:
    """What the workers of one phase have done. One thread at a time notes in it."""

    def __init__(self):
        self.operations = 0
        self.errors = collections.Counter()
        self.wrong = []
        self.gap_s = 0.0
        self.last = {}

    def begin(self, worker):
        self.last[worker] = time.monotonic()

    def success(self, worker):
        """Notes that an operation of a worker came back well."""
        now = time.monotonic()
        self.gap_s = max(self.gap_s, now - self.last[worker])
        self.last[worker] = now
        self.operations += 1

    def all_began(self):
        """Whether so much was done as one write of each worker."""
        return len(self.last) == WORKERS and self.operations >= WORKERS

    def close(self):
        """The workers are about to be stopped: one that had no success lately has a gap up to now."""
        for last in self.last.values():
            self.gap_s = max(self.gap_s, time.monotonic() - last)

    def answer(self):
        """The answer to `end`."""
        return {
            "operations": self.operations,
            "errors": dict(self.errors),
            "wrong": self.wrong[:10],
            "gap_ms": round(self.gap_s * 1000),
        }


def await_first_writes(ledger):
    """Waits until the workers, which are threads, write."""
    while not ledger.all_began():
        time.sleep(0.01)


def verified(acknowledged, read):
    """Reads back what was acknowledged."""
    lost = []
    for key in acknowledged:
        seen = read(key)
        if seen != value_of(key).encode():
            lost.append(f"{key}: {seen!r}")
    return {"operations": len(acknowledged), "lost": lost[:10]}


def addresses():
    """The nodes' addresses that the script was started with."""
    pairs = (address.rsplit(":", 1) for address in sys.argv[1].split(","))
    return [(host, int(port)) for host, port in pairs]


def tell(answer):
    print(json.dumps(answer), flush=True)
