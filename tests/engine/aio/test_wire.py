"""One wire: pipelining, its one timer, late replies, flow control. Against a real server."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from examples import scaled
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from redis_mw.engine.aio.lane import opened
from redis_mw.engine.aio.wire import Exchange, Wire
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.errors import CommandError, RedisUnavailable


def exchange(*commands: tuple[Any, ...], patience: float = 1.0, quick: bool = False) -> Exchange:
    return Exchange(asyncio.get_running_loop(), packed(commands), len(commands), patience, quick)


async def wire_to(url: str, wire: Wire | None = None) -> Wire:
    wire = wire or Wire(asyncio.get_running_loop())
    await opened(Endpoint.from_url(url), wire, 2.0)
    return wire


class CountedWrites(asyncio.Transport):
    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class CountingWire(Wire):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.counted = CountedWrites(cast(asyncio.Transport, transport))
        super().connection_made(self.counted)


BATCHES = st.lists(
    st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), max_size=4), min_size=1, max_size=8
)


@scaled(0.1, HealthCheck.function_scoped_fixture)
@given(tasks=BATCHES)
def test_every_batch_of_every_task_gets_its_own_replies(
    tasks: list[list[list[int]]], on_loop: Callable[..., None], server: EmbeddedServer
) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)

        async def task(batches: list[list[int]]) -> None:
            for numbers in batches:
                one = exchange(*[("ECHO", number) for number in numbers])
                wire.send(one)
                assert await one.settled() == [str(number).encode() for number in numbers]

        await asyncio.gather(*[task(batches) for batches in tasks])
        wire.close()

    on_loop(main)


def test_all_batches_of_a_turn_leave_in_two_writes_the_first_at_once(
    on_loop: Callable[..., None], server: EmbeddedServer
) -> None:
    async def main() -> None:
        wire = CountingWire(asyncio.get_running_loop())
        await wire_to(server.url, wire)
        await asyncio.sleep(0)
        wire.counted.writes.clear()
        batches = [exchange(("ECHO", number)) for number in range(200)]
        wire.send(batches[0])
        assert wire.counted.writes == [packed([("ECHO", 0)])]
        for batch in batches[1:]:
            wire.send(batch)
        replies = [await batch.settled() for batch in batches]
        assert replies == [[str(number).encode()] for number in range(200)]
        assert len(wire.counted.writes) == 2
        wire.close()

    on_loop(main)


def test_an_error_reply_is_a_value_and_reaches_its_own_command_only(
    on_loop: Callable[..., None], server: EmbeddedServer
) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)
        batch = exchange(("SET", "text", "x"), ("INCR", "text"), ("LPUSH", "text", 1), ("GET", "text"))
        wire.send(batch)
        ok, not_a_number, wrong_type, text = await batch.settled()
        assert (ok, text) == (b"OK", b"x")
        assert isinstance(not_a_number, CommandError) and not_a_number.code == "ERR"
        assert isinstance(wrong_type, CommandError) and wrong_type.code == "WRONGTYPE"
        wire.close()

    on_loop(main)


def test_replies_have_the_shapes_of_resp3(on_loop: Callable[..., None], server: EmbeddedServer) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)
        batch = exchange(("DEL", "shape"), ("HSET", "shape", "a", 1), ("HGETALL", "shape"), ("GET", "nothing"))
        wire.send(batch)
        assert (await batch.settled())[2:] == [{b"a": b"1"}, None]
        wire.close()

    on_loop(main)


def test_an_overdue_batch_fails_alone_and_its_late_reply_is_nobody_elses(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with link() as line:
            wire = await wire_to(line.url)
            line.connections[0].hold()
            hasty, patient = exchange(("ECHO", "hasty"), patience=0.05), exchange(("ECHO", "patient"), patience=5.0)
            wire.send(hasty)
            wire.send(patient)
            assert isinstance((await hasty.settled())[0], RedisUnavailable)
            assert not patient.over
            line.connections[0].release()
            assert await patient.settled() == [b"patient"]
            after = exchange(("ECHO", "after"))
            wire.send(after)
            assert await after.settled() == [b"after"]
            assert wire.usable
            wire.close()

    on_loop(main)


def test_replies_that_came_in_time_are_kept_when_the_rest_of_their_batch_is_overdue(
    on_loop: Callable[..., None], server: EmbeddedServer
) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)
        batch = exchange(("ECHO", "first"), ("BLPOP", "no such list", 20), ("ECHO", "last"), patience=1.0)
        wire.send(batch)
        first, second, last = await batch.settled()
        assert first == b"first"
        assert isinstance(second, RedisUnavailable) and isinstance(last, RedisUnavailable)
        wire.close()

    on_loop(main)


def test_a_silent_wire_takes_nothing_new_but_ends_only_when_nobody_is_within_his_patience(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        order: list[str] = []
        async with link() as line:
            loop = asyncio.get_running_loop()
            ended = loop.create_future()

            def on_end(reason: str, busy: bool) -> None:
                order.append("end")
                ended.set_result((reason, busy))

            wire = Wire(loop, on_overdue=lambda _: order.append("overdue"), on_end=on_end)
            await wire_to(line.url, wire)
            line.connections[0].hold()
            hasty, patient = exchange(("ECHO", 1), patience=0.05), exchange(("ECHO", 2), patience=1.5)
            wire.send(hasty)
            wire.send(patient)
            _ = await hasty.settled()
            assert wire.usable
            assert isinstance((await patient.settled())[0], RedisUnavailable)
            assert not wire.usable
            assert await ended == ("the server fell silent", False)
            assert order == ["overdue", "end", "overdue"]
            late = exchange(("ECHO", 3))
            wire.send(late)
            assert isinstance((await late.settled())[0], RedisUnavailable)

    on_loop(main)


def test_a_silent_wire_whose_replies_come_after_all_gives_them_and_ends(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with link() as line:
            loop = asyncio.get_running_loop()
            ended = loop.create_future()
            wire = Wire(loop, on_end=lambda _reason, busy: ended.set_result(busy))
            await wire_to(line.url, wire)
            line.connections[0].hold()
            hasty, patient = exchange(("ECHO", 1), patience=0.8), exchange(("ECHO", 2), patience=30.0)
            wire.send(hasty)
            wire.send(patient)
            assert isinstance((await hasty.settled())[0], RedisUnavailable)
            assert not wire.usable
            line.connections[0].release()
            assert await patient.settled() == [b"2"]
            async with asyncio.timeout(20):
                assert await ended is False

    on_loop(main)


def test_a_loop_that_stalls_longer_than_the_patience_makes_no_false_deadline(
    on_loop: Callable[..., None], server: EmbeddedServer
) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)

        async def ask(number: int) -> Any:
            one = exchange(("ECHO", number), patience=0.05)
            wire.send(one)
            return (await one.settled())[0]

        async def busy_handler() -> None:
            time.sleep(0.15)  # noqa: ASYNC251

        for _ in range(3):
            before = [asyncio.create_task(ask(number)) for number in range(20)]
            stall = asyncio.create_task(busy_handler())
            after = [asyncio.create_task(ask(number)) for number in range(20, 40)]
            replies = await asyncio.gather(*before, *after)
            await stall
            assert replies == [str(number).encode() for number in range(40)]
        wire.close()

    on_loop(main)


def test_a_cancelled_waiter_leaves_its_batch_running_and_may_ask_again(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with link() as line:
            wire = await wire_to(line.url)
            line.connections[0].hold()
            batch = exchange(("ECHO", "kept"))
            wire.send(batch)
            waiter = asyncio.create_task(batch.settled())
            await asyncio.sleep(0)
            waiter.cancel()
            _ = await asyncio.wait({waiter})
            assert waiter.cancelled() and not batch.over
            line.connections[0].release()
            assert await batch.settled() == [b"kept"]
            wire.close()

    on_loop(main)


def test_a_reset_connection_fails_every_pending_batch_and_is_told_once(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with link() as line:
            ends: list[bool] = []
            wire = Wire(asyncio.get_running_loop(), on_end=lambda _reason, busy: ends.append(busy))
            await wire_to(line.url, wire)
            line.connections[0].hold()
            batches = [exchange(("ECHO", number)) for number in range(10)]
            for batch in batches:
                wire.send(batch)
            line.reset()
            for batch in batches:
                assert isinstance((await batch.settled())[0], RedisUnavailable)
            later = exchange(("ECHO", 1))
            wire.send(later)
            assert isinstance((await later.settled())[0], RedisUnavailable)
            assert ends == [True]

    on_loop(main)


def test_large_batches_pass_a_transport_that_pauses(on_loop: Callable[..., None], server: EmbeddedServer) -> None:
    async def main() -> None:
        wire = await wire_to(server.url)
        bodies = [bytes([65 + number]) * 3_000_000 for number in range(6)]
        batches = [exchange(("ECHO", body), patience=10.0) for body in bodies]
        for batch in batches:
            wire.send(batch)
            await asyncio.sleep(0)
        for batch, body in zip(batches, bodies, strict=True):
            assert await batch.settled() == [body]
        wire.close()

    on_loop(main)


def test_pushes_do_not_disturb_the_order_of_replies(on_loop: Callable[..., None], server: EmbeddedServer) -> None:
    async def main() -> None:
        pushes: list[Any] = []
        wire = Wire(asyncio.get_running_loop(), on_push=pushes.append)
        await wire_to(server.url, wire)
        batch = exchange(
            ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "watched:"), ("SET", "watched:1", 1), ("ECHO", "end")
        )
        wire.send(batch)
        assert (await batch.settled())[2] == b"end"
        again = exchange(("ECHO", "again"))
        wire.send(again)
        assert await again.settled() == [b"again"]
        assert [b"invalidate", [b"watched:1"]] in pushes
        wire.close()

    on_loop(main)


def test_a_refused_handshake_says_so(on_loop: Callable[..., None], server: EmbeddedServer) -> None:
    async def main() -> None:
        for part, code in (("nobody:wrong@", "WRONGPASS"), ("", "ERR")):
            url = server.url.replace("redis://", f"redis://{part}").replace("/0", "/0" if part else "/9999")
            with pytest.raises(RedisUnavailable) as refused:
                _ = await wire_to(url)
            assert code in refused.value.reason and "wrong@" not in refused.value.reason

    on_loop(main)


def test_overdue_batches_are_answered_even_if_the_loop_stalls_again_and_again(
    on_loop: Callable[..., None], link: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with link() as line:
            wire = await wire_to(line.url)
            line.connections[0].hold()
            batch = exchange(("ECHO", 1), patience=0.05)
            wire.send(batch)
            stalls = 0
            while not batch.over:
                time.sleep(0.02)  # noqa: ASYNC251
                await asyncio.sleep(0)
                stalls += 1
            assert isinstance(batch.replies[0], RedisUnavailable)
            wire.close()

    on_loop(main)
