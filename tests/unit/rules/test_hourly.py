"""What a figure of an hour says to a rule: it fires where the favourable bound is beyond the limit, too."""

import pytest

from voltd.rules import hourly, model

STEPS = [{"severity": "critical", "below": 60.0}]
LOW = {"fire_below": 80.0, "clear_above": 84.0, "severity_steps": STEPS}
HIGH = {"fire_above": 100.0, "clear_below": 98.0}


def _rule(**limits):
    return model.Rule.model_validate(
        {"name": "efficiency", "metric": "efficiency_pct", "applies_to": ["vehicle"], **limits}
    )


@pytest.mark.parametrize(
    ("limits", "value", "low", "high", "expected"),
    [
        (LOW, 70.0, 65.0, 79.9, 70.0),
        (LOW, 70.0, 65.0, 80.0, None),  # may have been within the limit
        (LOW, 82.0, 70.0, 90.0, 82.0),  # neither fires nor resolves
        (LOW, 92.0, 70.0, 95.0, 92.0),  # resolves by the figure
        (LOW, 55.0, 50.0, 59.0, 55.0),
        (LOW, 55.0, 50.0, 70.0, 70.0),  # beyond the limit for certain, beyond that of the step perhaps
        (HIGH, 110.0, 100.1, 120.0, 110.0),
        (HIGH, 110.0, 100.0, 120.0, None),
        (HIGH, 92.0, 80.0, 120.0, 92.0),
    ],
)
def test_bounds(limits, value, low, high, expected):
    assert hourly.certain(_rule(**limits), value, hourly.Bounds(low, high)) == expected


@pytest.mark.parametrize(("limits", "expected"), [(HIGH, 150.0), (LOW, None)])
def test_a_figure_that_is_impossible_resolves_nothing(limits, expected):
    assert hourly.certain(_rule(**limits), 150.0, hourly.Bounds(140.0, 160.0, resolves=False)) == expected
