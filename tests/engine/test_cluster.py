"""What is known of a cluster: its url, its chart, the slots of keys, and what its servers say of a slot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis.exceptions
from clusters import Cluster
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.cluster import RedisCluster

from redis_mw.engine.cluster import (
    QUESTION,
    SLOTS,
    Address,
    Chart,
    Redirection,
    Shard,
    node,
    redirection,
    seeds,
    slot_of,
)
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import failure
from redis_mw.errors import CommandError, RedisUnavailable, SettingsError
from redis_mw.flows import Command

HERE = Address("10.0.0.9", 7000)
A, B, C = Address("10.0.0.1", 7001), Address("10.0.0.2", 7002), Address("10.0.0.3", 7003)
A2, A3 = Address("10.0.0.4", 7004), Address("10.0.0.5", 7005)


def told(address: Address, *more: Any) -> list[Any]:
    """A server as a reply names it."""
    return [address.host.encode(), address.port, b"0123456789abcdef", *more]


def chart(*parts: tuple[int, int, Shard]) -> Chart:
    return Chart.read([[first, last, told(s.primary), *map(told, s.replicas)] for first, last, s in parts], HERE)


def command(*keys: str) -> Command[Any]:
    return Command(("GET", *keys), parse=bytes, keys=keys)


# The chart.


def test_a_chart_says_who_has_a_slot_and_who_follows_it() -> None:
    known = chart((0, 5000, Shard(A, (A2, A3))), (5001, 5001, Shard(B)), (5002, SLOTS - 1, Shard(C)))
    assert known.primaries == (A, B, C)
    assert known.replicas == (A2, A3)
    slots = (0, 5000, 5001, 5002, SLOTS - 1)
    assert [known.shard(slot) for slot in slots] == [Shard(A, (A2, A3)), Shard(A, (A2, A3)), *map(Shard, (B, C, C))]


def test_a_primary_of_many_ranges_is_one_and_slots_may_be_nobodys() -> None:
    known = chart((0, 9, Shard(A)), (10, 19, Shard(B)), (30, 39, Shard(A)))
    assert known.primaries == (A, B)
    assert known.shard(30) == Shard(A)
    assert known.shard(20) is known.shard(SLOTS - 1) is None


@pytest.mark.parametrize("host", [None, b"", b"?"], ids=repr)
def test_a_server_that_does_not_know_its_own_host_is_where_it_was_asked(host: bytes | None) -> None:
    known = Chart.read([[0, 1, [host, 7001, b"id"], [host, 7002, b"id"]]], HERE)
    assert known.shard(0) == Shard(Address(HERE.host, 7001), (Address(HERE.host, 7002),))


def test_what_newer_servers_tell_of_themselves_besides_changes_nothing() -> None:
    known = Chart.read([[0, 1, told(A, [b"hostname", b"a.example"]), told(A2, {b"ip": b"10.0.0.4"})]], HERE)
    assert known.shard(1) == Shard(A, (A2,))


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"OK",
        "no bytes",
        7,
        {},
        [],
        [[]],
        [[0, 1]],
        [None],
        [[0, 1, None]],
        [[0, 1, []]],
        [[0, 1, {}]],
        [[0, 1, [b"h"]]],
        [[0, 1, [b"\xff", 7001]]],
        [[0, 1, [b"h", b"7001"]]],
        [[0, 1, [b"h", None]]],
        [[0, 1, [b"h", 0]]],
        [[0, 1, [b"h", -1]]],
        [[0, 1, [b"h", 65536]]],
        [[0, 1, told(A), [b"h", 65536]]],
        [[1, 0, told(A)]],
        [[-1, 0, told(A)]],
        [[0, SLOTS, told(A)]],
        [[b"0", b"1", told(A)]],
        [[None, None, told(A)]],
        [[0, 1, told(A)], [0.5, 1.5, told(A)]],
        {b"slots": [0, 1]},
        CommandError("ERR", "This instance has cluster support disabled"),
        RedisUnavailable("away"),
    ],
    ids=repr,
)
def test_what_is_no_chart_is_an_error_that_says_so(reply: Any) -> None:
    with pytest.raises(ValueError, match=r"no map of a cluster|nobody has any slot"):
        Chart.read(reply, HERE)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=9)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.binary(max_size=3), inner, max_size=3)
)
SERVER = st.one_of(st.tuples(st.binary(max_size=9) | st.none(), st.integers(-1, 70000), st.binary()), ANYTHING)
SLOT = st.integers(-2, SLOTS + 1) | LEAVES
RANGE = st.builds(lambda first, last, servers: [first, last, *servers], SLOT, SLOT, st.lists(SERVER, max_size=3))


@given(ANYTHING | st.lists(RANGE | ANYTHING, max_size=4))
def test_any_reply_is_a_chart_or_a_value_error(reply: Any) -> None:
    try:
        known = Chart.read(reply, HERE)
    except ValueError:
        return
    shards = [shard for slot in range(SLOTS) if (shard := known.shard(slot)) is not None]
    assert {shard.primary for shard in shards} == set(known.primaries) != set()
    assert {replica for shard in shards for replica in shard.replicas} == set(known.replicas)
    for host, port in (*known.primaries, *known.replicas):
        assert host and 0 < port < 65536


@given(st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=5, unique=True), st.data())
@settings(max_examples=25)
def test_a_chart_is_read_as_it_was_told(bounds: list[int], data: st.DataObject) -> None:
    starts = sorted(bounds)
    ends = [start - 1 for start in starts[1:]] + [SLOTS - 1]
    owners = [data.draw(st.sampled_from((Shard(A, (A2,)), Shard(B), Shard(C)))) for _ in starts]
    known = chart(*zip(starts, ends, owners, strict=True))
    expected: list[Shard | None] = [None] * SLOTS
    for first, last, owner in zip(starts, ends, owners, strict=True):
        for slot in range(first, last + 1):
            expected[slot] = owner
    assert [known.shard(slot) for slot in range(SLOTS)] == expected


def test_a_slot_that_moved_is_with_the_replicas_of_its_new_primary() -> None:
    before = chart((0, 9, Shard(A)), (10, 19, Shard(B, (A2,))))
    after = before.moved(5, B)
    assert [after.shard(slot) for slot in (4, 5, 6)] == [Shard(A), Shard(B, (A2,)), Shard(A)]
    assert before.shard(5) == Shard(A)


def test_a_slot_that_moved_to_a_stranger_makes_it_a_primary_without_replicas() -> None:
    after = chart((0, 9, Shard(A, (A2,)))).moved(12000, C)
    assert after.shard(12000) == Shard(C)
    assert after.primaries == (A, C) and after.replicas == (A2,)


def test_who_lost_its_last_slot_is_no_primary_any_more() -> None:
    after = chart((7, 7, Shard(A, (A2,))), (8, 9, Shard(B))).moved(7, B)
    assert after.primaries == (B,) and after.replicas == ()


def test_a_replica_that_took_its_primarys_place_is_a_primary_of_what_it_was_said_to_have() -> None:
    after = chart((0, 9, Shard(A, (A2,)))).moved(0, A2)
    assert after.shard(0) == Shard(A2) and after.shard(1) == Shard(A, (A2,))
    assert after.primaries == (A2, A)


def test_a_real_cluster_tells_its_chart_and_every_server_the_same(cluster: Cluster) -> None:
    addresses = [Address(*each.address) for each in cluster.nodes]
    charts = [
        Chart.read(each.client().execute_command(*QUESTION, NEVER_DECODE=True), Address("wrong.example", 1))
        for each in cluster.nodes
    ]
    for known in charts:
        assert sorted((*known.primaries, *known.replicas)) == sorted(addresses)
        assert [known.shard(slot) for slot in range(SLOTS)] == [charts[0].shard(slot) for slot in range(SLOTS)]
    for key in ("a", "b", "c", "{tag}:x"):
        slot = slot_of(command(key))
        assert slot is not None
        primary, replica = Address(*cluster.primary_of(key).address), Address(*cluster.replica_of(key).address)
        assert charts[0].shard(slot) == Shard(primary, (replica,))


def test_a_server_without_a_cluster_tells_no_chart(server: Any) -> None:
    with redis.Redis.from_url(server.url) as client, pytest.raises(redis.exceptions.ResponseError) as caught:
        client.execute_command(*QUESTION)
    with pytest.raises(ValueError, match="no map of a cluster"):
        Chart.read(failure(str(caught.value)), HERE)


# The slot.

KEYS = [
    "",
    "user:1",
    "{user}:1",
    "a{user}:1{other}",
    "{}",
    "{}{user}",
    "foo{{bar}}zap",
    "{",
    "}",
    "}{",
    "a}b{c}",
    "{user",
    "{ }",
    "ключ{тег}",
    "😀{😀}",
    "\x00\r\n",
    "\ud800",
    "{\udcff}\ud800",
]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_a_keys_slot_is_what_a_server_says(cluster: Cluster, key: str) -> None:
    said = cluster.nodes[0].client().execute_command("CLUSTER", "KEYSLOT", key.encode("utf-8", "surrogatepass"))
    assert slot_of(command(key)) == said


@pytest.fixture(scope="module")
def redis_py(cluster: Cluster) -> Iterator[RedisCluster]:
    """redis-py's own client of a cluster."""
    with RedisCluster(*cluster.nodes[0].address) as client:
        yield client


