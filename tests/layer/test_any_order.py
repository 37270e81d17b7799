"""Requests with limits, a lock, a key and a session, their steps in any order, on a real server; some are cut, some
meet an outage, some fail: what holds whatever happens first.

The test keeps its own account of who runs, which keys have run, and what the session must hold.
"""

from typing import Any
from uuid import uuid4

import pytest
from examples import scaled
from hypothesis import example, given
from hypothesis import strategies as st
from layered import App
from stepping import Stepped

from redis_mw import Idempotent, Lock, Locks, Rule, Settings, replace
from redis_mw.layer.exchange import Exchange, Proceed, Replay, Respond

RULES = [
    Rule("/cart", limits=["4 in flight"], lock=Lock("cart", wait=60), idempotency=Idempotent(scope="client", wait=60)),
    Rule("/cart/now", lock=Lock("cart", wait=0), idempotency=Idempotent(scope="client")),
    Rule("/cart/read", lock=Lock("cart", shared=True, wait=60)),
    Rule("/pay", limits=["3 in flight"], idempotency=Idempotent(scope="client", wait=60)),
]

KEYED = {"/cart": "cart", "/cart/now": "cart-now", "/pay": "pay"}
WRITERS = ("/cart", "/cart/now")


class Flight:
    """One request under way."""

    def __init__(self, app: App, path: str, key: str | None, cookie: str) -> None:
        self.path = path
        self.key = f"{KEYED[path]}-{key}" if key is not None and path in KEYED else None
        self.reads = path.startswith("/cart")
        self.exchange: Exchange = app.begin(path, key=self.key, cookie=cookie if self.reads else "")
        self.opening = Stepped(app.run, app.layer.open(self.exchange, eager=True))
        self.runs = False
        self.met_an_outage = False

    @property
    def lacks(self) -> bool:
        """Whether Redis went away before its session was read again under the lock, so that it cannot be looked at."""
        visit = self.exchange.visit
        return self.reads and self.met_an_outage and visit is not None and visit.away is not None


