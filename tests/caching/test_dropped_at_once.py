"""What a process drops itself it does not serve from its own memory, though nobody has told it of the change yet."""

from typing import Any

import pytest

from redis_mw import RedisMW, Settings
from redis_mw.caching.pages.keep import purge
from redis_mw.caching.pages.names import Url
from redis_mw.caching.tags import name_of
from redis_mw.caching.values.write import drop_tags

URL = Url("http", "site", "/page")
TAG = name_of("product:1")


@pytest.mark.parametrize(
    "dropping",
    [
        lambda room: purge(room, [URL]),
        lambda room: drop_tags(room, [TAG], soft=False),
        lambda room: drop_tags(room, [TAG], soft=True),
    ],
    ids=["purged", "dropped by a tag", "made stale by a tag"],
)
def test_a_page_that_this_process_drops_is_gone_from_its_memory_at_once(
    redis_mw_settings: Settings, dropping: Any
) -> None:
    with RedisMW(redis_mw_settings) as mw:
        room: Any = mw.rooms.caching
        local = room.memory.local
        local.begin()  # nobody else tells it anything
        depends = room.pages.depends(URL.name, [TAG])
        before = local.mark()
        assert local.keep(before, "page", "body", 4, depends)
        assert local.get("page") == "body"
        assert mw.driver.run(dropping(room))
        assert local.get("page") is None
        assert not local.keep(before, "page", "body", 4, depends), "a read that began before is not kept either"
