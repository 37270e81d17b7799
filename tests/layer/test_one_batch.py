"""What a request asks before it runs leaves in one batch, in the order in which it decides."""

from collections.abc import Callable

from layered import App, placed, sent

from redis_mw import Idempotent, Limit, Lock, Rule
from redis_mw.testing import count_round_trips

Make = Callable[..., App]
ALL = Rule("/pay", limits=["9/minute"], lock=Lock("pay"), idempotency=Idempotent())


def test_limits_key_lock_and_session_are_one_trip_in_this_order(make_app: Make) -> None:
    app = make_app(ALL)
    cookie = app.stored({"a": 1})
    with sent() as batches, count_round_trips() as trips:
        exchange = app.opened("/pay", key="k", cookie=cookie)
    assert batches == [["take", "claim", "acquire", "load"]]
    assert (trips.awaited, trips.detached) == (1, 0)
    assert exchange.visit is not None and exchange.visit.initial == {"a": 1}
    assert exchange.hold is not None and exchange.hold.fence > 0
    app.over(exchange)
    assert app.left_behind() == []


def test_marks_of_a_view_ask_for_the_same(make_app: Make) -> None:
    app = make_app()
    marks = [placed(Limit("9/minute"), "view#1"), placed("pay", "view#2"), placed(Idempotent(), "view#3")]
    with sent() as batches:
        exchange = app.opened("/pay", *marks, key="k", cookie=app.stored({"a": 1}))
    assert batches[1:] == [["take", "claim", "acquire", "load"]]
    app.finish(exchange)
    assert app.left_behind() == []


def test_what_is_named_by_the_session_costs_no_trip_more(make_app: Make) -> None:
    app = make_app()
    cookie = app.stored({"a": 1})
    with sent() as batches:
        exchange = app.opened("/", placed("cart:{session}"), cookie=cookie)
    assert batches == [["acquire", "load"]]
    app.finish(exchange)
    with sent() as batches:
        app.finish(app.opened("/", placed("cart:{session}")))
    assert batches == [], "who has no session has nothing to be locked"


def test_what_is_named_by_the_user_costs_one_trip_more_and_the_session_is_read_again_under_it(make_app: Make) -> None:
    app = make_app()
    cookie = app.stored({"a": 1}, user=42)
    with sent() as batches:
        exchange = app.opened("/", placed("cart:{user}"), cookie=cookie)
    assert batches == [["load"], ["acquire", "load"]]
    assert len(app.holders("cart:42")) == 1
    app.finish(exchange)


def test_where_a_path_parameter_is_called_user_the_session_need_not_be_known(make_app: Make) -> None:
    app = make_app(Rule("/of/{user}", lock=Lock("cart:{user}"), idempotency=Idempotent(scope="cart:{user}")))
    cookie = app.stored({"a": 1}, user=42)
    with sent() as batches:
        exchange = app.opened("/of/7", key="k", cookie=cookie)
    assert batches == [["claim", "acquire", "load"]]
    assert len(app.holders("cart:7")) == 1 and not app.holders("cart:42")
    app.finish(exchange)


def test_a_rule_takes_the_user_of_the_session_where_only_the_route_has_a_parameter_of_that_name(make_app: Make) -> None:
    app = make_app(Rule("/of/*", idempotency=Idempotent(scope="cart:{user}")))
    ada, grace = app.stored({}, user=1), app.stored({}, user=2)
    again = app.stored({}, user=1)
    app.over(app.opened("/of/7", key="k", cookie=ada, parameters={"user": "7"}))
    app.over(app.opened("/of/7", key="k", cookie=grace, parameters={"user": "7"}))
    assert app.replayed("/of/7", key="k", cookie=again, parameters={"user": "7"}) == b"done"


def test_a_view_reads_what_the_framework_has_made_of_its_path(make_app: Make) -> None:
    app = make_app(Rule("/orders/{id}", lock=Lock("order:{id}")))
    for path in ("/orders/7", "/orders/007"):
        exchange = app.opened(path, parameters={"id": "7"})
        assert len(app.holders("order:7")) == 1
        app.finish(exchange)
    exchange = app.opened("/orders/007")
    assert len(app.holders("order:007")) == 1
    app.finish(exchange)


