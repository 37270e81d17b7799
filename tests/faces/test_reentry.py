"""Locks that code takes in a request that holds some already; the same in both colours."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

import pytest
from layered import App, placed

from redis_mw import AsyncRedisMW, LeaseLost, Lock, Locks, LockTimeout, Settings, replace
from redis_mw.faces.locks import AsyncLease, RequestLocks, SyncLease


class Face:
    """``mw.locks`` of one colour, always awaited."""

    def __init__(self, mw: Any) -> None:
        self.mw = mw

    async def acquire(self, lock: Any) -> Any:
        lease = lock.acquire()
        return await lease if isawaitable(lease) else lease

    async def release(self, lock: Any) -> None:
        done = lock.release()
        if isawaitable(done):
            await done

    @asynccontextmanager
    async def lock(self, *names: str, **how: Any) -> AsyncIterator[Any]:
        """A block; it waits for nobody."""
        lock = self.mw.locks.lock(*names, **{"wait": 0, **how})
        if hasattr(lock, "__aenter__"):
            async with lock as lease:
                yield lease
        else:
            with lock as lease:
                yield lease


Test = Callable[[App, Face], Awaitable[None]]


@pytest.fixture
def app(redis_mw_settings: Settings) -> Iterator[App]:
    app = App(replace(redis_mw_settings, sessions=None, locks=Locks(patience=10)))
    yield app
    app.close()


@pytest.fixture(params=["threads", "asyncio"])
def tried(request: pytest.FixtureRequest, app: App) -> Callable[[Test], None]:
    """Runs a test's coroutine with the face of a colour; nothing may be left behind."""

    async def on_loop(test: Test) -> None:
        async with AsyncRedisMW(app.settings, rooms=app.rooms) as mw:
            await test(app, Face(mw))

    async def on_threads(test: Test) -> None:
        await test(app, Face(app.mw))

    def run(test: Test) -> None:
        contextvars.copy_context().run(asyncio.run, on_loop(test) if request.param == "asyncio" else on_threads(test))
        assert app.left_behind() == []

    return run


def test_what_the_request_holds_its_code_has_at_once(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed("a"))
        with app.inside(exchange) as locks:
            async with face.lock("a") as lease:
                assert lease.nested and lease.fence == locks.lease.fence and not lease.lost  # type: ignore[union-attr]
                async with face.lock("a", shared=True) as inner:
                    assert inner.nested
            assert len(app.holders("a")) == 1, "it is the request's"
            assert not locks.lease.lost  # type: ignore[union-attr]
        app.finish(exchange)

    tried(test)


def test_only_the_rest_is_taken_of_what_the_request_holds_in_part(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed("a"))
        with app.inside(exchange) as locks:
            async with face.lock("a", "b") as lease:
                assert not lease.nested and lease.names == ("b",)
                assert lease.fence > locks.lease.fence  # type: ignore[union-attr]
                async with face.lock("b", "a") as both:
                    assert both.nested and both.fence == lease.fence
            assert (len(app.holders("a")), len(app.holders("b"))) == (1, 0)
        app.finish(exchange)

    tried(test)


def test_a_lease_is_lost_with_any_of_what_it_stands_on(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed("a"))
        with app.inside(exchange):
            with pytest.raises(LeaseLost):
                async with face.lock("a", "b") as lease:
                    with pytest.raises(LeaseLost):
                        async with face.lock("b", "a") as both:
                            assert exchange.hold is not None and app.rooms.locks is not None
                            app.rooms.locks.lose(exchange.hold, "taken")
                            assert lease.lost and both.lost
            assert app.holders("b") == []
        app.finish(exchange)

    tried(test)


def test_who_reads_may_read_again_and_not_write(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed(Lock("a", shared=True)))
        with app.inside(exchange):
            async with face.lock("a", shared=True) as lease:
                assert lease.nested
            with pytest.raises(LockTimeout):
                async with face.lock("a"):
                    pass
        app.finish(exchange)

    tried(test)


