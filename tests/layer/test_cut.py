"""A request that is cut at any step, or meets an outage there, leaves nothing behind once it was finished."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from layered import App, placed
from stepping import Stepped

from redis_mw import Idempotent, Lock, Rule
from redis_mw.flows import Flow
from redis_mw.layer.exchange import Exchange, Proceed

Make = Callable[..., App]

RULES = (
    Rule("/free", limits=["99/minute", "9 in flight"], lock=Lock("pay", wait=60), idempotency=Idempotent()),
    Rule("/of/user", limits=["9 in flight"], lock=Lock("pay:{user}", wait=60), idempotency=Idempotent()),
    Rule("/busy", limits=["9 in flight"], lock=Lock("busy", wait=0), idempotency=Idempotent(wait=60)),
)


def cut_at_every_step(
    app: App, begin: Callable[[], Exchange], flow: Callable[[Exchange], Flow[Any]], sent: bool
) -> Iterator[Exchange]:
    """One request after another, each cut one step later, until one comes to its end."""
    for step in range(20):
        exchange = begin()
        stepped = Stepped(app.run, flow(exchange))
        for _ in range(step):
            if not stepped.is_done:
                stepped.step()
        if stepped.is_done:
            app.finish(exchange)
            return
        stepped.cut(sent=sent)
        app.finish(exchange)
        app.finish(exchange)
        yield exchange
    raise AssertionError("it never came to its end")


sent_or_not = pytest.mark.parametrize("sent", [True, False], ids=["after it was sent", "before it was sent"])


@sent_or_not
@pytest.mark.parametrize(("path", "least"), [("/free", 1), ("/of/user", 2)])
def test_who_is_cut_before_it_runs_leaves_nothing(make_app: Make, path: str, least: int, sent: bool) -> None:
    app = make_app(*RULES)
    cookie = app.stored({"a": 1}, user=42)
    numbers = iter(range(99))

    def begin() -> Exchange:
        return app.begin(path, key=f"k{next(numbers)}", cookie=cookie)

    cuts = 0
    for _ in cut_at_every_step(app, begin, lambda exchange: app.layer.open(exchange, eager=True), sent):
        assert app.left_behind() == [], cuts
        cuts += 1
    assert cuts == least
    assert not app.rooms.idempotency.memory.leases  # type: ignore[union-attr]
    assert not app.rooms.limits.memory.slots  # type: ignore[union-attr]


@sent_or_not
def test_who_is_cut_while_it_waits_for_a_lock_leaves_the_queue_and_its_key(make_app: Make, sent: bool) -> None:
    app = make_app(*RULES)
    holder = app.opened("/free", key="holder")
    cookie = app.stored({"a": 1})
    numbers = iter(range(99))

    def begin() -> Exchange:
        return app.begin("/free", key=f"k{next(numbers)}", cookie=cookie)

    flow = app.layer.open
    cuts = 0
    for step in range(6):
        exchange = begin()
        stepped = Stepped(app.run, flow(exchange, eager=True))
        for _ in range(step):
            stepped.step()
        stepped.cut(sent=sent)
        app.finish(exchange)
        assert app.waiters("pay") == 0 and len(app.claims()) == 1, step
        cuts += 1
    app.finish(holder)
    assert cuts == 6 and app.left_behind() == []


@sent_or_not
@pytest.mark.parametrize("steps", range(1, 6))
def test_who_is_cut_after_it_was_handed_the_lock_gives_it_back(make_app: Make, steps: int, sent: bool) -> None:
    app = make_app(*RULES)
    holder = app.opened("/free", key="holder")
    exchange = app.begin("/free", key="k", cookie=app.stored({"a": 1}))
    stepped = Stepped(app.run, app.layer.open(exchange, eager=True))
    stepped.step()
    assert app.waiters("pay") == 1
    app.finish(holder)
    assert app.waiters("pay") == 0 and len(app.holders("pay")) == 1
    for _ in range(steps - 1):
        if not stepped.is_done:
            stepped.step()
    if not stepped.is_done:
        stepped.cut(sent=sent)
    else:
        assert stepped.result == Proceed()
    app.finish(exchange)
    assert app.left_behind() == []


@sent_or_not
@pytest.mark.parametrize("steps", range(1, 5))
def test_who_is_cut_while_it_waits_for_a_key_leaves_it_to_the_one_that_runs(
    make_app: Make, steps: int, sent: bool
) -> None:
    app = make_app(*RULES)
    first = app.opened("/busy", key="k")
    second = app.begin("/busy", key="k")
    stepped = Stepped(app.run, app.layer.open(second, eager=True))
    for _ in range(steps):
        stepped.step()
    stepped.cut(sent=sent)
    app.finish(second)
    assert len(app.holders("busy")) == 1 and len(app.claims()) == 1
    app.over(first, whole=b"mine")
    assert app.replayed("/busy", key="k") == b"mine"
    assert app.left_behind() == []


@sent_or_not
def test_who_is_cut_while_it_leaves_the_lock_to_the_one_with_its_key_leaves_it_in_the_end(
    make_app: Make, sent: bool
) -> None:
    app = make_app(*RULES)
    first, second = app.opened("/free", key="k"), app.begin("/free", placed(Idempotent(wait=60)), key="k")
    stepped = Stepped(app.run, app.layer.open(second, eager=True))
    stepped.step()
    assert app.waiters("pay") == 1
    stepped.cut(sent=sent)
    app.finish(second)
    assert app.waiters("pay") == 0
    app.over(first, whole=b"mine")
    assert app.left_behind() == []


def test_a_flow_that_is_closed_where_it_stands_says_nothing_more(make_app: Make) -> None:
    app = make_app(*RULES)
    holder = app.opened("/free", key="holder")
    for steps in range(5):
        exchange = app.begin("/free", key=f"k{steps}", cookie=app.stored({"a": 1}))
        stepped = Stepped(app.run, app.layer.open(exchange, eager=True))
        for _ in range(steps):
            stepped.step()
        stepped.close()
        app.finish(exchange)
    app.finish(holder)


@sent_or_not
def test_who_is_cut_while_it_completes_has_run_and_is_not_run_again(make_app: Make, sent: bool) -> None:
    app = make_app(*RULES)
    exchange = app.opened("/free", key="k")
    exchange.status = 200
    stepped = Stepped(app.run, app.layer.commit(exchange, {"a": 1}, b"done"))
    stepped.cut(sent=sent)
    exchange.started = True
    app.finish(exchange)
    assert app.replayed("/free", key="k") == b"done"
    assert app.left_behind() == []


@sent_or_not
def test_a_finish_that_is_cut_may_be_run_again(make_app: Make, sent: bool) -> None:
    app = make_app(*RULES)
    exchange = app.opened("/free", key="k")
    stepped = Stepped(app.run, app.layer.finish(exchange))
    stepped.cut(sent=sent)
    assert not app.rooms.idempotency.memory.leases, "a claim is not renewed that is given back"  # type: ignore[union-attr]
    app.finish(exchange)
    assert app.left_behind() == []


@sent_or_not
def test_a_late_view_that_is_cut_leaves_nothing(make_app: Make, sent: bool) -> None:
    app = make_app(*RULES)
    cookie = app.stored({"a": 1}, user=42)
    late = placed("late:{user}", "late#1"), placed(Idempotent(), "late#2")

    def begin() -> Exchange:
        return app.opened("/else", key="k", cookie=cookie)

    cuts = 0
    for _ in cut_at_every_step(app, begin, lambda exchange: app.layer.hold(exchange, *late), sent):
        assert app.left_behind() == []
        cuts += 1
    assert cuts == 2
