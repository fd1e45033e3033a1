"""Gaps of a register: the total is known, the course is not."""

from support.energy.cases.build import AC, DC, Ask, Scenario, at, intervals, levels, of, rising
from support.energy.model import Device

SCENARIOS = (
    Scenario(
        "a register vehicle is offline for 4 hours while it charges all the time",
        meter=of(intervals(at(8), at(16), AC)),
        # 8 to 10 and 14 to 16: 5.52 an hour. It rises by 22.08 in the gap.
        vehicle=of(rising(at(8), at(10), 1000, DC), rising(at(14), at(16), 1033.12, DC)),
        asks=(
            # 8 hours: 44.16 of 48.0 are 92 %
            Ask(at(0), at(24), 44.16, 1 / 3, "register", side="vehicle"),
            Ask(at(0), at(24), 48.0, 1 / 3),
            Ask(at(9), at(10), 5.52, source="register", side="vehicle"),
            Ask(at(11), at(12), 5.52, source="register", estimated=True, bounds=(0, 22.08), side="vehicle"),
            Ask(at(10), at(10, 15), 1.38, source="register", estimated=True, bounds=(0, 22.08), side="vehicle"),
            # 14:00 ends the gap
            Ask(at(14), at(15), 5.52, source="register", side="vehicle"),
            Ask(at(10), at(14), 22.08, source="register", side="vehicle"),
            # two hours of the gap and two hours after it
            Ask(at(12), at(16), 22.08, source="register", estimated=True, bounds=(11.04, 33.12), side="vehicle"),
        ),
    ),
    Scenario(
        "a register car is dark from 10 to 14 and charges only from 10 to 11",
        meter=of(intervals(at(8), at(10), 0), intervals(at(10), at(11), AC), intervals(at(11), at(16), 0)),
        vehicle=of(rising(at(8), at(10), 1000, 0), rising(at(14), at(16), 1005.52, 0)),
        asks=(
            # 5.52 of 6.0 are 92 %; an hour has a quarter of the gap's rise, and may have all of it
            Ask(at(8), at(16), 5.52, source="register", side="vehicle"),
            Ask(at(8), at(16), 6.0),
            Ask(at(10), at(11), 1.38, source="register", estimated=True, bounds=(0, 5.52), side="vehicle"),
            Ask(at(13), at(14), 1.38, source="register", estimated=True, bounds=(0, 5.52), side="vehicle"),
            Ask(at(14), at(15), 0, source="register", side="vehicle"),
        ),
    ),
    Scenario(
        "a gap without rise is known",
        meter=of(rising(at(8), at(10), 1000, 0.1), rising(at(14), at(16), 1012, 0.1)),
        asks=(
            Ask(at(11), at(12), 0, source="register"),
            Ask(at(11), at(15), 6.0, source="register"),
            Ask(at(8), at(16), 24.0, source="register"),
        ),
    ),
    Scenario(
        "a hole of 15 minutes is no gap",
        meter=of(rising(at(10), at(10, 10), 100, 0.1), rising(at(10, 25), at(10, 30), 102.5, 0.1)),
        # five minutes and a third of the rise of 1.5 in the first quarter
        asks=(Ask(at(10), at(10, 15), 1.5, source="register"), Ask(at(10, 15), at(10, 30), 1.5, source="register")),
    ),
    Scenario(
        "a hole of 20 minutes is a gap",
        meter=of(rising(at(10), at(10, 10), 100, 0.1), rising(at(10, 30), at(10, 45), 103, 0.1)),
        asks=(
            # 1.0 exact and a quarter of the gap's 2.0, which may be none of it or all
            Ask(at(10), at(10, 15), 1.5, source="register", estimated=True, bounds=(1, 3)),
            Ask(at(10, 15), at(10, 30), 1.5, source="register", estimated=True, bounds=(0, 2)),
            Ask(at(10, 30), at(10, 45), 1.5, source="register"),
            Ask(at(10), at(10, 30), 3.0, source="register"),
        ),
    ),
    Scenario(
        "two gaps in one period",
        meter=of(
            levels(at(10), 100.0, 100.1, 100.2, 100.3), levels(at(10, 33), 102.3, 102.4), levels(at(11, 4), 104.4)
        ),
        asks=(
            # 10:03 to 10:33 and 10:34 to 11:04, 2.0 each. The period has 0.5 of the first (7.5 of 30 minutes), 0.1
            # between them, and 1.1 of the second (16.5 of 30 minutes).
            Ask(at(10, 25, 30), at(10, 50, 30), 1.7, source="register", estimated=True, bounds=(0.1, 4.1)),
            Ask(at(10), at(11, 4), 4.4, source="register"),
            # the first whole, the second cut: 10:34 to 10:49
            Ask(at(10), at(10, 49), 3.4, source="register", estimated=True, bounds=(2.4, 4.4)),
        ),
    ),
    Scenario(
        "an hourly register has no gap in two hours",
        meter=of(levels(at(10), 100.0, 106.0, 112.0, step_s=3600), levels(at(14), 124.0)),
        # spacings 1, 1 and 2 hours: two hours are twice the median and not longer
        asks=(
            Ask(at(12), at(13), 6.0, source="register"),
            Ask(at(12, 15), at(12, 30), 1.5, source="register"),
        ),
    ),
    Scenario(
        "the smaller of two spacings says what a gap is",
        meter=of(levels(at(10), 100.0, 101.0, step_s=600), levels(at(11, 10), 107.0)),
        asks=(
            # spacings 10 and 60 minutes: an hour is longer than twice 10 minutes, though not than twice 35
            Ask(at(10), at(10, 10), 1.0, source="register"),
            Ask(at(10, 15), at(10, 30), 1.5, source="register", estimated=True, bounds=(0, 6)),
            Ask(at(10), at(11, 10), 7.0, source="register"),
        ),
    ),
    Scenario(
        "the registry's interval says what a gap is",
        meter=of(levels(at(10), 100.0, 102.0, step_s=1200), levels(at(10, 41), 104.1), device=Device(interval_s=600)),
        asks=(
            # 20 minutes are twice 600 s, 21 minutes are longer
            Ask(at(10), at(10, 15), 1.5, source="register"),
            Ask(at(10, 20), at(10, 30), 1.0, source="register", estimated=True, bounds=(0, 2.1)),
        ),
    ),
    Scenario(
        "one register reading a day",
        meter=of(levels(at(12), 100.0, 124.0, step_s=86400)),
        asks=(
            # 24 in 24 hours
            Ask(at(13), at(13, 15), 0.25, source="register", estimated=True, bounds=(0, 24)),
            Ask(at(0), at(24), 12.0, 0.5, "register", estimated=True, bounds=(0, 24)),
            Ask(at(0), at(48), 24.0, 0.5, "register"),
        ),
    ),
    Scenario(
        "a late reading in the middle of a gap",
        meter=of(
            rising(at(9), at(10), 1000, 0.1),
            rising(at(14), at(15), 1024, 0.1),
            levels(at(12), 1008.0),
        ),
        asks=(
            # 10 to 12: from 1006 to 1008; 12 to 14: from 1008 to 1024
            Ask(at(10), at(11), 1.0, source="register", estimated=True, bounds=(0, 2)),
            Ask(at(13), at(14), 8.0, source="register", estimated=True, bounds=(0, 16)),
            Ask(at(10), at(12), 2.0, source="register"),
            Ask(at(10), at(14), 18.0, source="register"),
        ),
    ),
    Scenario(
        "a gap through midnight",
        meter=of(rising(at(21), at(22), 100, 0.1), rising(at(26), at(27), 130, 0.1)),
        asks=(
            # 24 from 22:00 to 2:00, 106 to 130
            Ask(at(0), at(24), 18.0, 3 / 24, "register", estimated=True, bounds=(6, 30)),
            Ask(at(24), at(48), 18.0, 3 / 24, "register", estimated=True, bounds=(6, 30)),
            Ask(at(0), at(48), 36.0, 6 / 48, "register"),
        ),
    ),
    Scenario(
        "the day on which a stretch begins says what a gap is",
        meter=of(rising(at(22), at(23), 100, 0.1), levels(at(24), 112.0, 118.0, 124.0, step_s=3600)),
        asks=(
            # the hour before midnight is long for a day of minutes, the hours after it are usual for theirs
            Ask(at(23), at(23, 15), 1.5, source="register", estimated=True, bounds=(0, 6)),
            Ask(at(24), at(24, 15), 1.5, source="register"),
        ),
    ),
    Scenario(
        "a contradicted value does not end a gap",
        meter=of(
            rising(at(10), at(10, 10), 100, 0.1), levels(at(10, 20), 0.0), rising(at(10, 30), at(10, 40), 103, 0.1)
        ),
        asks=(Ask(at(10, 15), at(10, 30), 1.5, source="register", estimated=True, bounds=(0, 2)),),
        events=((at(10, 20), "contradicted", 0),),
    ),
)
