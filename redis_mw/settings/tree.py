"""The root of the settings: what holds for every feature, and the three ways to build the tree."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from redis_mw.errors import Problem, SettingsError
from redis_mw.events import Event
from redis_mw.flows import Role
from redis_mw.settings.environment import gathered
from redis_mw.settings.features import Cache, Idempotency, Limits, Locks
from redis_mw.settings.must import Count, CountOrZero, Positive
from redis_mw.settings.part import Part
from redis_mw.settings.policies import Rule
from redis_mw.settings.reading import Reader
from redis_mw.settings.sessions import Sessions
from redis_mw.settings.texts import DottedPath, Host, KeyPrefix, Network, OldSecret, Secret
from redis_mw.settings.urls import RoleName, ServerUrl, is_cluster, masked


class Settings(Part, frozen=True, kw_only=True):
    """One frozen tree of everything that can be set; what exists of it is right.

    However it is built, every value in it has been checked; SettingsError lists all that is wrong at once. A feature
    that is None is off. ``repr`` shows no secret and no password.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"secret", "old_secrets"})
    root: ClassVar[bool] = True

    url: ServerUrl | dict[RoleName, ServerUrl] = "redis://127.0.0.1:6379/0"
    prefix: KeyPrefix = "rmw"
    secret: Secret = ""
    old_secrets: list[OldSecret] = []
    connect: Literal["eager", "lazy"] = "lazy"
    warm_up: Positive = 2.0
    patience: Positive = 0.1
    connect_within: Positive = 0.1
    read_replicas: bool = False
    wait_replicas: CountOrZero = 0
    pool: Count = 32
    workers: Count | None = None
    trusted_proxies: list[Network] | CountOrZero = []
    allowed_hosts: list[Host] = []
    debug_headers: bool = False
    on_event: list[Callable[[Event], None] | DottedPath] = []
    rules: list[Rule] = []
    sessions: Sessions | None = msgspec.field(default_factory=Sessions)
    cache: Cache | None = msgspec.field(default_factory=Cache)
    limits: Limits | None = msgspec.field(default_factory=Limits)
    locks: Locks | None = msgspec.field(default_factory=Locks)
    idempotency: Idempotency | None = msgspec.field(default_factory=Idempotency)

    def __post_init__(self) -> None:
        reader = Reader()
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        for name, value in reader.fields(type(self), given, "").items():
            msgspec.structs.force_setattr(self, name, value)
        reader.problems.extend(self.contradictions(""))
        if reader.problems:
            raise SettingsError(reader.problems) from None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Settings":
        """The settings a mapping of the same names spells, nested parts and rules being mappings too."""
        return cls._built(mapping, [])

    @classmethod
    def from_env(cls, prefix: str = "REDIS_MW_", environ: Mapping[str, Any] = os.environ) -> "Settings":
        """The settings of the environment: ``REDIS_MW_URL``, ``REDIS_MW_SESSIONS__IDLE=900``.

        Lists are JSON or separated by commas, mappings JSON; ``none`` or nothing turns a feature off. A name under the
        prefix that is not known is an error, but for those of the integrations' own and of the tests (``FOREIGN``).
        """
        mapping, problems = gathered(cls, prefix, environ)
        return cls._built(mapping, problems)

    @classmethod
    def _built(cls, mapping: Any, problems: list[Problem]) -> "Settings":
        if not isinstance(mapping, Mapping):
            raise SettingsError([Problem("settings", f"is a {type(mapping).__name__}", "give a mapping")])
        known = {name: value for name, value in mapping.items() if name in cls.__struct_fields__}
        problems += [cls.unknown("", str(name)) for name in mapping if name not in cls.__struct_fields__]
        try:
            settings = cls(**known)
        except SettingsError as error:
            raise SettingsError([*problems, *error.problems]) from None
        if problems:
            raise SettingsError(problems)
        return settings

    def contradictions(self, path: str) -> Iterator[Problem]:
        if isinstance(self.url, dict) and "default" not in self.url:
            yield Problem("url.default", "is missing", "name the server of the roles that have none of their own")
        urls = list(self.url.items()) if isinstance(self.url, dict) else [("", self.url)]
        remedy = 'give {"default": "redis://...", "cache": "cluster://..."}'
        for role, url in urls:
            if is_cluster(url) and role != "cache":
                yield Problem(f"url.{role}" if role else "url", "a cluster can hold the cache only", remedy)
        if self.read_replicas and not any(is_cluster(url) for _, url in urls):
            yield Problem("read_replicas", "the cache has one server, without replicas", remedy)

    def shown(self, name: str) -> Any:
        return masked(self.url) if name == "url" else super().shown(name)

    @property
    def spreads_cache(self) -> bool:
        """Whether the cache lives on several servers, so that not all of its keys can be read at once."""
        return is_cluster(self.url_of("cache"))

    def url_of(self, role: Role) -> str:
        """The url of the server that a role lives on: its own, else the default one's."""
        if isinstance(self.url, str):
            return self.url
        return self.url.get(role) or self.url["default"]
