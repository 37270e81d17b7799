"""The driver for threads. ``driver`` performs flows; behind it ``link`` is one server, ``pool`` its connections,
``fleet`` the servers of a cluster.
"""

from redis_mw.engine.sync.driver import SyncDriver

__all__ = ["SyncDriver"]
