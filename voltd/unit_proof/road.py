"""Speed and odometer against the distance between positions, or against each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from voltd.unit_proof import compare, sums

_MILE = 1.609344
_MS = 3.6
_SPEED = {1 / _MILE: "mph", 1 / _MS: "m/s"}
_LENGTH = {1 / _MILE: "miles", 1e3: "m"}
_FACTORS = tuple(one for each in (_MILE, _MS, 60.0, 3600.0) for one in (each, 1 / each))
_SCALE = compare.Scale((*compare.TENS, *_FACTORS), tolerance=1.08, right=1.3)


def verdicts(given: Mapping[str, Sequence[sums.Point]], evidence: compare.Evidence) -> Iterator[compare.Verdict]:
    """Of speed and odometer; positions are in degrees, whatever the others are in."""
    positions = sums.distances(given["latitude"], given["longitude"])
    speeds = sums.integrals(given["speed_kmh"], sums.LONGEST_ON_ROAD_S)
    odometers = sums.registers(given["odometer_km"], sums.LONGEST_ON_ROAD_S)
    speed, odometer = _driven(positions, speeds, evidence), _driven(odometers, positions, evidence)
    if speed is not None:  # it is too large where the distance is too small
        text = f"the distance between positions is {compare.number(speed.ratio)} times its integral"
        text += f" over {compare.span(speed.hours)}"
        yield _verdict("speed", "km/h", speed._replace(factor=1 / speed.factor), _SPEED, text)
    if odometer is not None:
        text = f"it grows by {compare.number(odometer.ratio)} times the distance between positions"
        text += f" over {compare.span(odometer.hours)}"
        yield _verdict("odometer", "km", odometer, _LENGTH, text)
    both = _driven(odometers, speeds, evidence) if speed is odometer is None else None
    if both is not None:
        text = f"it grows by {compare.number(both.ratio)} times the integral of speed over {compare.span(both.hours)}"
        other = f"; or speed says km/h, {compare.looks(1 / both.factor, _SPEED)}"
        yield _verdict("odometer", "km", both, _LENGTH, f"{text}{other}")
        if both.factor == 1:
            yield compare.Verdict("speed", both.ratio)


def _driven(
    amounts: Sequence[sums.Total], references: Sequence[sums.Total], evidence: compare.Evidence
) -> compare.Compared | None:
    found = compare.compare(amounts, references, _SCALE, evidence._replace(seconds=0.0))
    return compare.first(one for one in found if max(one.amount, one.reference) >= evidence.km)


def _verdict(wire: str, unit: str, found: compare.Compared, names: Mapping[float, str], text: str) -> compare.Verdict:
    if found.factor == 1:
        return compare.Verdict(wire, found.ratio)
    looks = compare.looks(found.factor, names)
    return compare.Verdict(wire, found.ratio, found.factor, looks, f"{wire} says {unit}, {looks}: {text}")