def test_what_code_took_it_has_inside_the_block_and_not_after_it(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/")
        with app.inside(exchange) as locks:
            async with face.lock("b") as lease:
                async with face.lock("b") as inner:
                    assert inner.nested and inner.fence == lease.fence
                assert len(app.holders("b")) == 1 and not lease.lost
            assert app.holders("b") == []
            async with face.lock("b") as again:
                assert not again.nested and again.fence > lease.fence
            assert locks.lease is None, "that of a policy"
        app.finish(exchange)

    tried(test)


def test_one_lock_object_may_be_taken_again_by_who_has_it(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/")
        with app.inside(exchange):
            lock = face.mw.locks.lock("b", wait=0)
            first, second = await face.acquire(lock), await face.acquire(lock)
            assert (first.nested, second.nested) == (False, True)
            await face.release(lock)
            assert len(app.holders("b")) == 1
            await face.release(lock)
            assert app.holders("b") == []
        app.finish(exchange)

    tried(test)


def test_two_tasks_of_one_request_exclude_each_other(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed("a"))
        with app.inside(exchange):
            taken, over = asyncio.Event(), asyncio.Event()

            async def one() -> None:
                async with face.lock("a", "b"):
                    taken.set()
                    await over.wait()

            async def other() -> None:
                await taken.wait()
                async with face.lock("a") as lease:
                    assert lease.nested, "this one the request has for both"
                with pytest.raises(LockTimeout):
                    async with face.lock("b"):
                        pass
                over.set()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(one())
                tasks.create_task(other())
        app.finish(exchange)

    tried(test)


def test_a_task_that_outlives_the_block_does_not_have_what_was_taken_for_it(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/")
        with app.inside(exchange):
            over = asyncio.Event()

            async def later() -> bool:
                await over.wait()
                async with face.lock("b") as lease:
                    return bool(lease.nested)

            async with face.lock("b"):
                task = asyncio.create_task(later())
            over.set()
            assert await task is False
        app.finish(exchange)

    tried(test)


def test_outside_of_a_request_nobody_has_a_lock_already(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        async with face.lock("a"):
            with pytest.raises(LockTimeout):
                async with face.lock("a"):
                    pass

    tried(test)


def test_nothing_goes_from_one_request_to_the_next(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        first, second = app.opened("/", placed("a")), app.opened("/")
        lock = face.mw.locks.lock("b", wait=0)
        with app.inside(first):
            await face.acquire(lock)
        with app.inside(second):
            for name in ("a", "b"):
                with pytest.raises(LockTimeout):
                    async with face.lock(name):
                        pass
        await face.release(lock)
        app.finish(first)
        app.finish(second)

    tried(test)


def test_a_request_that_is_over_holds_nothing_for_its_code(tried: Any) -> None:
    async def test(app: App, face: Face) -> None:
        exchange = app.opened("/", placed("a"))
        with app.inside(exchange):
            app.finish(exchange)
            async with face.lock("a") as lease:
                assert not lease.nested

    tried(test)


def test_locks_of_another_application_are_others(app: App, redis_mw_settings: Settings) -> None:
    other = App(replace(redis_mw_settings, prefix=f"{redis_mw_settings.prefix}-other"))
    exchange = app.opened("/", placed("a"))
    with app.inside(exchange), other.mw.locks.lock("a", wait=0) as lease:
        assert not lease.nested
    app.finish(exchange)
    other.close()


def test_the_lease_of_a_request_is_of_the_colour_of_its_driver(app: App) -> None:
    exchange = app.opened("/", placed("a"))

    async def on_loop() -> None:
        async with AsyncRedisMW(app.settings, rooms=app.rooms) as mw:
            lease = RequestLocks(mw.driver, exchange).lease
            assert isinstance(lease, AsyncLease)
            await lease.extend(60)

    asyncio.run(on_loop())
    locks = RequestLocks(app.mw.driver, exchange)
    assert isinstance(locks.lease, SyncLease) and locks.lease is locks.lease
    locks.lease.extend(30)
    app.finish(exchange)
