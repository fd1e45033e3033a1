"""Energy against the integral of power. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from voltd import readings
from voltd.readings import DeviceType
from voltd.unit_proof import compare, sums

_ENERGY = {1e3: "Wh", 1e6: "mWh", 1e-3: "MWh", 60.0: "kW minutes", 3600.0: "kJ", 6e4: "W minutes", 3.6e6: "J"}
_POWER = {1e3: "W", 1e6: "mW", 1e-3: "MW"}
_MINUTES = tuple(one for each in (60.0, 3600.0, 6e4, 3.6e6) for one in (each, 1 / each))
_SCALE = compare.Scale((*compare.TENS, *_MINUTES), tolerance=1.2, right=1.5)
_LEAST_KW, _LEAST_SMALLER_KW = 0.2, 0.05  # of the two sides: standby and noise are less
_SMALL = 100.0  # up to this factor the smaller side counts, too

_POWER_OF = {DeviceType.VEHICLE: "charging_power_kw", DeviceType.METER: "power_kw"}


def verdicts(
    device_type: DeviceType, given: Mapping[str, Sequence[sums.Point]], evidence: compare.Evidence
) -> Iterator[compare.Verdict]:
    """Energy that flows in, against power; energy that flows back, against negative power.

    A stretch in which energy flows both ways says nothing: power may be the difference of two phases or of two houses.
    """
    power = _POWER_OF[device_type]
    energies = [column for column, field in readings.fields(device_type).items() if field.unit == "kWh"]
    back = [column for column in energies if "returned" in column]
    there = [column for column in energies if "returned" not in column]
    totals = {column: _totals(column, given[column]) for column in energies}
    for sign, columns, opposite in ((1.0, there, back), (-1.0, back, there)):
        rates = sums.integrals([(at, sign * value) for at, value in given[power]], sums.LONGEST_S)
        against = [total for column in opposite for total in totals[column]]
        for column in columns:
            found = compare.compare(totals[column], rates, _SCALE, evidence)
            sure = compare.first(one for one in found if _worth(one) and not _flows(against, one))
            if sure is not None:
                fields = readings.fields(device_type)
                yield _verdict(fields[column].wire, fields[power].wire, sure)


def _totals(column: str, points: Sequence[sums.Point]) -> list[sums.Total]:
    return sums.registers(points, sums.LONGEST_S) if "register" in column else sums.intervals(points)


def _flows(totals: Sequence[sums.Total], found: compare.Compared) -> bool:
    return any(total.range(found.begin, found.end).value > 0 for total in totals)


def _worth(found: compare.Compared) -> bool:
    """More than standby. At a large factor the smaller side may be little: it is not in the unit that it says."""
    smaller, larger = sorted((found.amount / found.hours, found.reference / found.hours))
    small = 1 / _SMALL <= found.factor <= _SMALL
    return larger >= _LEAST_KW and (smaller >= _LEAST_SMALLER_KW or not small)


def _verdict(wire: str, power: str, found: compare.Compared) -> compare.Verdict:
    if found.factor == 1:
        return compare.Verdict(wire, found.ratio)
    looks = compare.looks(found.factor, _ENERGY)
    words = (
        f"{wire} says kWh, {looks}: {compare.number(found.ratio)} times the integral of {power} over"
        f" {compare.span(found.hours)}; or {power} says kW, {compare.looks(1 / found.factor, _POWER)}"
    )
    return compare.Verdict(wire, found.ratio, found.factor, looks, words)