def test_several_locks_of_one_view_are_taken_at_once(make_app: Make) -> None:
    app = make_app()
    marks = [placed("b", "view#1"), placed("a", "view#2"), placed("b", "view#3")]
    with sent() as batches:
        exchange = app.opened("/", *marks)
    assert batches == [["acquire"]]
    assert exchange.hold is not None and exchange.hold.ask.wanted.names == ("a", "b")
    app.finish(exchange)
    assert app.left_behind() == []


def test_where_locks_live_on_another_server_the_session_is_read_after_the_lock(
    make_app: Make, redis_mw_url: str, server: "object"
) -> None:
    app = make_app(ALL, url={"default": redis_mw_url, "locks": server.url})  # type: ignore[attr-defined]
    cookie = app.stored({"a": 1})
    with sent() as batches:
        exchange = app.opened("/pay", key="k", cookie=cookie)
    assert [sorted(batch) for batch in batches] == [["take"], ["acquire", "claim"], ["load"]]
    assert exchange.visit is not None and exchange.visit.initial == {"a": 1}
    app.over(exchange)
    assert app.left_behind() == []


def test_a_preflight_asks_for_nothing(make_app: Make) -> None:
    app = make_app(ALL)
    asks = {"access-control-request-method": "POST"}
    with count_round_trips() as trips:
        exchange = app.opened("/pay", placed("a"), key="k", method="OPTIONS", headers=asks)
        assert app.hold(exchange, placed("b", "late#1")) is None
        app.finish(exchange)
    assert trips.total == 0 and not exchange.asks


def test_what_is_turned_off_asks_for_nothing(make_app: Make) -> None:
    app = make_app(ALL, locks=None, idempotency=None, limits=None, cache=None)
    with count_round_trips() as trips:
        exchange = app.opened("/pay", placed("a"), placed(Idempotent(required=True), "view#2"))
        assert app.hold(exchange, placed("b", "late#1")) is None
        app.over(exchange)
    assert trips.total == 0 and not app.layer.reads_marks


def test_one_feature_that_is_off_leaves_the_others(make_app: Make) -> None:
    for off, left in (
        ("locks", ["take", "claim"]),
        ("idempotency", ["take", "acquire"]),
        ("limits", ["claim", "acquire"]),
    ):
        app = make_app(ALL, **{off: None})
        with sent() as batches:
            app.finish(app.opened("/pay", key=off))
        assert batches[0] == left


def test_policies_for_other_methods_ask_for_nothing(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("pay", methods=["PUT"]), idempotency=Idempotent(required=True)))
    marks = placed(Lock("a", methods=["PUT"]), "view#1"), placed(Idempotent(required=True, methods=["PUT"]), "view#2")
    with count_round_trips() as trips:
        app.finish(app.opened("/pay", *marks, method="GET"))
    assert trips.total == 0


def test_a_view_that_has_a_lock_of_its_own_is_not_locked_by_the_rule(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("of the rule")))
    exchange = app.opened("/pay", placed("of the view"))
    assert len(app.holders("of the view")) == 1 and not app.holders("of the rule")
    app.finish(exchange)


def test_nor_late_where_it_has_nothing_that_its_own_could_lock(make_app: Make) -> None:
    app = make_app(Rule("/pay", lock=Lock("of the rule")))
    exchange = app.opened("/pay", placed("of {user}"))
    assert app.hold(exchange, placed(Limit("9/minute"), "late#1")) is None
    assert exchange.turns == []


def test_a_name_is_asked_of_a_callable_once(make_app: Make) -> None:
    asked: list[object] = []
    app = make_app(Rule("/pay", lock=Lock(lambda request: asked.append(request))))
    exchange = app.opened("/pay", native="the request")
    assert app.hold(exchange, placed(Limit("9/minute"), "late#1")) is None
    assert asked == ["the request"] and exchange.turns == []
