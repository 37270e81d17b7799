"""What a cache keeps, looked at past it: one server, or the servers of a cluster."""

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.cluster import ClusterNode, RedisCluster

from redis_mw import Settings


def kept_by(settings: Settings) -> Any:
    """A client of the server, or of the cluster, on which the cache of these settings lives."""
    url = settings.url_of("cache")
    if not settings.spreads_cache:
        return redis.Redis.from_url(url)
    places = [urlsplit(f"//{place}") for place in urlsplit(url).netloc.split(",")]
    return RedisCluster(startup_nodes=[ClusterNode(str(place.hostname), place.port or 0) for place in places])


def listeners(client: Any, channel: str) -> int:
    """How many connections are subscribed to a channel, wherever they are."""
    nodes = client.get_primaries() if isinstance(client, RedisCluster) else [None]
    told = [
        client.execute_command("PUBSUB NUMSUB", channel, **({"target_nodes": node} if node else {})) for node in nodes
    ]
    return sum(int(count) for ((_, count),) in told)
