import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.errors import PolicyError
from redis_mw.policy.patterns import compiled
from redis_mw.policy.table import Policies, SessionPolicy, Table
from redis_mw.settings import Cached, Idempotent, Limit, Limits, Lock, Rule, Sessions, Settings


def policy(path, *rules, method="GET", skip=()):
    return Table(Settings(rules=list(rules), sessions=Sessions(skip=list(skip)))).policies(method, path).session


def test_without_rules_everything_is_automatic():
    assert policy("/x") == SessionPolicy("auto", True)


def test_the_first_rule_that_sets_it_decides():
    rules = [Rule("/a/*", touch=False), Rule("/a/b", session="skip"), Rule("/a/{x}", session="require", touch=True)]
    assert policy("/a/b", *rules) == SessionPolicy("skip", False)
    assert policy("/a/c", *rules) == SessionPolicy("require", False)
    assert policy("/b", *rules) == SessionPolicy("auto", True)


def test_a_rule_that_sets_nothing_leaves_it_to_the_next():
    assert policy("/a", Rule("/a"), Rule("/a", session="require")).mode == "require"


def test_auto_and_touch_written_out_are_set():
    rules = [Rule("/health/me", session="auto", touch=True), Rule("/health/*", session="skip", touch=False)]
    assert policy("/health/me", *rules) == SessionPolicy("auto", True)
    assert policy("/health/live", *rules) == SessionPolicy("skip", False)


def test_a_rule_with_methods_is_for_those():
    rules = [Rule("/a", methods=["POST"], session="require"), Rule("/{x}", session="skip")]
    assert policy("/a", *rules, method="POST").mode == "require"
    assert policy("/a", *rules, method="GET").mode == "skip"


def test_skipped_paths_come_after_the_rules():
    assert policy("/health/live", skip=["/health/*"]) == SessionPolicy("skip", True)
    assert policy("/health/me", Rule("/health/me", session="require"), skip=["/health/*"]).mode == "require"


def test_touch_comes_out_as_a_bool():
    assert policy("/x", Rule("/x", touch=True, session="skip")).touch is True
    assert policy("/x", Rule("/x", session="skip")).touch is True


def test_sessions_may_be_off():
    assert Table(Settings(sessions=None)).policies("GET", "/") == Policies()


def test_what_is_not_built_is_never_missing_in_silence():
    with pytest.raises(PolicyError) as caught:
        Table(Settings(wait_replicas=1))
    assert str(caught.value) == "wait_replicas: waiting for replicas is not part of this version"


def test_a_cluster_whose_replicas_are_read_is_built():
    url = {"default": "redis://d", "cache": "cluster://a,b"}
    assert Table(Settings(url=url, read_replicas=True)).policies("GET", "/") == Table(Settings()).policies("GET", "/")


def test_a_feature_that_is_off_asks_for_nothing():
    rule = Rule("/x", limits=["5/minute"], cache=Cached(60), session="skip")
    found = Table(Settings(rules=[rule], limits=None, cache=None)).policies("GET", "/x")
    assert found.session.mode == "skip" and found.limits == ()


def limits_of(path, *rules, method="GET", **limits):
    """The limits that hold, each as its rate and its place."""
    table = Table(Settings(rules=list(rules), limits=Limits(**limits)), lambda limit, place, names: (limit.rate, place))
    return list(table.policies(method, path).limits)


def test_the_limits_of_all_rules_that_match_add_up_after_those_that_hold_everywhere():
    rules = [
        Rule("/a/*", limits=["5/minute", Limit("6/minute", by="user")]),
        Rule("/b", limits=["7/minute"]),
        Rule("/a/b", methods=["PUT", "POST"], limits=["8/minute"]),
    ]
    everywhere = [("9/minute", "limits.default[0]")]
    first = [("5/minute", "* /a/*#0"), ("6/minute", "* /a/*#1")]
    assert limits_of("/a/b", *rules, default=["9/minute"]) == everywhere + first
    assert limits_of("/a/b", *rules, method="POST", default=["9/minute"]) == [
        *everywhere,
        *first,
        ("8/minute", "POST,PUT /a/b#0"),
    ]
    assert limits_of("/b", *rules) == [("7/minute", "* /b#0")]
    assert limits_of("/c", *rules, default=["9/minute"]) == everywhere
    assert limits_of("/c", *rules) == []


