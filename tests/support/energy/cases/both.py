"""Devices that send a register and interval energy: no energy twice, none lost."""

from support.energy.cases.build import AC, DC, Ask, Scenario, at, intervals, levels, of, rising
from support.energy.model import Device, Reading

SCENARIOS = (
    Scenario(
        "register, then interval hours, then register",
        meter=of(intervals(at(8), at(12), AC)),
        vehicle=of(rising(at(8), at(9), 1000, DC), intervals(at(9), at(11), DC), rising(at(11), at(12), 1016.56, DC)),
        asks=(
            # 5.52 an hour: 22.08 of 24.0 are 92 %. The register has risen by 11.04 from 9 to 11, too.
            Ask(at(8), at(12), 22.08, source="mixed", side="vehicle"),
            Ask(at(8), at(12), 24.0),
            Ask(at(9), at(10), 5.52, side="vehicle"),
            Ask(at(10, 45), at(11), 1.38, side="vehicle"),
            Ask(at(11), at(11, 15), 1.38, source="register", side="vehicle"),
        ),
    ),
    Scenario(
        "register first, then intervals for good",
        vehicle=of(rising(at(8), at(9), 1000, DC), intervals(at(9), at(11), DC)),
        asks=(
            Ask(at(8), at(11), 16.56, source="mixed", side="vehicle"),
            Ask(at(9), at(10), 5.52, side="vehicle"),
        ),
    ),
    Scenario(
        "each reading has both",
        meter=of(tuple(Reading(at(10, minute), 0.1, round(100 + 0.1 * minute, 9)) for minute in range(61))),
        asks=(
            Ask(at(10), at(11), 6.0, source="register"),
            # the reading of 10:00 covers the minute before the register is known
            Ask(at(9, 45), at(10), 0.1, 1 / 15),
        ),
    ),
    Scenario(
        "the register wins where they differ",
        meter=of(tuple(Reading(at(10, minute), 0.1, round(100 + 0.2 * minute, 9)) for minute in range(61))),
        asks=(Ask(at(10), at(11), 12.0, source="register"),),
    ),
    Scenario(
        "intervals before and after a register hour",
        meter=of(intervals(at(9), at(12), AC), rising(at(10), at(11), 100, 0.2)),
        asks=(
            Ask(at(9), at(10), 6.0),
            Ask(at(10), at(11), 12.0, source="register"),
            Ask(at(11), at(12), 6.0),
            Ask(at(9), at(12), 24.0, source="mixed"),
        ),
    ),
    Scenario(
        "one stray register reading",
        meter=of(intervals(at(10), at(11), AC), levels(at(10, 30), 77.0)),
        asks=(Ask(at(10), at(11), 6.0), Ask(at(10, 30), at(10, 45), 1.5)),
    ),
    Scenario(
        "a stray register reading on each of two days",
        meter=of(
            intervals(at(10), at(11), AC), intervals(at(34), at(35), AC), levels(at(10, 30), 77.0, 90.0, step_s=86400)
        ),
        asks=(
            # half an hour at either end of the gap is the intervals': 6.0. The 7.0 beyond them lie in the 23 hours
            # between.
            Ask(at(10), at(10, 30), 3.0),
            Ask(at(10, 30), at(34, 30), 13.0, source="mixed"),
            Ask(at(10, 30), at(11), 3.0),
            Ask(at(11), at(34), 7.0, source="register"),
            Ask(at(12), at(13), 7 / 23, source="register", estimated=True, bounds=(0, 7)),
            Ask(at(34, 30), at(35), 3.0),
        ),
    ),
    Scenario(
        "stray register readings around a day of intervals",
        meter=of(intervals(at(10), at(34), 1.5, step_s=900), levels(at(10), 77.0, 90.0, step_s=86400)),
        asks=(Ask(at(10), at(34), 144.0), Ask(at(0), at(24), 84.0, 14 / 24)),  # they leave no time
    ),
    Scenario(
        "two register readings an hour apart among minutes",
        meter=of(intervals(at(9), at(12), AC), levels(at(10), 77.0, 83.0, step_s=3600)),
        # the hour is their spacing and no gap, but longer than 15 minutes: the intervals have all of it
        asks=(Ask(at(9), at(12), 18.0), Ask(at(10, 15), at(10, 30), 1.5)),
    ),
    Scenario(
        "intervals cover a quarter of a gap",
        vehicle=of(rising(at(8), at(10), 1000, DC), intervals(at(10), at(11), DC), rising(at(14), at(16), 1033.12, DC)),
        asks=(
            # 22.08 less 5.52 is 16.56 for the three hours after 11
            Ask(at(10), at(11), 5.52, side="vehicle"),
            Ask(at(11), at(12), 5.52, source="register", estimated=True, bounds=(0, 16.56), side="vehicle"),
            Ask(at(8), at(16), 44.16, source="mixed", side="vehicle"),
        ),
    ),
    Scenario(
        "intervals cover half of a gap",
        vehicle=of(rising(at(8), at(10), 1000, DC), intervals(at(10), at(12), DC), rising(at(14), at(16), 1033.12, DC)),
        asks=(
            # 22.08 less 11.04 for the two hours after 12
            Ask(at(10), at(11), 5.52, side="vehicle"),
            Ask(at(10), at(14), 22.08, source="mixed", side="vehicle"),
            Ask(at(13), at(14), 5.52, source="register", estimated=True, bounds=(0, 11.04), side="vehicle"),
            Ask(at(8), at(16), 44.16, source="mixed", side="vehicle"),
        ),
    ),
    Scenario(
        "intervals fill a gap without rise",
        meter=of(rising(at(9), at(10), 100, 0), intervals(at(10), at(14), AC), rising(at(14), at(15), 100, 0)),
        asks=(Ask(at(10), at(14), 24.0), Ask(at(9), at(15), 24.0, source="mixed")),
    ),
    Scenario(
        "an interval reaches into the known register",
        # 9:58 to 10:03, and the register from 10:00 on: two of five minutes count
        meter=of((Reading(at(10, 3), 0.5),), rising(at(10), at(10, 15), 100, 0.1), device=Device(interval_s=300)),
        asks=(Ask(at(9, 45), at(10), 0.2, 2 / 15), Ask(at(10), at(10, 15), 1.5, source="register")),
    ),
    Scenario(
        "an hourly interval around ten minutes of register",
        meter=of((Reading(at(11), 6.0),), rising(at(10, 30), at(10, 40), 100, 0.1), device=Device(interval_s=3600)),
        # 50 of 60 minutes count: 5.0, of which nothing more is known than that it is between 0 and 6; 1.0 is exact
        asks=(
            Ask(at(10), at(11), 6.0, source="mixed", estimated=True, bounds=(1, 7)),
            Ask(at(10), at(10, 15), 1.5, estimated=True, bounds=(0, 6)),
            Ask(at(10, 30), at(10, 40), 1.0, source="register"),
        ),
    ),
    Scenario(
        "intervals count in a suspect minute",
        meter=of(
            rising(at(10), at(10, 30), 500, 0.1), rising(at(10, 31), at(11), 5000, 0.1), intervals(at(10), at(11), AC)
        ),
        # 5.9 of the register and 0.1 of the minute that it does not know; it stays suspect
        asks=(
            Ask(at(10), at(11), 6.0, source="mixed", suspect=True),
            Ask(at(10, 15), at(10, 30), 1.5, source="register"),
        ),
        events=((at(10, 31), "impossible_step", 0),),
    ),
    Scenario(
        "intervals count in suspect hours",
        meter=of(levels(at(10), 500.0, 500.1), levels(at(12, 1), 5000.0, 5000.1), intervals(at(10, 1), at(11, 1), AC)),
        asks=(
            # 0.1 and 0.1 of the register, 6.0 of the intervals; 62 minutes of 180
            Ask(at(10), at(13), 6.2, 62 / 180, "mixed", suspect=True),
            Ask(at(11), at(12), 0.1, 1 / 60, suspect=True),
        ),
        events=((at(12, 1), "impossible_step", 0),),
    ),
    Scenario(
        "a contradicted register value leaves its interval alone",
        meter=of(intervals(at(10), at(10, 15), AC), levels(at(10, 5), 100.0, 100.1, 0.0, 100.3)),
        # 10:05 to 10:08 is the register's: 0.3; the other 12 minutes are 1.2
        asks=(Ask(at(10), at(10, 15), 1.5, source="mixed"), Ask(at(10, 5), at(10, 8), 0.3, source="register")),
        events=((at(10, 7), "contradicted", 0),),
    ),
    Scenario(
        "an undecided register value takes nothing away",
        meter=of(intervals(at(10), at(10, 15), AC), levels(at(10, 5), 100.0, 100.1, 100.2, 9999.0)),
        # 10:05 to 10:07 is the register's: 0.2; the other 13 minutes are 1.3
        asks=(Ask(at(10), at(10, 15), 1.5, source="mixed"), Ask(at(10, 7), at(10, 8), 0.1)),
    ),
)
