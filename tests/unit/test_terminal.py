"""Times as people write them to commands."""

import argparse
import datetime as dt

import pytest

from voltd import terminal


def test_today_and_yesterday_begin_at_midnight():
    """In the zone of times without offset: here one in which it is never the same hour as in UTC."""
    zone = dt.timezone(dt.timedelta(hours=13))
    midnight = dt.datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    assert terminal.moment("today", zone) == midnight
    assert terminal.moment("yesterday", zone) == midnight - dt.timedelta(days=1)
    assert terminal.moment("today").astimezone().time() == dt.time()


@pytest.mark.parametrize("text", ["last week", "1w", "", "tomorrow"])
def test_what_is_no_time_is_refused_with_what_is(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"no time such as .*, no span .*, nor today or yesterday"):
        terminal.moment(text)
