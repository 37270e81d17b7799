"""The Django application: it brings the system checks, nothing else has to be registered."""

from django.apps import AppConfig


class RedisMWConfig(AppConfig):
    """``INSTALLED_APPS = [..., "redis_mw_django"]``."""

    name = "redis_mw_django"
    label = "redis_mw"
    verbose_name = "redis-mw"

    def ready(self) -> None:
        from redis_mw_django import checks

        checks.register_all()
