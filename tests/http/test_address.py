from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_mw.http.address import Proxies, client_address, parsed, shortened
from redis_mw.http.request import Fields

OURS = Proxies.of(["10.0.0.0/8", "2001:db8::/32"])


def asked(peer, proxies=OURS, *, xff=None, forwarded=None):
    pairs = [("X-Forwarded-For", value) for value in ([xff] if isinstance(xff, str) else xff or [])]
    pairs += [("Forwarded", value) for value in ([forwarded] if isinstance(forwarded, str) else forwarded or [])]
    return client_address(peer, Fields(tuple(pairs)), proxies)


def test_nobody_is_believed_unless_trusted():
    assert asked("203.0.113.9", xff="198.51.100.1") == "203.0.113.9"
    assert asked("203.0.113.9", Proxies.of([]), xff="198.51.100.1") == "203.0.113.9"
    assert asked("10.0.0.1", Proxies.of(0), xff="198.51.100.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("xff", "client"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
        (["6.6.6.6", "198.51.100.1 , 10.0.0.7"], "198.51.100.1"),
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:DB9::1]:4711", "2001:db9::1"),
        ("[2001:db9::1]", "2001:db9::1"),
        ("2001:db9:0::1", "2001:db9::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("198.51.100.1, junk", "10.0.0.1"),
        ("junk, 198.51.100.1", "198.51.100.1"),
        ("198.51.100.1, , 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
        ("fe80::1%eth0", "10.0.0.1"),
        ("1.2.3.4:port", "10.0.0.1"),
        ("[1.2.3.4]:80", "10.0.0.1"),
    ],
)
def test_the_walk_goes_from_the_right_and_stops_at_the_first_stranger(xff, client):
    assert asked("10.0.0.1", xff=xff) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('proto=https;For="198.51.100.1:80" ; by=10.0.0.1', "198.51.100.1"),
        ('for=6.6.6.6, for="[2001:db9::17]:4711"', "2001:db9::17"),
        ('for=198.51.100.1;host="a,b;for=6.6.6.6", for=10.1.1.1', "198.51.100.1"),
        (["for=6.6.6.6", "for=198.51.100.1, for=10.1.1.1"], "198.51.100.1"),
        ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
        ("for=unknown, for=10.2.2.2", "10.2.2.2"),
        ("for=198.51.100.1, proto=https", "10.0.0.1"),
        ('for="198.51.100.1', "10.0.0.1"),
        ('for="198\\.51.100.1"', "198.51.100.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_writes_it(forwarded, client):
    assert asked("10.0.0.1", forwarded=forwarded) == client


def test_where_the_two_fields_disagree_neither_is_believed():
    assert asked("10.0.0.1", xff="198.51.100.1", forwarded="for=198.51.100.1") == "198.51.100.1"
    assert asked("10.0.0.1", xff="198.51.100.1", forwarded="for=6.6.6.6") == "10.0.0.1"


@pytest.mark.parametrize(
    ("hops", "client"), [(1, "10.9.9.9"), (2, "203.0.113.5"), (3, "6.6.6.6"), (4, "6.6.6.6"), (0, "192.0.2.1")]
)
def test_a_number_of_proxies_is_counted_from_the_right(hops, client):
    assert asked("192.0.2.1", Proxies.of(hops), xff="6.6.6.6, 203.0.113.5, 10.9.9.9") == client


def test_a_peer_without_an_address_is_itself():
    assert asked("testclient", xff="6.6.6.6") == "testclient"
    assert asked(None, xff="6.6.6.6") is None
    assert asked(None, Proxies.of(1), xff="6.6.6.6") == "6.6.6.6"
    assert asked(None, Proxies.of(1)) is None
    assert asked("::ffff:203.0.113.9") == "203.0.113.9"


def test_networks_written_as_ipv4_in_ipv6_are_meant_as_ipv4():
    assert asked("10.0.0.1", Proxies.of(["::ffff:10.0.0.0/104"]), xff="198.51.100.1") == "198.51.100.1"


addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6) | st.ip_addresses(v=4, network="10.0.0.0/8")


def written(address, how):
    if address.version == 4:
        return [str(address), f"{address}:80", f"::ffff:{address}"][how]
    return [str(address), f"[{address}]:80", f"[{address.exploded}]"][how]


def unwrapped(address):
    return getattr(address, "ipv4_mapped", None) or address


@given(addresses, st.lists(st.tuples(addresses | st.none(), st.integers(0, 2)), max_size=6))
def test_the_walk_agrees_with_its_plain_model(peer, chain):
    """The model: write everybody down from near to far; the client is the first stranger, or the last one readable."""
    texts = ["junk" if address is None else written(address, how) for address, how in chain]
    everybody = [unwrapped(peer)]
    for address, _ in reversed(chain):
        if address is None:
            break
        everybody.append(unwrapped(address))
    ours = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
    strangers = [one for one in everybody if not any(one in network for network in ours)]
    expected = str(strangers[0] if strangers else everybody[-1])
    assert asked(str(peer), xff=",".join(texts) if texts else None) == expected
    quoted = ", ".join(f'for="{text}"' for text in texts)
    assert asked(str(peer), forwarded=quoted or None) == expected
    for hops in range(4):
        model = str(everybody[min(hops, len(everybody) - 1)])
        assert asked(str(peer), Proxies.of(hops), xff=texts) == model


@given(addresses, st.integers(0, 2))
def test_an_address_is_read_in_each_of_its_spellings(address, how):
    assert parsed(written(address, how)) == unwrapped(address)


@given(st.text() | st.text('0123456789abcdef.:[]%"\\,;=for '), st.text() | st.text('for=";,\\ _:[]1.'))
@example("0" * 5000, 'for="' + "\\" * 5000)
def test_anything_may_be_sent(xff, forwarded):
    for proxies in (OURS, Proxies.of(3)):
        found = asked("10.0.0.1", proxies, xff=xff, forwarded=forwarded)
        assert str(ip_address(found)) == found
    assert shortened(xff) == "" or ip_network(shortened(xff)).prefixlen in (24, 48)


@given(st.ip_addresses())
def test_a_shortened_address_is_the_network_it_lives_in(address):
    plain = unwrapped(address)
    network = ip_network(shortened(str(address)))
    assert plain in network and network.prefixlen == (24 if plain.version == 4 else 48)


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("testclient", ""),
        ("", ""),
    ],
)
def test_examples_of_shortened_addresses(address, short):
    assert shortened(address) == short
