"""Which clients there are, what each needs, how it is started, and what is asked of it."""

import hashlib
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.join(ROOT, "target", "clients")
INSTALL_LIMIT_S = 600
ADDRESSES = "ADDRESSES"


class CannotBeHad(Exception):
    """What a client needs is not on this machine and cannot be installed."""


class Client:
    """`command` says where the addresses go; `clean` are the phases in which no error may come out of the library."""

    def __init__(self, name, install, command, clean, environment=None):
        self.name = name
        self.install = install
        self.command = command
        self.clean = clean
        self.environment = environment or {}


def run_quietly(log, command, **options):
    """Runs a command to its end, with what it prints in `target/clients/LOG`."""
    path = os.path.join(TARGET, log)
    try:
        with open(path, "w") as output:
            subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, check=True, timeout=INSTALL_LIMIT_S, **options
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBeHad(f"{error}; see {os.path.relpath(path, ROOT)}") from error


def up_to_date(directory, sources):
    """Whether `directory` was installed from these files, and a function that notes that it was."""
    digest = hashlib.sha256()
    for source in sources:
        with open(source, "rb") as file:
            digest.update(file.read())
    stamp = os.path.join(directory, "installed")

    def note():
        with open(stamp, "w") as file:
            file.write(digest.hexdigest())

    if os.path.exists(stamp):
        with open(stamp) as file:
            return file.read() == digest.hexdigest(), note
    return False, note


PYTHON = os.path.join(TARGET, "python")
NODE = os.path.join(TARGET, "node")
RUST_TARGET = os.path.join(TARGET, "rust")
RUST = os.path.join(RUST_TARGET, "debug", "trilith-redis-rs")


def install_python():
    requirements = os.path.join(HERE, "requirements.txt")
    done, note = up_to_date(PYTHON, [requirements])
    if done:
        return
    shutil.rmtree(PYTHON, ignore_errors=True)
    pip = ["python3", "-m", "pip", "install", "--no-deps", "--require-hashes", "--target", PYTHON, "-r", requirements]
    run_quietly("pip.log", pip)
    note()


def install_node():
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise CannotBeHad(f"no {tool}")
    locks = [os.path.join(HERE, name) for name in ("package.json", "package-lock.json", ".npmrc")]
    os.makedirs(NODE, exist_ok=True)
    # Modules are looked for beside the script.
    scripts = [os.path.join(HERE, name) for name in os.listdir(HERE) if name.endswith(".mjs")]
    for file in locks + scripts:
        shutil.copy(file, NODE)
    done, note = up_to_date(NODE, locks)
    if done:
        return
    run_quietly("npm.log", ["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE)
    note()


def install_rust():
    manifest = os.path.join(HERE, "redis-rs", "Cargo.toml")
    # A directory of its own, so that it waits for no other build.
    build = ["cargo", "build", "--locked", "--manifest-path", manifest, "--target-dir", RUST_TARGET]
    run_quietly("cargo.log", build)


def install_redis_tools():
    for tool in ("redis-cli", "redis-benchmark"):
        if not shutil.which(tool):
            raise CannotBeHad(f"no {tool}: install redis-tools")


def no_go():
    raise CannotBeHad("its module is on the Go module proxy, which this suite does not use")


def script(name):
    return os.path.join(HERE, name)


PYTHON_PATH = {"PYTHONPATH": PYTHON, "PYTHONDONTWRITEBYTECODE": "1"}
ALWAYS = ("failover", "stop", "growth")

CLIENTS = [
    Client("redis-py", install_python, ["python3", script("redis_py.py"), ADDRESSES, "default"], ALWAYS, PYTHON_PATH),
    Client("redis-py-asyncio", install_python, ["python3", script("redis_py_asyncio.py"), ADDRESSES], ALWAYS, PYTHON_PATH),
    Client("ioredis", install_node, ["node", os.path.join(NODE, "ioredis.mjs"), ADDRESSES], ALWAYS),
    Client("node-redis", install_node, ["node", os.path.join(NODE, "node_redis.mjs"), ADDRESSES], ("growth",)),
    Client("redis-rs-async", install_rust, [RUST, ADDRESSES, "async"], ALWAYS),
    Client("redis-rs-sync", install_rust, [RUST, ADDRESSES, "sync"], ("growth",)),
    Client("redis-cli", install_redis_tools, ["bash", script("redis_cli.sh"), ADDRESSES], ("growth",)),
    Client("redis-benchmark", install_redis_tools, ["bash", script("redis_benchmark.sh"), ADDRESSES], ("growth",)),
    Client("go-redis", no_go, [], ()),
]
