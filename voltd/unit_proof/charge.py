"""A state of charge that is written as 0..1 where percent are expected. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from voltd.unit_proof import compare, sums

_LEAST_KM, _LEAST_KWH = 10.0, 10.0  # more than 1 % of any battery


def verdicts(given: Mapping[str, Sequence[sums.Point]], evidence: compare.Evidence) -> Iterator[compare.Verdict]:
    """A battery with less than 1 % drives no 10 km and takes no 10 kWh without being above or at 0."""
    values = [value for _, value in given["soc_pct"]]
    if not values:
        return
    if max(values) > 1:
        yield compare.Verdict("soc", 1.0)
        return
    different = {value for value in values if 0 < value < 1}
    if len(values) < evidence.points or len(different) < 1 + evidence.moved:
        return
    roads = (
        sums.integrals(given["speed_kmh"], sums.LONGEST_ON_ROAD_S),
        sums.registers(given["odometer_km"], sums.LONGEST_S),
    )
    km = min((sum(total.whole() for total in road) for road in roads if road), default=0.0)
    kwh = sum(total.whole() for total in sums.integrals(given["charging_power_kw"], sums.LONGEST_S))
    if km >= _LEAST_KM:
        why = f"never above {max(values):g} in {km:.0f} km"
    elif kwh >= _LEAST_KWH:
        why = f"never above {max(values):g} while {kwh:.0f} kWh were charged"
    elif not evidence.moved:
        why = f"never above {max(values):g} in {len(values)} readings, unless the battery is that empty"
    else:
        return
    yield compare.Verdict("soc", 1.0, 0.01, "looks like 0..1", f"soc says %, looks like 0..1: {why}")
