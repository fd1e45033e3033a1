"""Rows of the hypertable as rows for the rules."""

import datetime as dt

from voltd.rules import model
from voltd.rules.cycle import pieces

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def test_each_value_keeps_its_name():
    """The queries send what rules watch in the order of the declaration; each value is the metric's of that name."""
    values = {metric.value: float(number) for number, metric in enumerate(model.TELEMETRY)}
    piece = pieces.Piece("V1", NOW, NOW)
    (read,) = pieces.rows(piece, [(1, NOW, NOW, *values.values(), "CHARGING", False, None)], None, None, NOW)
    before = pieces.context(piece, (NOW, NOW, *values.values()))
    for row in (read, before):
        assert {name: getattr(row, name) for name in values} == values
    assert read.worded
    assert before.context
