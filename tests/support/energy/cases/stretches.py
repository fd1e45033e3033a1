"""Intervals inside long stretches of a register: they have their own time, the register has the rest."""

from support.energy.cases.build import AC, Ask, Scenario, at, intervals, levels, of, rising
from support.energy.model import Device, Reading

SCENARIOS = (
    Scenario(
        "intervals in half of an hour of an hourly register",
        meter=of(levels(at(10), 100.0, 105.0, 111.0, step_s=3600), intervals(at(10), at(10, 30), AC)),
        asks=(
            # 3.0 are the intervals'. The other 2.0 lie in the half hour after them, and are known: an hour is no gap.
            Ask(at(10), at(10, 15), 1.5),
            Ask(at(10, 30), at(10, 45), 1.0, source="register"),
            Ask(at(10), at(11), 5.0, source="mixed"),
            # no intervals: the hour is the register's as ever
            Ask(at(11), at(11, 15), 1.5, source="register"),
        ),
    ),
    Scenario(
        "intervals in the middle of a gap",
        meter=of(rising(at(8), at(10), 100, 0.1), intervals(at(11), at(12), AC), rising(at(14), at(16), 130, 0.1)),
        asks=(
            # the gap rises from 112 to 130: 6.0 of the intervals, and 12 in the hour before them and the two after
            Ask(at(10), at(11), 4.0, source="register", estimated=True, bounds=(0, 12)),
            Ask(at(11), at(12), 6.0),
            # 4 + 6 + 4; only the intervals are certain
            Ask(at(10), at(13), 14.0, source="mixed", estimated=True, bounds=(6, 18)),
            Ask(at(10), at(14), 18.0, source="mixed"),
            Ask(at(8), at(16), 42.0, source="mixed"),
        ),
    ),
    Scenario(
        "intervals of nothing say where the rise was",
        vehicle=of(rising(at(8), at(10), 1000, 0), intervals(at(11), at(14), 0), rising(at(14), at(16), 1005.52, 0)),
        asks=(
            # all of the gap's 5.52 lie in the only hour that is left
            Ask(at(10), at(11), 5.52, source="register", side="vehicle"),
            Ask(at(10), at(10, 30), 2.76, source="register", estimated=True, bounds=(0, 5.52), side="vehicle"),
            Ask(at(11), at(12), 0, side="vehicle"),
        ),
    ),
    Scenario(
        "intervals have all that a gap rose",
        meter=of(rising(at(8), at(10), 100, 0.1), intervals(at(11), at(12), AC), rising(at(14), at(16), 118, 0.1)),
        asks=(
            # from 112 to 118: nothing is left for the other three hours, and they are not covered
            Ask(at(10), at(11), 0, 0, "none"),
            Ask(at(10), at(14), 6.0, 1 / 4),
            Ask(at(8), at(16), 30.0, 5 / 8, "mixed"),
        ),
    ),
    Scenario(
        "intervals have more than a gap rose",
        meter=of(rising(at(8), at(10), 100, 0.1), intervals(at(11), at(12), AC), rising(at(14), at(16), 117, 0.1)),
        # 5.0 against 6.0: the intervals count
        asks=(Ask(at(10), at(14), 6.0, 1 / 4), Ask(at(12), at(14), 0, 0, "none")),
    ),
    Scenario(
        "intervals have more than an hour of an hourly register rose",
        meter=of(levels(at(10), 100.0, 102.0, 108.0, step_s=3600), intervals(at(10), at(10, 30), AC)),
        asks=(
            # 3.0 against 2.0
            Ask(at(10), at(11), 3.0, 1 / 2),
            Ask(at(10, 30), at(11), 0, 0, "none"),
            Ask(at(11), at(12), 6.0, source="register"),
        ),
    ),
    Scenario(
        "intervals of nothing in a gap without rise",
        meter=of(rising(at(8), at(10), 100, 0), intervals(at(10), at(11), 0), rising(at(14), at(16), 100, 0)),
        # nothing is left for the three hours after 11, and they are not covered
        asks=(Ask(at(10), at(14), 0, 1 / 4), Ask(at(11), at(14), 0, 0, "none")),
    ),
    Scenario(
        "15 minutes of a register are its own",
        meter=of(levels(at(10), 100.0, 102.0, 104.0, step_s=900), intervals(at(10), at(10, 30), AC)),
        asks=(Ask(at(10), at(10, 30), 4.0, source="register"),),
    ),
    Scenario(
        "a second more is not",
        meter=of(levels(at(10), 100.0, 102.0, step_s=901), intervals(at(10), at(10, 16), AC)),
        # 16 minutes of 0.1 cover all of it: the 0.5 that the register has beyond them find no time
        asks=(Ask(at(10), at(10, 15), 1.5), Ask(at(10), at(10, 30), 1.6, 16 / 30)),
    ),
    Scenario(
        "an interval reaches over the end of a gap",
        # a lone reading of its day covers 10:30 to 10:45
        meter=of(
            rising(at(10), at(10, 10), 100, 0.1), rising(at(10, 40), at(10, 50), 103, 0.1), (Reading(at(10, 45), 0.9),)
        ),
        asks=(
            # the gap from 10:10 to 10:40 rises by 2.0. Ten of the 15 minutes lie in it: 0.6; 1.4 are left until 10:30.
            # The other five minutes are the register's.
            Ask(at(10, 10), at(10, 30), 1.4, source="register"),
            Ask(at(10, 15), at(10, 30), 1.05, source="register", estimated=True, bounds=(0, 1.4)),
            Ask(at(10, 30), at(10, 40), 0.6),
            Ask(at(10, 10), at(10, 40), 2.0, source="mixed"),
            Ask(at(10, 40), at(10, 50), 1.0, source="register"),
        ),
    ),
    Scenario(
        "an interval reaches from one hour of a register into the next",
        meter=of(levels(at(10), 100.0, 106.0, 112.0, step_s=3600), intervals(at(10, 45), at(11, 5), 1.0, step_s=600)),
        asks=(
            # 10:45 to 10:55 and half of the next are 1.5 of the first hour: 4.5 for its 45 minutes. The other half is
            # 0.5 of the second: 5.5 for its 55 minutes.
            Ask(at(10), at(10, 15), 1.5, source="register"),
            Ask(at(10, 45), at(11, 5), 2.0),
            Ask(at(11, 5), at(12), 5.5, source="register"),
            Ask(at(10), at(11), 6.0, source="mixed"),
            Ask(at(11), at(12), 6.0, source="mixed"),
        ),
    ),
    Scenario(
        "hourly intervals in a gap",
        meter=of(
            rising(at(8), at(10), 100, 0.1),
            intervals(at(11), at(13), 3.0, step_s=3600),
            rising(at(14), at(16), 120, 0.1),
        ),
        asks=(
            # from 112 to 120: 6.0 of the intervals, and 2.0 from 10 to 11 and from 13 to 14
            Ask(at(11), at(11, 30), 1.5, estimated=True, bounds=(0, 3)),
            Ask(at(10), at(11), 1.0, source="register", estimated=True, bounds=(0, 2)),
            # 1.0 and half of the first interval
            Ask(at(10), at(11, 30), 2.5, source="mixed", estimated=True, bounds=(0, 5)),
            Ask(at(10), at(14), 8.0, source="mixed"),
        ),
    ),
    Scenario(
        "overlapping intervals in a gap",
        # 10:10 to 10:30 and 10:20 to 10:40; an hour is longer than twice 20 minutes
        meter=of(
            levels(at(10), 100.0, 106.0, step_s=3600),
            intervals(at(10, 20), at(10, 40), 1.0, step_s=600),
            device=Device(interval_s=1200),
        ),
        asks=(
            # both count: 2.0. The 4.0 beyond them lie in the ten minutes before and the 20 after.
            Ask(at(10), at(11), 6.0, source="mixed"),
            Ask(at(10, 20), at(10, 30), 1.0, estimated=True, bounds=(0, 2)),
            Ask(at(10, 45), at(11), 2.0, source="register", estimated=True, bounds=(0, 4)),
        ),
    ),
    Scenario(
        "intervals that end where a gap begins",
        meter=of(intervals(at(9), at(10), AC), levels(at(10), 100.0, 100.1), levels(at(14, 1), 112.1)),
        asks=(
            # spacings 1 and 240 minutes. The gap from 10:01 has no interval: 12.0, an hour has a quarter of it.
            Ask(at(9), at(10), 6.0),
            Ask(at(11), at(12), 3.0, source="register", estimated=True, bounds=(0, 12)),
            Ask(at(9), at(14, 1), 18.1, source="mixed"),
        ),
    ),
    Scenario(
        "intervals in a gap that ends with a reset",
        meter=of(levels(at(10), 500.0, 500.1), levels(at(12, 1), 8.0, 8.1), intervals(at(10, 1), at(11, 1), AC)),
        asks=(
            # 8.0 are credited: 6.0 of the intervals, 2.0 in the hour after them
            Ask(at(11, 1), at(12, 1), 2.0, source="register"),
            Ask(at(11, 1), at(11, 31), 1.0, source="register", estimated=True, bounds=(0, 2)),
            Ask(at(10), at(12, 2), 8.2, source="mixed"),
        ),
        events=((at(12, 1), "reset", 8),),
    ),
)
