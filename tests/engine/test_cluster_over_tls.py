"""A cluster whose servers speak TLS only, as far as anybody is told: both drivers, on threads, asyncio and uvloop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from by_hand import until
from clusters import CALM_MS, Cluster
from fleets import Watching, cached, keys_on_each, others
from redis.crc import key_slot
from tls import Front

from redis_mw.errors import RedisUnavailable
from redis_mw.flows import one, send

EngineOf = Callable[..., Any]
NOWHERE = "redis://127.0.0.1:1/0"
PATIENT = {"warm_up": 10, "connect_within": 5}


class Fronted(NamedTuple):
    """A cluster, and the url of its fronts, one before each server, whose ports are all that it tells of."""

    cluster: Cluster
    url: str


@pytest.fixture(scope="module")
def fronted(certificate: tuple[Path, Path]) -> Iterator[Fronted]:
    cluster = Cluster(CALM_MS)
    fronts = [Front(node.port, certificate) for node in cluster.nodes]
    try:
        for node, front in zip(cluster.nodes, fronts, strict=True):
            _ = node.client().config_set("cluster-announce-port", front.port)
        ports = {front.port for front in fronts}
        until(
            lambda: all({view.port for view in node.views()} == ports for node in cluster.nodes),
            "every server tells the ports of the fronts, whomever it tells of",
        )
        yield Fronted(cluster, "cluster://" + ",".join(f"127.0.0.1:{front.port}" for front in fronts[:2]))
    finally:
        for front in fronts:
            front.close()
        cluster.close()


@pytest.fixture
def url(fronted: Fronted, certificate: tuple[Path, Path]) -> dict[str, str]:
    return {"default": NOWHERE, "cache": f"{fronted.url}?ssl_ca_certs={certificate[0]}"}


def test_the_servers_that_the_url_does_not_name_are_reached_over_tls_too(
    fronted: Fronted, url: dict[str, str], engine_of: EngineOf
) -> None:
    keys, engine = keys_on_each(fronted.cluster, "tls"), engine_of(url, **PATIENT)
    assert engine.run(send(*[cached("SET", key, key * 20_000) for key in keys])) == (b"OK",) * 3
    got = engine.run(send(*[cached("GET", key, bulk=True) for key in keys]))
    assert got == tuple(key.encode() * 20_000 for key in keys)


def test_a_slot_that_has_moved_and_one_that_is_moving_are_followed_over_tls(
    fronted: Fronted, url: dict[str, str], engine_of: EngineOf
) -> None:
    cluster, key, engine = fronted.cluster, "tls:moves", engine_of(url, **PATIENT)
    slot, home, there = key_slot(key.encode()), cluster.primary_of(key), others(cluster, key)[0]
    assert engine.run(one(cached("SET", key, "v"))) == b"OK"
    try:
        cluster.begin_move(slot, there)
        assert engine.run(one(cached("SET", "{tls:moves}2", "w"))) == b"OK", "by ASK"
        cluster.finish_move(slot, there)
        assert engine.run(send(cached("GET", key), cached("GET", "{tls:moves}2"))) == (b"v", b"w"), "by MOVED"
    finally:
        cluster.move_slot(slot, home)


def test_changes_on_every_primary_are_heard_over_tls(
    fronted: Fronted, url: dict[str, str], engine_of: EngineOf
) -> None:
    engine, watcher = engine_of(url, **PATIENT), Watching()
    engine.watch("cache", ("heard",), watcher)
    until(lambda: watcher.on, "all primaries are heard")
    keys = keys_on_each(fronted.cluster, "heard")
    for key in keys:
        _ = fronted.cluster.primary_of(key).client().set(key, "v")
    until(lambda: all([key] in watcher.told for key in keys), "every change is told")


def test_a_cluster_whose_certificate_nobody_vouches_for_is_an_outage_that_says_so(
    fronted: Fronted, engine_of: EngineOf
) -> None:
    engine = engine_of({"default": NOWHERE, "cache": f"{fronted.url}?ssl=true"}, **PATIENT)
    reply = engine.run(one(cached("GET", "tls:unknown")))
    assert isinstance(reply, RedisUnavailable) and "CERTIFICATE_VERIFY_FAILED" in reply.reason
