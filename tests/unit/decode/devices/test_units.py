"""Units against the opinion of a library that was written apart from ours."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltd import readings
from voltd.pipeline.decode.devices import units

_IN_PINT = {
    "°C": "degC", "C": "degC", "°F": "degF", "F": "degF", "K": "kelvin", "Wmin": "watt * minute", "Ws": "watt * second",
    "mph": "mile / hour", "kn": "knot", "mi": "mile", "0..1": "dimensionless", "%": "percent", "degrees": "degree",
}  # fmt: skip
_OURS = {"0.1 °C": "tenth of a degree", "": "no unit"}  # what no library has
EVERY = [(target, unit) for target, known in units.UNITS.items() for unit in known if unit not in _OURS]


@pytest.fixture(scope="module")
def registry():
    import pint  # noqa: PLC0415 it imports for half a second, and every worker imports this file

    return pint.UnitRegistry()


@pytest.mark.parametrize(("target", "unit"), EVERY)
def test_agrees_with_a_unit_library(registry, target, unit):
    for value in (0.0, 1.0, 21.5, 1290.396, -894.0):
        theirs = registry.Quantity(value, _IN_PINT.get(unit, unit)).to(_IN_PINT.get(target, target)).magnitude
        assert math.isclose(units.UNITS[target][unit](value), theirs, rel_tol=1e-12, abs_tol=1e-9), (
            value,
            unit,
            target,
        )


def test_tenths_of_a_degree():
    assert units.UNITS["°C"]["0.1 °C"](247.0) == 24.7


def test_every_field_with_a_number_has_units():
    fields = [field for one in readings.DeviceType for field in readings.fields(one).values()]
    numbers = {field.unit for field in fields if field.kind is readings.Kind.NUMBER}
    assert numbers <= set(units.UNITS)
    assert all(unit in units.UNITS[unit] for unit in numbers)


@given(value=st.floats(-1e9, 1e9), place=st.sampled_from(EVERY))
def test_the_compiled_form_is_the_same(value, place):
    conversion = units.UNITS[place[0]][place[1]]
    assert eval(conversion.source("value"), {"value": value}) == conversion(value)  # noqa: S307 our own source
