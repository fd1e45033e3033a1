"""The energy oracle gives the answers that were worked out by hand."""

import pytest

from support.energy import scenarios
from support.energy.oracle import Energy


def _close(value, expected):
    return float(value) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_by_hand(scenario):
    sides = {"meter": scenario.meter, "vehicle": scenario.vehicle}
    energies = {name: Energy(side) for name, side in sides.items() if side}
    for ask in scenario.asks:
        figure = energies[ask.side].of(ask.start, ask.end)
        low, high = ask.bounds or (ask.kwh, ask.kwh)
        assert _close(figure.energy_kwh, ask.kwh), ask
        assert _close(figure.covered, ask.covered), ask
        assert (figure.source, figure.estimated, figure.suspect) == (ask.source, ask.estimated, ask.suspect), ask
        assert _close(figure.low_kwh, low), ask
        assert _close(figure.high_kwh, high), ask
    events = (energies.get("meter") or energies["vehicle"]).events
    assert [(one.at, one.what, pytest.approx(float(one.credited_kwh))) for one in events] == list(scenario.events)


def test_names_are_unique():
    names = [scenario.name for scenario in scenarios.SCENARIOS]
    assert len(set(names)) == len(names) >= 60
