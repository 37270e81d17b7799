"""Settings: one frozen, checked tree, and the values it is made of.

A ground stone: it does no I/O, and imports nothing of the layer or of any feature.
"""

from redis_mw.settings.callables import resolve as resolve
from redis_mw.settings.defaults import Default as Default
from redis_mw.settings.defaults import is_default as is_default
from redis_mw.settings.durations import Duration as Duration
from redis_mw.settings.durations import microseconds as microseconds
from redis_mw.settings.durations import seconds as seconds
from redis_mw.settings.features import Cache as Cache
from redis_mw.settings.features import Idempotency as Idempotency
from redis_mw.settings.features import Limits as Limits
from redis_mw.settings.features import Locks as Locks
from redis_mw.settings.part import replace as replace
from redis_mw.settings.policies import Cached as Cached
from redis_mw.settings.policies import Idempotent as Idempotent
from redis_mw.settings.policies import Limit as Limit
from redis_mw.settings.policies import Lock as Lock
from redis_mw.settings.policies import Policy as Policy
from redis_mw.settings.policies import Rule as Rule
from redis_mw.settings.policies import Strikes as Strikes
from redis_mw.settings.sessions import Cookie as Cookie
from redis_mw.settings.sessions import Sessions as Sessions
from redis_mw.settings.tree import Settings as Settings
