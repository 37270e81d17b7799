"""What the tests of applications need: a private server, a count of round trips, an outage at will.

The pytest plugin beside this (``plugin``) comes with the installation and brings the fixtures ``redis_mw_url`` and
``redis_mw_settings``. Nothing here needs pytest.
"""

from redis_mw.testing.counting import RoundTrips as RoundTrips
from redis_mw.testing.counting import count_round_trips as count_round_trips
from redis_mw.testing.outages import outage as outage
from redis_mw.testing.servers import embedded as embedded
