"""Units by name: what a device writes into the unit that the field has. The table is closed.

A description names the unit of its source; the field has its own (``readings.Field.unit``). Sources: SI and NIST SP 811
(mile = 1609.344 m, knot = 1852 m/h, exact), the definition of degrees Fahrenheit.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection


@dataclasses.dataclass(frozen=True, slots=True)
class Conversion:
    """``(value + before) * times / by`` is the value in the target's unit. Divisors keep decimal values exact."""

    times: float = 1.0
    by: float = 1.0
    before: float = 0.0

    def __call__(self, value: float) -> float:
        """The value in the target's unit; the same operations in the same order as the compiled form."""
        if self.before:
            value += self.before
        if self.times != 1:
            value *= self.times
        return value / self.by if self.by != 1 else value

    def source(self, operand: str) -> str:
        """The conversion as Python source, for the compiled form."""
        text = f"({operand} + {self.before!r})" if self.before else operand
        text = f"{text} * {self.times!r}" if self.times != 1 else text
        return f"{text} / {self.by!r}" if self.by != 1 else text


def near(written: str, known: Collection[str]) -> list[str]:
    """The units among ``known`` that were probably meant: written with other capitals, in full, or misspelt."""
    plain = written.strip().casefold()
    if plain in _IN_FULL:
        return [one for one in known if one == _IN_FULL[plain]]
    alike = [one for one in known if one and one.casefold() == plain]
    return alike or difflib.get_close_matches(written, [one for one in known if one], 1, _CLOSE)


_CLOSE = 0.7
_IN_FULL = {
    **dict.fromkeys(("celsius", "celcius", "degc", "deg c"), "°C"),
    **dict.fromkeys(("fahrenheit", "degf"), "°F"),
    **dict.fromkeys(("watt", "watts"), "W"),
    **dict.fromkeys(("volt", "volts"), "V"),
    **dict.fromkeys(("amp", "amps", "ampere", "amperes"), "A"),
    **dict.fromkeys(("kmh", "kph"), "km/h"),
    **dict.fromkeys(("mile", "miles"), "mi"),
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("deg", "degree"), "degrees"),
}
_SAME = Conversion()
# By the target's unit, as the fields have it: what a source may be in.
UNITS: dict[str, dict[str, Conversion]] = {
    "kWh": {
        "kWh": _SAME,
        "Wh": Conversion(by=1000),
        "mWh": Conversion(by=1e6),
        "MWh": Conversion(times=1000),
        "Ws": Conversion(by=3.6e6),
        "Wmin": Conversion(by=60_000),
        "J": Conversion(by=3.6e6),
        "kJ": Conversion(by=3600),
        "MJ": Conversion(by=3.6),
    },
    "kW": {"kW": _SAME, "W": Conversion(by=1000), "mW": Conversion(by=1e6), "MW": Conversion(times=1000)},
    "A": {"A": _SAME, "mA": Conversion(by=1000)},
    "V": {"V": _SAME, "mV": Conversion(by=1000), "kV": Conversion(times=1000)},
    "km/h": {
        "km/h": _SAME,
        "mph": Conversion(times=1.609344),
        "m/s": Conversion(times=3.6),
        "kn": Conversion(times=1.852),
    },
    "km": {"km": _SAME, "mi": Conversion(times=1.609344), "m": Conversion(by=1000)},
    "°C": {
        "°C": _SAME,
        "C": _SAME,
        "0.1 °C": Conversion(by=10),
        "°F": Conversion(before=-32, times=5, by=9),
        "F": Conversion(before=-32, times=5, by=9),
        "K": Conversion(before=-273.15),
    },
    "%": {"%": _SAME, "0..1": Conversion(times=100)},
    "degrees": {"degrees": _SAME},
    "": {"": _SAME},
}