@given(st.text(st.characters() | st.sampled_from("{}"), max_size=12))
def test_any_keys_slot_is_what_redis_py_says_and_a_server_too(
    cluster: Cluster, redis_py: RedisCluster, key: str
) -> None:
    encoded = key.encode("utf-8", "surrogatepass")
    slot = slot_of(command(key))
    assert slot == redis_py.keyslot(encoded)
    assert slot == cluster.nodes[0].client().execute_command("CLUSTER", "KEYSLOT", encoded)


def test_keys_that_share_their_braces_share_their_slot() -> None:
    assert slot_of(command("rmw:c1:{tag}:a", "rmw:c1:{tag}:b")) == slot_of(command("tag"))
    assert slot_of(command("{a}:x")) != slot_of(command("{b}:x"))


def test_a_command_without_keys_has_no_slot() -> None:
    assert slot_of(Command(("PING",), parse=bytes)) is None


# What servers say of a slot.


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirection(3999, Address("127.0.0.1", 6381), False)),
        ("ASK 0 127.0.0.1:6381", Redirection(0, Address("127.0.0.1", 6381), True)),
        ("MOVED 16383 node-1.example:65535", Redirection(16383, Address("node-1.example", 65535), False)),
        ("MOVED 7 2001:db8::7:6381", Redirection(7, Address("2001:db8::7", 6381), False)),
        ("ASK 7 :6381", Redirection(7, Address("", 6381), True)),
        ("MOVED 7 ?:6381", Redirection(7, Address("?", 6381), False)),
    ],
)
def test_redirections_that_are_understood(said: str, found: Redirection) -> None:
    assert redirection(failure(said)) == found


