"""Pages and values on many servers: what memory knows of them, tags elsewhere, and servers that come and go."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from by_hand import until
from clusters import Cluster
from redis.crc import key_slot
from spread import Spread, calm, processes, trips
from visiting import FOR_EVER, Made, Origin

from redis_mw import Cached, Settings, replace

pytestmark = pytest.mark.one_server  # these have a cluster anyway

Make = Callable[..., Spread]
MEMORY = 1 << 24
TAGGED = Cached(60, jitter=0, tags=["t"])


@pytest.fixture(params=["threads", "asyncio"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spread_over(cluster: Cluster, settings: Settings) -> Settings:
    return replace(settings, url={"default": settings.url_of("default"), "cache": cluster.url})


@pytest.fixture
def make(redis_mw_settings: Settings, cluster: Cluster, colour: str) -> Iterator[Make]:
    """Makes processes of one colour on the cluster that all share; every test that asks for this is run with both."""
    with processes(colour, spread_over(cluster, redis_mw_settings)) as made:
        yield made


@pytest.fixture
def make_own(redis_mw_settings: Settings, own_cluster: Cluster, colour: str) -> Iterator[Make]:
    """The same on a cluster whose servers may come to harm."""
    with processes(colour, spread_over(own_cluster, redis_mw_settings)) as made:
        yield made


def elsewhere(cluster: Cluster, process: Spread, *keys: str) -> str:
    """A tag that lives on another server than these keys."""
    taken = [cluster.primary_of(key) for key in keys]
    return next(tag for tag in map(str, count()) if cluster.primary_of(process.tag(tag)) not in taken)


def grouped(*tags: str) -> Made:
    """An answer that hangs on tags which only the application knows."""
    return Made(headers=(("Cache-Groups", ", ".join(f'"{tag}"' for tag in tags)),))


# Memory


@pytest.mark.parametrize("how", ["purge", "tag", "late tag", "anew"])
def test_a_page_in_memory_costs_nothing_until_another_process_changes_it(
    make: Make, cluster: Cluster, how: str
) -> None:
    process, other = make(l1_bytes=MEMORY, l1_age=600), make(honour_client_no_cache=True)
    tag = elsewhere(cluster, process, process.page())
    policy = Cached(60, jitter=0, tags=[tag])
    process.origin.made = grouped("late")
    process.listens()
    process.get(policy=policy)
    is_in_memory(process, policy)
    match how:
        case "purge":
            other.purge()
        case "tag":
            other.drop_tag(tag)
        case "late tag":
            other.drop_tag("late")
        case _:
            other.origin.made = Made(b"anew")
            assert other.get(headers=(("Cache-Control", "no-cache"),), policy=policy).ran
    process.origin.made = Made(b"anew")
    until(lambda: process.get(policy=policy).body == b"anew", "it is noticed")
    assert process.origin.runs == (1 if how == "anew" else 2)
    is_in_memory(process, policy)


def is_in_memory(process: Spread, policy: Cached, path: str = "/") -> None:
    """Until it costs nothing: what this process has stored itself is told to it, too, and perhaps late."""
    until(lambda: trips(process.get, path, policy=policy)[0] == 0, "it is in memory")


def test_memory_is_off_while_a_primary_that_died_has_no_successor_and_then_holds_nothing_that_was_dropped(
    make_own: Make, own_cluster: Cluster
) -> None:
    process, other = make_own(l1_bytes=MEMORY, l1_age=600, patience=1), make_own(patience=1)
    tag = elsewhere(own_cluster, process, process.page())
    policy = Cached(60, jitter=0, tags=[tag])
    process.listens()
    process.get(policy=policy)
    is_in_memory(process, policy)
    local = process.room.memory.local
    own_cluster.primary_of(process.tag(tag)).kill()
    until(lambda: not local.on, "it is off")
    until(lambda: other.value("drop_tag", tag), "there is a successor")
    until(lambda: local.on, "it is on")
    process.origin.made = Made(b"new")
    assert process.get(policy=policy).body == b"new"
    is_in_memory(process, policy)
    other.drop_tag(tag)
    process.origin.made = Made(b"newer")
    until(lambda: process.get(policy=policy).body == b"newer", "what its successor says is heard")


# Tags


def test_a_page_whose_tags_are_known_takes_one_trip_and_two_where_they_are_guessed_wrong(make: Make) -> None:
    process, other = make(), make()
    process.origin.made = grouped("a")
    process.get(policy=TAGGED)
    assert [trips(other.get, policy=TAGGED)[0] for _ in range(2)] == [2, 1]
    process.drop_tag("t")
    process.origin.made = grouped("b")
    process.get(policy=TAGGED)
    assert [trips(other.get, policy=TAGGED)[0] for _ in range(2)] == [2, 1]
    process.drop_tag("b")
    assert other.get(policy=TAGGED).ran
    process.drop_tag("a")
    assert not other.get(policy=TAGGED).ran
    process.value("set", "v", 1, ttl=60, tags=["a", "b"])
    assert [trips(other.value, "get", "v")[0] for _ in range(2)] == [2, 1]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("drops", [False, True])
def test_of_a_tag_that_is_named_in_the_view_a_drop_meanwhile_wins(make: Make, known: bool, drops: bool) -> None:
    process, other = make(), make()

    def make_page(*, drops: bool) -> int:
        lookup = process.lookup(policy=TAGGED)
        process.run(lookup.ask())
        fetch = lookup.fetch
        assert fetch is not None
        fetch.tag("late")
        fetch.judge(200, (), accessed=False, csrf=False)
        if drops:
            other.drop_tag("late")
        taken, _ = trips(process.run, lookup.complete(b"by hand", accessed=False, csrf=False, sent=False))
        assert (fetch.kept is None) is drops, "nobody follows what was dropped"
        return taken

    if known:
        _ = make_page(drops=False)
        other.drop_tag("t")
    assert make_page(drops=drops) in ((1, 2) if known else (2,))
    assert process.get(policy=TAGGED).ran is drops
    other.drop_tag("late")
    assert process.get(policy=TAGGED).ran is not drops, "after a drop it was made by somebody who did not name it"


# Servers that are away


def test_where_a_server_is_away_the_rest_goes_on_and_what_hangs_on_its_tags_is_made_for_each(
    make_own: Make, own_cluster: Cluster
) -> None:
    calm(own_cluster)
    process, other = make_own(patience=0.5), make_own(patience=0.5)
    tag = elsewhere(own_cluster, process, process.page(), process.key("v"))
    policy = Cached(60, jitter=0, tags=[tag])
    dead = own_cluster.primary_of(process.tag(tag))
    lost = next(f"/{n}" for n in count() if own_cluster.primary_of(process.page(f"/{n}")) is dead)
    lost_value = next(str(n) for n in count() if own_cluster.primary_of(process.key(str(n))) is dead)
    here = next(f"/{n}" for n in count() if own_cluster.primary_of(process.page(f"/{n}")) is not dead)
    process.get(policy=policy)
    process.get(lost)
    process.get(here)
    process.value("set", "v", 1, ttl=60, tags=[tag])
    assert other.value("get", "v") == 1 and not other.get(policy=policy).ran
    dead.freeze()
    try:
        other.origin.made = Made(b"without")
        for _ in range(5):
            assert other.get(policy=policy).body == b"without" and other.get(lost).body == b"without"
            assert not other.get(here).ran, "its server is there"
            assert other.value("get", "v") is None
            assert other.value("get_or_set", "v", lambda: 2, ttl=60, tags=[tag]) == 2
            assert other.value("get_or_set", lost_value, lambda: 3, ttl=60) == 3
        assert other.value("drop_tag", tag) is False
    finally:
        dead.thaw()
    process.origin.made = other.origin.made = Made(b"later")
    assert other.get(policy=policy).body == b"later", "what was dropped is dropped, and what was made without its tag"
    until(lambda: not process.get(policy=policy).ran, "it is kept again")
    assert process.get(policy=policy).body == b"later" and process.value("get", "v") is None


# Slots that move, and a replica that takes over


class Written:
    """What was written of each path, and dropped thereupon; ``wrong`` are the reads that were of before."""

    def __init__(self, paths: int) -> None:
        self.paths = [f"/{number}" for number in range(paths)]
        self.latest = dict.fromkeys(self.paths, 0)
        self.dropped: dict[tuple[Spread | None, str], int] = {}
        self.wrong: list[tuple[str, int, int]] = []
        self.reads = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def origin(self) -> Origin:
        return Origin(lambda request: Made(str(self.latest[request.path]).encode()))

    def policy(self, path: str) -> Cached:
        return Cached(60, jitter=0, tags=[f"t{path}"])

    def writes(self, process: Spread) -> None:
        """Until it is to stop: write something, and drop what is of before."""
        while not self.stop.is_set():
            path = random.choice(self.paths)
            with self._lock:
                self.latest[path] = number = self.latest[path] + 1
            heard = process.purge(path) if random.random() < 0.5 else process.value("drop_tag", f"t{path}")
            with self._lock:
                for whom in (process, None) if heard else (process,):
                    self.dropped[whom, path] = max(number, self.dropped.get((whom, path), 0))
            _ = self.stop.wait(0.01)

    def reads_by(self, process: Spread, *, others: bool) -> None:
        """Until it is to stop: read; ``others``: it has to know also what another process dropped."""
        while not self.stop.is_set():
            path = random.choice(self.paths)
            with self._lock:
                least = max(self.dropped.get((whom, path), 0) for whom in ((process, None) if others else (process,)))
            got = int(process.get(path, policy=self.policy(path)).body)
            with self._lock:
                self.reads += 1
                if got < least:
                    self.wrong.append((path, got, least))


def test_while_slots_move_and_a_replica_takes_over_nobody_is_given_what_was_dropped_before(
    make_own: Make, own_cluster: Cluster
) -> None:
    written = Written(6)
    keeping = [make_own(written.origin(), l1_bytes=MEMORY, l1_age=600) for _ in range(2)]
    asking = make_own(written.origin())
    for each in keeping:
        each.listens()
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(written.writes, each) for each in keeping]
        work += [pool.submit(written.reads_by, each, others=False) for each in keeping * 2]
        work += [pool.submit(written.reads_by, asking, others=True)]
        try:
            for number, path in enumerate(written.paths[:4]):
                key = asking.page(path) if number % 2 else asking.tag(f"t{path}")
                there = next(node for node in own_cluster.primaries() if node is not own_cluster.primary_of(key))
                own_cluster.move_slot(key_slot(key.encode()), there)
            own_cluster.fail_over(own_cluster.replica_of(asking.page(written.paths[5])))
            before = written.reads
            until(lambda: written.reads > before + 200 or any(each.done() for each in work), "it goes on")
        finally:
            written.stop.set()
        for done in work:
            done.result(FOR_EVER)
    assert written.wrong == []
    for each in keeping:
        each.listens()
        for path in written.paths:
            policy, latest = written.policy(path), str(written.latest[path]).encode()
            until(lambda e=each, p=path, o=policy, n=latest: e.get(p, policy=o).body == n, "all is heard in the end")  # type: ignore[misc]
            is_in_memory(each, policy, path)
