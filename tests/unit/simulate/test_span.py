"""From when to when a recording goes although a few clocks were wrong."""

import datetime as dt

import pytest

from voltd.simulate.replay import span

NOW_S = dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()
DAY = span.DAY_S


def _span(*times):
    found = span.RecordedTimes()
    for line, text in enumerate(times, start=2):
        found.add(line, text if isinstance(text, float) else dt.datetime.fromisoformat(text).timestamp())
    return found.span(NOW_S)


def _at(text):
    return dt.datetime.fromisoformat(text).timestamp()


def test_one_row_in_the_future():
    """A row dated 2032 decides nothing, wherever it is and however few the others are; it is named."""
    found = _span("2021-03-29T11:00:00Z", "2032-01-01T00:00:00Z", "2021-03-29T11:00:10Z")
    assert (found.first_s, found.last_s) == (_at("2021-03-29T11:00:00Z"), _at("2021-03-29T11:00:10Z"))
    assert found.outliers == (span.Outlier(1, 3, _at("2032-01-01T00:00:00Z")),)
    assert _span("2021-03-29T11:00:00Z", "2032-01-01T00:00:00Z").last_s == _at("2021-03-29T11:00:00Z")


def test_clocks_that_were_never_set():
    """1970 and 1980 do not decide when a recording begins."""
    found = _span("1970-01-01T00:00:05Z", "1980-01-06T00:00:00Z", "2026-10-01T12:00:00Z", "2026-10-01T12:00:01Z")
    assert found.first_s == _at("2026-10-01T12:00:00Z")
    assert sorted(outlier.line for outlier in found.outliers) == [2, 3]


def test_a_year_off():
    """A lone row a year away from an hour of rows is left out, earlier or later, though the calendar allows it."""
    hour = [_at("2026-10-01T12:00:00Z") + 10.0 * n for n in range(360)]
    for odd in ("2025-10-01T12:00:00Z", "2024-02-29T00:00:00Z"):
        assert _span(*hour, odd).first_s == hour[0]
    assert _span(*[second - 400 * DAY for second in hour], "2026-10-01T12:00:00Z").outliers[0].rows == 1


def test_two_months_off():
    """A month swapped with another: a lone row two months away from an hour of rows."""
    hour = [_at("2026-08-01T12:00:00Z") + 10.0 * n for n in range(360)]
    assert _span(*hour, "2026-10-01T12:00:00Z").last_s == hour[-1]


@pytest.mark.parametrize(
    "times",
    [
        [NOW_S - 60 * DAY, NOW_S - 60 * DAY + 1, NOW_S - DAY],  # too few to say how far they reach
        [NOW_S - 90 * DAY + n * 30 * DAY for n in range(3)],  # one reading a month
        [NOW_S - 400 * DAY, NOW_S - DAY],  # two readings: nobody knows which is wrong
        [NOW_S - 60 * DAY, NOW_S - 60 * DAY + 5, NOW_S - 40 * DAY],  # a trip, and three weeks later another
        [NOW_S + DAY / 2, NOW_S],  # a zone ahead of ours
        [NOW_S + 900 * DAY, NOW_S + 900 * DAY + 1, NOW_S + 890 * DAY],  # all ahead: made on purpose
        [_at("1995-01-01T00:00:00Z"), _at("1995-01-01T00:00:01Z")],
        [NOW_S + n * DAY / 4 for n in range(8)],  # the next two days
        [NOW_S],
    ],
)
def test_rows_that_belong_together(times):
    """Gaps between trips, few rows, and recordings that are odd as a whole leave nothing out."""
    found = _span(*[float(time) for time in times])
    assert (found.first_s, found.last_s, found.outliers) == (min(times), max(times), ())


def test_no_times():
    """Nothing is the span of nothing."""
    assert _span() is None