def test_the_place_of_a_limit_stays_when_rules_change_their_order():
    rules = [Rule("/a", limits=["5/minute"]), Rule("/{x}", limits=["6/minute"]), Rule("/b", touch=False)]
    assert sorted(limits_of("/a", *rules)) == sorted(limits_of("/a", *reversed(rules)))


def test_each_limit_is_made_ready_once():
    made = []
    table = Table(
        Settings(rules=[Rule("/a", limits=["5/minute"])], limits=Limits(default=["6/minute"])),
        lambda limit, place, names: made.append(place) or place,
    )
    for _ in range(3):
        table.policies("GET", "/a")
    assert made == ["limits.default[0]", "* /a#0"]


patterns = st.sampled_from(["/a", "/b", "/{x}", "/*", "/a/{y}", "/a/b"])
modes = st.sampled_from([None, "auto", "skip", "require"])
methods_of_rules = st.sampled_from([None, ["GET"], ["PUT"]])


@given(
    st.lists(st.tuples(patterns, methods_of_rules, modes, st.sampled_from([None, True, False])), max_size=5),
    st.lists(st.sampled_from(["/a", "/a/*"]), max_size=2),
    st.sampled_from(["/a", "/b", "/a/b", "/a/c", "/", "/x/y/z"]),
    st.sampled_from(["GET", "POST", "PUT"]),
)
def test_the_table_agrees_with_reading_the_rules_one_by_one(written, skip, path, method):
    mode = touch = None
    for pattern, methods, session, touches in [*written, *((each, None, "skip", None) for each in skip)]:
        if compiled(pattern).match(path) is not None and (methods is None or method in methods):
            mode, touch = mode or session, touches if touch is None else touch
    rules = []
    for pattern, methods, session, touches in written:
        given = {"session": session, "touch": touches}
        rules.append(Rule(pattern, methods=methods, **{name: each for name, each in given.items() if each is not None}))
    assert policy(path, *rules, method=method, skip=skip) == (mode or "auto", True if touch is None else touch)


class Asked:
    """A policy in a table: where it stands, and for which methods it is."""

    def __init__(self, policy, place, names):
        self.place, self.names, self.methods = place, names, policy.methods

    def holds_for(self, method):
        return self.methods is None or method in self.methods


def asked(path, *rules, method="POST", entries=Asked):
    """The places of the lock and of the idempotency that hold, and the parameters of each."""
    found = Table(Settings(rules=list(rules)), entries).policies(method, path)
    return [each and (each.entry.place, dict(each.parameters)) for each in (found.lock, found.idempotency)]


def test_the_first_rule_that_has_one_for_the_method_decides_of_locks_and_of_keys():
    rules = [
        Rule("/a/{x}", touch=False),
        Rule("/a/{y}", lock=Lock("first", methods=["PUT"])),
        Rule("/{rest:path}", methods=["DELETE"], lock=Lock("second"), idempotency=Idempotent(methods=["DELETE"])),
        Rule("/a/b", lock=Lock("third"), idempotency=Idempotent()),
        Rule("/{z}/b", lock=Lock("fourth"), idempotency=Idempotent(methods=["PUT"])),
    ]
    assert asked("/a/b", *rules) == [("* /a/b", {}), ("* /a/b", {})]
    assert asked("/a/b", *rules, method="PUT") == [("* /a/{y}", {"y": "b"}), ("* /{z}/b", {"z": "a"})]
    by_rest = ("DELETE /{rest:path}", {"rest": "a/b"})
    assert asked("/a/b", *rules, method="DELETE") == [by_rest, by_rest]
    assert asked("/a/b", *rules, method="GET") == [("* /a/b", {}), None]
    assert asked("/x", *rules) == [None, None]


def test_a_lock_or_a_key_that_is_off_leaves_it_to_nobody():
    rule = Rule("/a", lock=Lock("a"), idempotency=Idempotent())
    assert asked("/a", rule, entries=lambda policy, place, names: None) == [None, None]


def test_a_policy_is_told_the_parameters_of_its_path():
    told = []
    Table(
        Settings(rules=[Rule("/{a}/{b:path}", limits=["5/minute"], lock=Lock("x"), idempotency=Idempotent())]),
        lambda policy, place, names: told.append((place, names)),
    )
    assert told == [(place, {"a", "b"}) for place in ("* /{a}/{b:path}#0", "* /{a}/{b:path}", "* /{a}/{b:path}")]
