"""Lua scripts as they stand beside the Python that calls them, read once when their module is imported.

``KNOWN`` lists them all, so that a driver can load them when it connects and no request pays for it.
"""

import re
from hashlib import sha1
from importlib.resources import files

from redis_mw.flows import Script

KNOWN: list[Script] = []

INCLUDE = re.compile(r"^--include (\w+)\n", re.MULTILINE)


def script(package: str, name: str) -> Script:
    """Read ``<name>.lua`` from ``package`` and make it known to the drivers.

    A line ``--include <name>`` in it stands for what is in that file, there or in the package around it: what several
    scripts share.
    """
    rooms = [files(package), files(package.rpartition(".")[0])]

    def read(name: str) -> str:
        found = next(path for room in rooms if (path := room.joinpath(f"{name}.lua")).is_file())
        text = found.read_text(encoding="utf-8")
        return INCLUDE.sub(lambda found: read(found[1]), text)

    text = read(name)
    loaded = Script(f"{package}.{name}", text, sha1(text.encode(), usedforsecurity=False).hexdigest())
    KNOWN.append(loaded)
    return loaded
