"""Endpoints: what a url says, and what of it is refused."""

import ssl
from pathlib import Path

import pytest

from redis_mw.engine.endpoint import Endpoint
from redis_mw.errors import SettingsError


def test_a_bare_url_is_the_local_server_introduced_in_resp3() -> None:
    endpoint = Endpoint.from_url("redis://")
    assert (endpoint.host, endpoint.port, endpoint.path, endpoint.db) == ("127.0.0.1", 6379, "", 0)
    assert endpoint.handshake()[0] == ("HELLO", 3, "SETNAME", "redis-mw")
    assert endpoint.required == 1
    assert endpoint.ssl_context() is None


def test_credentials_are_unquoted_and_sent_with_hello() -> None:
    endpoint = Endpoint.from_url("redis://shop:p%40ss%2F@db.example:7000/3")
    assert endpoint.handshake()[:2] == (("HELLO", 3, "AUTH", "shop", "p@ss/", "SETNAME", "redis-mw"), ("SELECT", 3))
    assert endpoint.required == 2


def test_a_password_alone_is_the_default_users() -> None:
    assert Endpoint.from_url("redis://:pw@h").handshake()[0][:5] == ("HELLO", 3, "AUTH", "default", "pw")


@pytest.mark.parametrize("url", ["redis://user:hidden@h/2", "rediss://:hidden@h", "unix://:hidden@/run/redis.sock"])
def test_neither_name_nor_repr_shows_the_password(url: str) -> None:
    endpoint = Endpoint.from_url(url)
    assert endpoint.password == "hidden"
    assert "hidden" not in endpoint.name and "hidden" not in repr(endpoint)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://[::1]:7000/1", "redis://[::1]:7000/1"),
        ("rediss://h:1/2", "rediss://h:1/2"),
        ("unix:///run/redis.sock?db=4", "unix:///run/redis.sock/4"),
    ],
)
def test_the_name_says_where_the_server_is(url: str, name: str) -> None:
    assert Endpoint.from_url(url).name == name


def test_a_socket_has_a_path_and_its_database_in_the_query() -> None:
    endpoint = Endpoint.from_url("unix:///run/my%20redis.sock?db=4")
    assert (endpoint.path, endpoint.db) == ("/run/my redis.sock", 4)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://h", "scheme"),
        ("redis://h:port", "Port"),
        ("redis://h/shop", "database"),
        ("redis://h?db=x", "db"),
        ("unix://", "socket"),
        ("redis://h?socket_timeout=3", "socket_timeout"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=perhaps", "perhaps"),
        ("rediss://h?ssl_ca_certs=/does/not/exist", "TLS"),
        ("rediss://h?ssl_keyfile=/k", "ssl_keyfile"),
        ("rediss://h?ssl_ciphers=NOTHING", "TLS"),
    ],
)
def test_what_cannot_work_is_refused_by_name(url: str, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _ = Endpoint.from_url(url)
    (problem,) = caught.value.problems
    assert problem.path == "url"
    assert word in problem.message
    assert problem.remedy


def test_tls_verifies_name_and_certificate_unless_told_otherwise() -> None:
    context = Endpoint.from_url("rediss://h").ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_tls_options_of_the_url_reach_the_context(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    url = f"rediss://h?ssl_ca_certs={cert}&ssl_certfile={cert}&ssl_keyfile={key}&ssl_check_hostname=false&ssl_min_version=772"
    context = Endpoint.from_url(url).ssl_context()
    assert context is not None
    assert context.check_hostname is False
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.cert_store_stats()["x509"] == ssl.create_default_context().cert_store_stats()["x509"] + 1


def test_verification_can_be_switched_off_by_name() -> None:
    context = Endpoint.from_url("rediss://h?ssl_cert_reqs=none").ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
