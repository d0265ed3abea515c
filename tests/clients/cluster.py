"""A cluster of real processes on loopback ports, and what befalls its nodes.

The processes end with the thread that has started them, however that ends.
"""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import time

BUS_OFFSET = 10_000
NODES_MAX = 4
SETTLE_LIMIT_S = 60
STOP_LIMIT_S = 30
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def tie_to_this_process():
    """Run in a child: the kernel ends it with the thread that made it, also by `kill -9`."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def free_base_port():
    """A port from which on enough are free, for clients and for the bus, outside of those that systems give away."""
    for _ in range(100):
        base = random.randrange(12_000, 22_000)
        ports = [base + number + offset for number in range(NODES_MAX) for offset in (0, BUS_OFFSET)]
        if all(is_free(port) for port in ports):
            return base
    raise RuntimeError("no free ports")


def is_free(port):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def await_condition(what, limit_s, look):
    """Looks until there is something. What it is."""
    start = time.monotonic()
    while not (found := look()):
        if time.monotonic() - start > limit_s:
            raise RuntimeError(f"no sign of {what} within {limit_s} s")
        time.sleep(0.05)
    return found


class Cluster:
    """Nodes are numbered from 1. The first three belong to `trilith cluster start`, later ones to this process."""

    def __init__(self, binary, directory):
        self.binary = binary
        self.directory = directory
        self.base_port = free_base_port()
        self.pids = {}
        self.own = {}
        self.log = open(os.path.join(directory, "start.log"), "w+")
        self.starter = subprocess.Popen(
            [binary, "cluster", "start", "--nodes", "3", "--dir", directory, "--base-port", str(self.base_port)],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=tie_to_this_process,
        )

    def await_start(self):
        await_condition("three nodes", SETTLE_LIMIT_S, self.read_pids)
        self.await_settled(3)

    def read_pids(self):
        if self.starter.poll() is not None:
            raise RuntimeError(f"`trilith cluster start` has ended:\n{self.starter_output()}")
        for line in self.starter_output().splitlines():
            match line.split():
                case ["node", number, _address, "pid", pid]:
                    self.pids[int(number)] = int(pid)
        return len(self.pids) == 3

    def starter_output(self):
        with open(self.log.name) as log:
            return log.read()

    def port(self, number):
        return self.base_port + number - 1

    def address(self, number):
        return f"127.0.0.1:{self.port(number)}"

    def ask(self, *words):
        """The answer of one node that runs."""
        at = self.address(min(self.pids))
        command = [self.binary, "cluster", *words, "--json", "--at", at]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else None

    def await_settled(self, members):
        """Waits until so many members are there and every copy is where it belongs."""

        def look():
            status = self.ask("status")
            return (
                status
                and status["settled"]
                and status["complete"]
                and status["without_master"] == 0
                and len(status["members"]) == members
                and not any(member["silent"] for member in status["members"])
            )

        await_condition("a settled cluster", SETTLE_LIMIT_S, look)

    def await_masters(self):
        """Waits until the members that run master everything."""

        def look():
            status = self.ask("status")
            silent = [member for member in status["members"] if member["silent"]] if status else []
            return len(silent) == 1 and status["without_master"] == 0 and silent[0]["masters"] == 0

        await_condition("other masters", SETTLE_LIMIT_S, look)

    def master_of_the_busiest_range(self):
        """The number of the node."""
        ranges = self.ask("ranges")
        work = lambda one: sum(copy["reads"] + copy["writes"] for copy in one["copies"])
        busiest = max((one for one in ranges if one["master"]), key=work)
        members = self.ask("status")["members"]
        [address] = [member["address"] for member in members if member["id"] == busiest["master"]]
        return int(address.rsplit(":", 1)[1]) - self.base_port + 1

    def kill(self, number):
        self.end(number, signal.SIGKILL)

    def stop(self, number):
        self.end(number, signal.SIGTERM)

    def end(self, number, how):
        """Ends a node and waits until it is gone."""
        pid = self.pids.pop(number)
        os.kill(pid, how)
        await_condition(f"node {number}'s end", STOP_LIMIT_S, lambda: self.is_gone(number, pid))

    def is_gone(self, number, pid):
        if number in self.own:
            return self.own[number].poll() is not None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    def serve(self, number):
        """Starts a node: a new one, or one that was there before."""
        contact = self.address(min(self.pids))
        log = open(os.path.join(self.directory, f"node-{number}.log"), "a")
        data = os.path.join(self.directory, f"node-{number}")
        self.own[number] = subprocess.Popen(
            [self.binary, "serve", "--data", data, "--port", str(self.port(number)), "--http-port", "0", "--join", contact],
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=tie_to_this_process,
        )
        self.pids[number] = self.own[number].pid

    def close(self):
        """Ends all that runs."""
        running = [process for process in [*self.own.values(), self.starter] if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()