class Account:
    """What must be so, beside what the layer says."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.cookie = app.stored({"n": 0})
        self.n = 0
        self.under_way: list[Flight] = []
        self.ran: dict[str, bytes] = {}

    def arrive(self, path: str, key: str | None) -> None:
        flight = Flight(self.app, path, key, self.cookie)
        self.under_way.append(flight)
        self._opened(flight)

    def step(self, flight: Flight) -> None:
        if not flight.runs:
            flight.opening.step()
            self._opened(flight)

    def meet_an_outage(self, flight: Flight) -> None:
        if not flight.runs and flight.opening.asks_now:
            flight.met_an_outage = True
            flight.opening.meet_an_outage()
            self._opened(flight)

    def cut(self, flight: Flight, sent: bool) -> None:
        if not flight.runs:
            flight.opening.cut(sent=sent)
        self._over(flight)

    def answer(self, flight: Flight, status: int, end: str) -> None:
        """The application answers; the batch that closes the request succeeds, or is cut, or meets an outage."""
        if not flight.runs:
            return
        body, data = uuid4().hex.encode(), None
        if flight.lacks:
            status = 503  # which frameworks make of a look at the session
        elif flight.path in WRITERS:
            assert flight.exchange.visit is not None
            data = {"n": flight.exchange.visit.initial["n"] + 1}
        flight.exchange.status = status
        closing = Stepped(self.app.run, self.app.layer.commit(flight.exchange, data, body))
        written = end in ("done", "cut after")
        if closing.is_done:
            pass
        elif end == "outage":
            closing.meet_an_outage()
        elif end == "done":
            closing.finish()
        else:
            closing.cut(sent=end == "cut after")
        if data is not None and written:
            self.n = data["n"]
        if flight.key is not None and status == 200:
            self.ran[flight.key] = body
        self._over(flight)

    def end(self) -> None:
        """Everybody comes to an end, the eldest first."""
        while self.under_way:
            flight = next((each for each in self.under_way if each.runs), None)
            if flight is not None:
                self.answer(flight, 200, "done")
                continue
            for waiting in [*self.under_way]:
                self.step(waiting)

    def _opened(self, flight: Flight) -> None:
        if not flight.opening.is_done:
            return
        answer = flight.opening.result
        if answer == Proceed():
            flight.runs = True
            self._must_run_alone(flight)
            return
        if isinstance(answer, Replay):
            assert flight.key is not None
            assert answer.response.body == self.ran[flight.key], "the answer of another run"
        else:
            assert isinstance(answer, Respond) and answer.response.status in (409, 429, 503), answer
        self._over(flight)

    def _must_run_alone(self, flight: Flight) -> None:
        others = [each for each in self.under_way if each.runs and each is not flight]
        if flight.key is not None:
            assert flight.key not in self.ran, "it runs again"
            assert all(each.key != flight.key for each in others), "it runs twice"
        if flight.reads:
            hold = flight.exchange.hold
            assert hold is not None and not hold.over and hold.fence > 0
            beside = [each for each in others if each.reads]
            assert not beside or (flight.path not in WRITERS and all(each.path not in WRITERS for each in beside))
            assert flight.exchange.visit is not None
            assert flight.lacks or flight.exchange.visit.initial == {"n": self.n}, "it was not read under the lock"
        for limited, most in (("/cart", 4), ("/pay", 3)):
            assert sum(each.path == limited and each.runs for each in self.under_way) <= most

    def _over(self, flight: Flight) -> None:
        self.under_way.remove(flight)
        self.app.finish(flight.exchange)
        self.app.finish(flight.exchange)


index = st.integers(0, 7)
moves = st.one_of(
    st.tuples(
        st.just("arrive"),
        st.sampled_from(["/cart", "/cart/now", "/cart/read", "/pay"]),
        st.sampled_from("ab") | st.none(),
    ),
    st.tuples(st.just("step"), index),
    st.tuples(st.just("step"), index),
    st.tuples(
        st.just("answer"),
        index,
        st.sampled_from([200, 200, 500]),
        st.sampled_from(["done", "done", "cut before", "cut after", "outage"]),
    ),
    st.tuples(st.just("cut"), index, st.booleans()),
    st.tuples(st.just("meet_an_outage"), index),
)

GONE_UNDER_THE_LOCK: list[Any] = [
    *(("arrive", "/cart", None), ("step", 0), ("arrive", "/cart", None), ("step", 1)),
    *(("cut", 0, False), ("step", 0), ("meet_an_outage", 0), ("answer", 0, 200, "done")),
]


@pytest.mark.hypothesis  # so that the long profile includes it
def test_no_order_runs_two_at_once_or_one_twice_or_leaves_anything_behind(redis_mw_settings: Settings) -> None:
    settings = replace(redis_mw_settings, rules=RULES, locks=Locks(patience=10, ttl=60, max_hold=600))

    @scaled(1)
    @given(st.lists(moves, min_size=5, max_size=60))
    @example(GONE_UNDER_THE_LOCK)
    def orders(chosen: list[Any]) -> None:
        app = App(replace(settings, prefix=f"{settings.prefix}:{uuid4().hex[:8]}"))
        try:
            account = Account(app)
            for what, *how in chosen:
                if what == "arrive":
                    account.arrive(*how)
                elif account.under_way:
                    flight = account.under_way[how[0] % len(account.under_way)]
                    getattr(account, what)(flight, *how[1:])
            account.end()
            assert app.left_behind() == []
            last = app.begin("/nowhere", cookie=account.cookie)
            app.open(last, eager=True)
            assert last.visit is not None and last.visit.initial == {"n": account.n}
            assert app.rooms.idempotency is not None and not app.rooms.idempotency.memory.leases
            assert app.rooms.limits is not None and not app.rooms.limits.memory.slots
        finally:
            app.close()

    orders()
