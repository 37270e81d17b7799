"""Lua scripts as they stand beside the Python that calls them, read once when their module is imported.

``KNOWN`` lists them all, so that a driver can load them when it connects and no request pays for it.
"""

from hashlib import sha1
from importlib.resources import files

from redis_mw.flows import Script

KNOWN: list[Script] = []


def script(package: str, name: str, *before: str) -> Script:
    """Read ``<name>.lua`` from ``package`` and make it known to the drivers; ``before`` it the files that it needs."""
    parts = [files(package).joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in (*before, name)]
    text = "".join(parts)
    loaded = Script(f"{package}.{name}", text, sha1(text.encode(), usedforsecurity=False).hexdigest())
    KNOWN.append(loaded)
    return loaded
