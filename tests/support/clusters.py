"""A real cluster for tests: three primaries with a replica each, to move slots in, to fail over, to kill and freeze.

No server outlives the tests, also when they are killed: a shell reads a pipe that only we hold and ends the servers
when it closes.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from redis_mw.engine.embedded import find_binary

SLOTS = 16384
HOST = "127.0.0.1"
PORTS = range(11000, 22000)
"""Below those that the system gives to connections, and so are the ports of the bus between servers."""
BUS = 10000
"""What a server adds to its port for the bus."""
CALM_MS = 15000
QUICK_MS = 1500
"""How long a server must be silent before another takes its place: never where all are well, soon where one is not."""
PATIENCE = 30.0
"""Seconds; only a broken cluster takes as long."""
OPTIONS = {
    "cluster-enabled": "yes",
    "cluster-announce-ip": HOST,
    "cluster-node-timeout": str(QUICK_MS),
    "cluster-require-full-coverage": "no",
    "cluster-allow-replica-migration": "no",
    "cluster-replica-validity-factor": "0",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "appendonly": "no",
    "save": "",
    "bind": HOST,
}


class View(NamedTuple):
    """What one server says of one, itself included."""

    id: str
    port: int
    flags: frozenset[str]
    primary: str
    """The id of the one it follows, or "-"."""
    epoch: int
    linked: bool
    slots: tuple[range, ...]

    def has(self, slot: int) -> bool:
        return any(slot in each for each in self.slots)


class Node:
    """One server of a cluster."""

    host = HOST

    def __init__(self, folder: Path) -> None:
        for _ in range(20):
            self.port = _free_port()
            if self._starts(folder / str(self.port)):
                break
        else:
            raise RuntimeError("no server of a cluster starts")
        self.address = (HOST, self.port)
        self.url = f"redis://{HOST}:{self.port}/0"
        self._client = _client(self.port, PATIENCE)
        self.id = self.client().execute_command("CLUSTER", "MYID").decode()

    def __repr__(self) -> str:
        return f"Node({self.port})"

    @property
    def answers(self) -> bool:
        """Neither killed nor frozen."""
        return not self._silent

    def client(self) -> redis.Redis:
        """Asks this server only, follows nobody, tries nothing twice; closed with the cluster."""
        return self._client

    def freeze(self) -> None:
        """Accepts connections, answers nothing."""
        self._silent = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self._silent = False

    def kill(self) -> None:
        """Gone for good; connecting is refused."""
        self._silent = True
        self.process.kill()
        _ = self.process.wait()

    def close(self) -> None:
        self.kill()
        self._client.close()

    def views(self) -> list[View]:
        """What it says of all."""
        text: Any = self.client().execute_command("CLUSTER", "NODES")
        return [_view(line) for line in text.decode().splitlines()]

    def itself(self) -> View:
        """What it says of itself."""
        return next(view for view in self.views() if "myself" in view.flags)

    def _starts(self, folder: Path) -> bool:
        """Whether it runs on its port; somebody else may have taken that meanwhile."""
        folder.mkdir(exist_ok=True)
        options = {**OPTIONS, "port": str(self.port), "cluster-port": str(self.port + BUS), "dir": str(folder)}
        command = [find_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        self._silent = False
        runs = False
        try:
            runs = self._runs()
        finally:
            if not runs:
                self.kill()
        return runs

    def _runs(self) -> bool:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(redis.RedisError), _client(self.port, 1.0) as client:
                if client.info("server")["process_id"] == self.process.pid:
                    return True
            time.sleep(0.01)
        return False


class Cluster:
    """Three primaries with a replica each, all well when this is made. ``close`` ends it."""

    def __init__(self, timeout_ms: int = QUICK_MS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-mw-cluster-"))
        self.nodes: list[Node] = []
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            while len(self.nodes) < 6:
                self.nodes.append(Node(self.folder))
            self._guard = _guard(self.nodes, self.folder)
            self._join()
            for node in self.nodes:
                _ = node.client().config_set("cluster-node-timeout", timeout_ms)
        except BaseException:
            self.close()
            raise
        self.url = "cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def close(self) -> None:
        """End its servers, however they are, and forget what they held."""
        if self._guard is not None:
            self._guard.kill()
            _ = self._guard.communicate()
        for node in self.nodes:
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def primaries(self) -> list[Node]:
        """Who has slots, in the slots' order; one that does not answer is still there while nobody took its place."""
        owner = self._owners()
        return list(dict.fromkeys(found for slot in range(SLOTS) if (found := owner(slot)) is not None))

    def primary_of(self, key: str | bytes) -> Node:
        """Who has the key's slot; one that does not answer, while nobody took its place."""
        return self._primary(key_slot(_bytes(key)))

    def replica_of(self, key: str | bytes) -> Node:
        """Who follows the primary of the key's slot and answers."""
        primary = self.primary_of(key)
        for node in self._answering():
            if node.itself().primary == primary.id:
                return node
        raise LookupError(f"nobody follows {primary}")

    def move_slot(self, slot: int, to: Node) -> None:
        """The slot and its keys are on another primary when this returns, and every server says so."""
        if self._primary(slot) is not to:
            self.begin_move(slot, to)
            self.finish_move(slot, to)

    def begin_move(self, slot: int, to: Node) -> None:
        """From now on, whoever has the slot answers ASK for keys that it has not."""
        source = self._primary(slot)
        _ = to.client().execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        _ = source.client().execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)

    def finish_move(self, slot: int, to: Node) -> None:
        """What is left of the slot's keys follows, and every server says where they are."""
        source = self._primary(slot)
        ask: Callable[..., Any] = source.client().execute_command
        while keys := ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            _ = ask("MIGRATE", HOST, to.port, "", 0, int(PATIENCE * 1000), "KEYS", *keys)
        rest = [node for node in self._answering() if "master" in node.itself().flags and node not in (to, source)]
        for node in (to, source, *rest):
            _ = node.client().execute_command("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        self._until(f"slot {slot} is on {to}", lambda: self._all_say(slot, to))

    def fail_over(self, replica: Node) -> None:
        """The replica has taken the place of its primary, which follows it now, and every server says so."""
        before = replica.itself().primary
        old = next(node for node in self.nodes if node.id == before)
        slot = next(view for view in replica.views() if view.id == before).slots[0].start
        _ = replica.client().execute_command("CLUSTER", "FAILOVER")
        self._until(f"{replica} is the primary", lambda: self._all_say(slot, replica))
        if old.answers:
            self._until(f"{old} follows {replica}", lambda: _follows(old, replica))

    def _join(self) -> None:
        """Make servers of which none knows another a cluster."""
        primaries, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            _ = node.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[:number]:
                _ = node.client().execute_command("CLUSTER", "MEET", HOST, other.port)
        for number, node in enumerate(primaries):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            _ = node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        everybody = {node.id for node in self.nodes}
        self._until("they know each other", lambda: all(_known(node) == everybody for node in self.nodes))
        for primary, replica in zip(primaries, replicas, strict=True):
            _ = replica.client().execute_command("CLUSTER", "REPLICATE", primary.id)
        self._until("all is well", lambda: all(map(_is_well, self.nodes)) and self._all_know(primaries, replicas))
        # One of which they have heard, but not yet how far it has come, they keep to themselves.
        self._until("all tell of every replica", lambda: all(map(_tells_of_replicas, self.nodes)))

    def _all_know(self, primaries: Sequence[Node], replicas: Sequence[Node]) -> bool:
        """Whether every server knows who follows whom."""
        wanted = {replica.id: primary.id for primary, replica in zip(primaries, replicas, strict=True)}
        return all(wanted.items() <= {view.id: view.primary for view in node.views()}.items() for node in self.nodes)

    def _primary(self, slot: int) -> Node:
        found = self._owners()(slot)
        if found is None:
            raise LookupError(f"nobody has slot {slot}")
        return found

    def _owners(self) -> Callable[[int], Node | None]:
        """Who has a slot: the last to claim it, else whom the others name."""
        claims: list[tuple[Node, View]] = []
        hearsay: list[tuple[Node, View]] = []
        for node in self._answering():
            for view in node.views():
                if view.slots:
                    (claims if "myself" in view.flags else hearsay).append((self._by_id(view.id), view))
        claims.sort(key=lambda claim: claim[1].epoch, reverse=True)
        return lambda slot: next((node for node, view in (*claims, *hearsay) if view.has(slot)), None)

    def _answering(self) -> Iterator[Node]:
        return (node for node in self.nodes if node.answers)

    def _by_id(self, wanted: str) -> Node:
        return next(node for node in self.nodes if node.id == wanted)

    def _all_say(self, slot: int, primary: Node) -> bool:
        return all(any(view.id == primary.id and view.has(slot) for view in node.views()) for node in self._answering())

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                said = "\n".join(f"{node}: {node.views()}" for node in self._answering())
                raise RuntimeError(f"it did not come to pass that {what}:\n{said}")
            time.sleep(0.01)


def _client(port: int, patience: float) -> redis.Redis:
    return redis.Redis(HOST, port, retry=Retry(NoBackoff(), 0), socket_timeout=patience)


def _free_port() -> int:
    """A port that was free a moment ago, and that of its bus."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as here, socket.socket() as there, suppress(OSError):
            here.bind((HOST, port))
            there.bind((HOST, port + BUS))
            return port


def _guard(nodes: Sequence[Node], folder: Path) -> "subprocess.Popen[bytes]":
    """Ends the servers when we are gone."""
    script = 'folder=$1; shift; read -r _; kill -KILL "$@"; rm -rf "$folder"'
    pids = [str(node.process.pid) for node in nodes]
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "guard", str(folder), *pids],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _view(line: str) -> View:
    """Of a line of CLUSTER NODES: id, address, flags, primary, ping, pong, epoch, link and slots."""
    id_, address, flags, primary, _, _, epoch, link, *slots = line.split()
    port = int(address.partition("@")[0].rpartition(":")[2])
    held = [each.partition("-") for each in slots if not each.startswith("[")]
    ranges = tuple(range(int(first), int(last or first) + 1) for first, _, last in held)
    return View(id_, port, frozenset(flags.split(",")), primary, int(epoch), link == "connected", ranges)


def _known(node: Node) -> set[str]:
    """Whom it knows and is linked with."""
    return {view.id for view in node.views() if view.linked and not {"handshake", "noaddr"} & view.flags}


def _is_well(node: Node) -> bool:
    client = node.client()
    if b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
        return False
    replication = client.info("replication")
    return replication["role"] == "master" or replication["master_link_status"] == "up"


def _tells_of_replicas(node: Node) -> bool:
    """Whether it names a replica for all slots to whoever asks."""
    told: Any = node.client().execute_command("CLUSTER", "SLOTS")
    return all(len(row) > 3 for row in told)


def _follows(node: Node, primary: Node) -> bool:
    return node.itself().primary == primary.id and _is_well(node)


def _bytes(key: str | bytes) -> bytes:
    return key if isinstance(key, bytes) else key.encode("utf-8", "surrogatepass")