@pytest.mark.parametrize(
    "said",
    [
        "MOVED",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED 1 h",
        "MOVED 1 h:",
        "MOVED 1 h:0",
        "MOVED 1 h:65536",
        "MOVED 1 h:-1",
        "MOVED 1 h: 1",
        "MOVED x h:1",
        "MOVED -1 h:1",
        "MOVED 16384 h:1",
        f"MOVED {'9' * 5000} h:1",
        f"ASK 1 h:{'9' * 5000}",
        "MOVED \u0661 h:1",
        "MOVED 1 h:\u00b2",
        "MOVED 1 h:1\n",
        "MOVEDTO 1 h:1",
        "moved 1 h:1",
        "ERR MOVED 1 h:1",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN Hash slot not served",
    ],
    ids=lambda said: ascii(said)[:30],
)
def test_other_errors_redirect_nobody(said: str) -> None:
    assert redirection(failure(said)) is None


@pytest.mark.parametrize("reply", [b"MOVED 1 h:1", "MOVED 1 h:1", None, RedisUnavailable("MOVED 1 h:1")], ids=repr)
def test_what_is_no_error_of_a_command_redirects_nobody(reply: Any) -> None:
    assert redirection(reply) is None


WORDS = st.text() | st.from_regex(r"[0-9]{1,6} [a-z.:\[\]]*:?[0-9]{0,6}", fullmatch=True)


@given(st.sampled_from(["MOVED", "ASK", "ERR"]), WORDS)
@example("MOVED", "1 h:1")
def test_any_text_redirects_to_a_place_that_may_be_or_nowhere(code: str, text: str) -> None:
    found = redirection(CommandError(code, text))
    if found is not None:
        assert code != "ERR" and found.asking is (code == "ASK")
        assert 0 <= found.slot < SLOTS and 0 < found.address.port < 65536
        assert text.endswith(f" {found.address.host}:{text.rpartition(':')[2]}")


def test_a_real_server_tells_where_a_key_of_another_is(cluster: Cluster) -> None:
    key = "moved:somewhere"
    owner = cluster.primary_of(key)
    for other in (each for each in cluster.nodes if each is not owner):
        with pytest.raises(redis.exceptions.MovedError) as caught:
            other.client().get(key)
        found = redirection(failure(f"MOVED {caught.value.args[0]}"))
        assert found == Redirection(slot_of(command(key)) or 0, Address(*owner.address), False)


