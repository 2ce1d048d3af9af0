"""An IPv4 address is the same however a merchant's server spells it."""

import pytest

from payonce.risk.listing import checked_value, networks_around
from payonce.risk.subjects import network_of


@pytest.mark.parametrize("spelled", ["203.0.113.9", "::ffff:203.0.113.9", "::ffff:cb00:7109"])
def test_a_mapped_address_is_counted_and_listed_as_what_it_stands_for(spelled: str) -> None:
    """A server with one socket for both says `::ffff:…` of every customer: they are not one network."""
    assert network_of(spelled) == "203.0.113.9"
    assert "203.0.113.0/24" in networks_around(spelled)
    assert checked_value("address", spelled) == "203.0.113.9/32"


def test_an_ipv6_address_is_counted_by_its_network() -> None:
    assert network_of("2001:db8::1:2:3:4") == "2001:db8::/64"