# The url.


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("cluster://h", ["redis://h:6379/0"]),
        ("cluster://h1:7001,h2", ["redis://h1:7001/0", "redis://h2:6379/0"]),
        ("cluster://h1:7001,h2:7002/0", ["redis://h1:7001/0", "redis://h2:7002/0"]),
        ("cluster://[::1]:7001,[2001:db8::2]", ["redis://[::1]:7001/0", "redis://[2001:db8::2]:6379/0"]),
        ("cluster://h1:7001,[::1]:7002,h3", ["redis://h1:7001/0", "redis://[::1]:7002/0", "redis://h3:6379/0"]),
        ("cluster://h1,h2?ssl=true", ["rediss://h1:6379/0", "rediss://h2:6379/0"]),
        ("cluster://h1,h2?ssl=false", ["redis://h1:6379/0", "redis://h2:6379/0"]),
        ("cluster://h?ssl_cert_reqs=none", ["rediss://h:6379/0"]),
    ],
)
def test_a_clusters_url_names_its_seeds(url: str, names: list[str]) -> None:
    assert [seed.name for seed in seeds(url)] == names


@pytest.mark.parametrize(
    "url",
    [
        "cluster://shop:p%40s%2Cs@h1:7001,h2:7002",
        "cluster://h1:7001,h2:7002?username=shop&password=p%40s%2Cs",
    ],
)
def test_user_and_password_are_for_all_servers_and_in_no_name(url: str) -> None:
    first, second = seeds(url)
    beyond = node(first, Address("h3", 7003)), node(second, Address("h4", 7004), replica=True)
    for each in (first, second, *beyond):
        assert (each.username, each.password) == ("shop", "p@s,s")
        assert "s,s" not in each.name and "p%40" not in each.name and "s,s" not in repr(each)
        assert each.handshake()[0] == ("HELLO", 3, "AUTH", "shop", "p@s,s", "SETNAME", "redis-mw")


@pytest.mark.parametrize("password", ["a b", "100%", "%41", "a,b", "a&b=c", "+", "p:w", "ü"])
@pytest.mark.parametrize("how", ["before the hosts", "as an option"])
def test_a_password_comes_out_as_it_does_of_a_single_servers_url(password: str, how: str) -> None:
    quoted = quote(password, safe="")
    rest = f":{quoted}@h" if how == "before the hosts" else f"h?password={quoted}"
    assert seeds(f"cluster://{rest}")[0].password == Endpoint.from_url(f"redis://{rest}").password


def test_options_of_tls_are_for_all_servers(certificate: tuple[Path, Path]) -> None:
    first, second = seeds(f"cluster://h1,h2?ssl_ca_certs={certificate[0]}&client_name=shop")
    assert first.tls == second.tls == {"ssl_ca_certs": str(certificate[0])}
    beyond = node(first, Address("h3", 7003))
    assert beyond.tls == first.tls and beyond.client_name == "shop" and beyond.name == "rediss://h3:7003/0"
    context = beyond.ssl_context()
    assert context is not None and context.check_hostname


@pytest.mark.parametrize("url", ["cluster://h?socket_timeout=5", "cluster://h?ssl_ca_certs=/no/such/file"])
def test_options_that_do_not_work_are_errors(url: str) -> None:
    with pytest.raises(SettingsError):
        seeds(url)


def test_a_server_of_the_cluster_has_a_name_and_an_introduction_of_its_own() -> None:
    (seed,) = seeds("cluster://h1:7001")
    primary, replica = node(seed, Address("2001:db8::7", 7002)), node(seed, Address("h2", 7003), replica=True)
    assert (primary.host, primary.port, primary.name) == ("2001:db8::7", 7002, "redis://[2001:db8::7]:7002/0")
    assert (replica.host, replica.port, replica.name) == ("h2", 7003, "redis://h2:7003/0")
    assert ("READONLY",) not in primary.handshake() and primary.required == 1
    assert replica.handshake()[: replica.required] == (("HELLO", 3, "SETNAME", "redis-mw"), ("READONLY",))


def test_a_replica_that_is_told_so_answers_reads_and_no_other_does(cluster: Cluster) -> None:
    key = "test_cluster:read"
    _ = cluster.primary_of(key).client().set(key, "here", px=60_000)
    assert cluster.primary_of(key).client().wait(1, 10_000) == 1
    (seed, *_) = seeds(cluster.url)
    endpoint = node(seed, Address(*cluster.replica_of(key).address), replica=True)
    with redis.Redis(endpoint.host, endpoint.port, protocol=3, single_connection_client=True) as client:
        with pytest.raises(redis.exceptions.MovedError):
            client.get(key)
        for words in endpoint.handshake()[: endpoint.required]:
            _ = client.execute_command(*words)
        assert client.get(key) == b"here"
