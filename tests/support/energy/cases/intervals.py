"""Interval energy: what a reading covers, and where its energy belongs."""

from support.energy.cases.build import AC, DC, Ask, Scenario, at, intervals, of
from support.energy.model import Device, Reading

SCENARIOS = (
    Scenario(
        "a full hour of minutes on both sides",
        meter=of(intervals(at(10), at(11), AC)),
        vehicle=of(intervals(at(10), at(11), DC)),
        asks=(
            # 60 x 0.1 and 60 x 0.092; a quarter has 15 of them
            Ask(at(10), at(11), 6.0),
            Ask(at(10), at(11), 5.52, side="vehicle"),
            Ask(at(10, 15), at(10, 30), 1.38, side="vehicle"),
            # 11:00:00 is the last minute of the hour before, and 10:00 is none of it
            Ask(at(11), at(11, 15), 0, 0, "none"),
            Ask(at(9, 45), at(10), 0, 0, "none"),
        ),
    ),
    Scenario(
        "a quarter-hour meter stamped at the end",
        meter=of(intervals(at(10), at(11), 1.5, step_s=900)),
        vehicle=of(intervals(at(10), at(11), DC)),
        asks=(
            # the stamps 10:15, 10:30, 10:45, 11:00 are the hour from 10 to 11: 6.0, against 5.52 it is 92 %
            Ask(at(10), at(11), 6.0),
            Ask(at(10), at(11), 5.52, side="vehicle"),
            Ask(at(10), at(10, 15), 1.5),
            Ask(at(11), at(12), 0, 0, "none"),
        ),
    ),
    Scenario(
        "a vehicle loses 6 of 60 interval messages",
        meter=of(intervals(at(10), at(11), AC)),
        # the stamps 10:20 to 10:25 are missing
        vehicle=of(intervals(at(10), at(10, 19), DC), intervals(at(10, 25), at(11), DC)),
        asks=(
            # 9 of 15 in that quarter: 0.828; 54 of 60 in the hour: 4.968. The other quarters are 1.38 / 1.5 = 92 %.
            Ask(at(10, 15), at(10, 30), 0.828, 0.6, side="vehicle"),
            Ask(at(10), at(11), 4.968, 0.9, side="vehicle"),
            Ask(at(10), at(10, 15), 1.38, side="vehicle"),
            Ask(at(10, 15), at(10, 30), 1.5),
        ),
    ),
    Scenario(
        "five-minute devices at a true 60 percent",
        meter=of(intervals(at(10), at(11), 0.5, step_s=300)),
        vehicle=of(intervals(at(10), at(11), 0.3, step_s=300)),
        asks=(
            # 12 x 0.5 and 12 x 0.3; both cover all of each quarter
            Ask(at(10), at(11), 6.0),
            Ask(at(10), at(11), 3.6, side="vehicle"),
            Ask(at(10, 45), at(11), 0.9, side="vehicle"),
        ),
    ),
    Scenario(
        "a lone reading covers the quarter hour before it",
        meter=of((Reading(at(10, 7), 0.3),)),
        asks=(
            # from 9:52 to 10:07: 8 minutes of 15 in the first quarter, 7 in the second
            Ask(at(9, 45), at(10), 0.16, 8 / 15),
            Ask(at(10), at(10, 15), 0.14, 7 / 15),
            Ask(at(9, 45), at(10, 15), 0.3, 0.5),
        ),
    ),
    Scenario(
        "a lone reading at the full hour",
        meter=of((Reading(at(10), 0.3),)),
        asks=(Ask(at(9, 45), at(10), 0.3), Ask(at(10), at(10, 15), 0, 0, "none")),
    ),
    Scenario(
        "two readings two hours apart",
        meter=of(intervals(at(8), at(12), 1.0, step_s=7200)),
        asks=(
            # each covers two hours: half of it lies in an hour, an eighth in a quarter
            Ask(at(9), at(10), 0.5, estimated=True, bounds=(0, 1)),
            Ask(at(10), at(10, 15), 0.125, estimated=True, bounds=(0, 1)),
            Ask(at(8), at(12), 2.0),
            # cuts both
            Ask(at(9), at(11), 1.0, estimated=True, bounds=(0, 2)),
        ),
    ),
    Scenario(
        "a lone hourly reading by the registry",
        meter=of((Reading(at(11), 6.0),), device=Device(interval_s=3600)),
        asks=(
            Ask(at(10), at(11), 6.0),
            Ask(at(10, 15), at(10, 30), 1.5, estimated=True, bounds=(0, 6)),
            # half of the reading in a period of two hours
            Ask(at(10, 30), at(12, 30), 3.0, 0.25, estimated=True, bounds=(0, 6)),
        ),
    ),
    Scenario(
        "an hourly reading of nothing is known to be nothing",
        meter=of((Reading(at(11), 0.0),), device=Device(interval_s=3600)),
        asks=(Ask(at(10, 15), at(10, 30), 0),),
    ),
    Scenario(
        "the registry's interval is shorter than the spacing",
        meter=of(intervals(at(10), at(11), AC, step_s=300), device=Device(interval_s=60)),
        asks=(Ask(at(10), at(10, 15), 0.3, 0.2), Ask(at(10), at(11), 1.2, 0.2)),  # 3 minutes of 15 have a reading
    ),
    Scenario(
        "the registry's interval is longer than the spacing",
        meter=of(intervals(at(10), at(11), AC), device=Device(interval_s=120)),
        asks=(
            # 10:01 covers 9:59 to 10:01: half of it belongs to the quarter before; no energy is counted twice
            Ask(at(9, 45), at(10), 0.05, 1 / 15),
            # 10:01 half, 10:02 to 10:15 whole, 10:16 half
            Ask(at(10), at(10, 15), 1.5),
            Ask(at(9), at(11), 6.0, 61 / 120),
        ),
    ),
    Scenario(
        "the median passes over a hole",
        meter=of(intervals(at(10), at(10, 2), AC), intervals(at(10, 3), at(10, 5), AC)),
        asks=(Ask(at(10), at(10, 15), 0.4, 4 / 15),),  # spacings 60, 120, 60: a minute each
    ),
    Scenario(
        "the smaller of two spacings",
        meter=of((Reading(at(10, 1), 0.09), Reading(at(10, 2), 0.09), Reading(at(10, 4), 0.09))),
        asks=(
            # spacings 60 and 120: 60 s each. The first begins at 10:00.
            Ask(at(9, 45), at(10), 0, 0, "none"),
            # covered are 10:00 to 10:02 and 10:03 to 10:04
            Ask(at(10), at(10, 15), 0.27, 180 / 900),
        ),
    ),
    Scenario(
        "the smaller of the two spacings in the middle of four",
        meter=of(tuple(Reading(at(10, minute), 0.2) for minute in (0, 1, 3, 6, 10))),
        asks=(
            # spacings 1, 2, 3 and 4 minutes: 2 each. 9:58-10:00, 9:59-10:01, 10:01-10:03, 10:04-10:06, 10:08-10:10:
            # before 10:00 lie the first whole and half of the second, after it half of the second and three.
            Ask(at(9, 45), at(10), 0.3, 2 / 15),
            Ask(at(10), at(10, 15), 0.7, 7 / 15),
        ),
    ),
    Scenario(
        "a quarter-hour meter that lost one of four",
        meter=of((Reading(at(10, 15), 1.5), Reading(at(10, 30), 1.5), Reading(at(11), 1.5))),
        asks=(
            # spacings 15 and 30 minutes: 15 each. The three lie in the hour whole; 10:30 to 10:45 is missing.
            Ask(at(10), at(11), 4.5, 45 / 60),
            Ask(at(10, 30), at(10, 45), 0, 0, "none"),
            Ask(at(9), at(11), 4.5, 45 / 120),
        ),
    ),
    Scenario(
        "minutes through midnight",
        meter=of(intervals(at(23, 45), at(24, 15), AC)),
        asks=(
            # the stamp 24:00 is of the next day, with a minute's spacing there as well
            Ask(at(23, 45), at(24), 1.5),
            Ask(at(24), at(24, 15), 1.5),
        ),
    ),
    Scenario(
        "another interval on the next day",
        # 23:50 and 23:55 with five minutes; 24:00, 24:01, 24:02 with one
        meter=of(intervals(at(23, 45), at(23, 55), 0.5, step_s=300), intervals(at(23, 59), at(24, 2), AC)),
        asks=(Ask(at(23, 45), at(24), 1.1, 11 / 15), Ask(at(24), at(24, 15), 0.2, 2 / 15)),
    ),
    Scenario(
        "the last quarter hour of a day is stamped on the next",
        meter=of(intervals(at(23), at(24), 1.5, step_s=900)),
        asks=(Ask(at(23, 45), at(24), 1.5), Ask(at(0), at(24), 6.0, 1 / 24)),  # a lone reading of its day
    ),
    Scenario(
        "a reading of 0 covers its time",
        meter=of(intervals(at(10), at(10, 15), 0.0)),
        asks=(Ask(at(10), at(10, 15), 0), Ask(at(10), at(10, 30), 0, 0.5)),
    ),
    Scenario(
        "stamps off the minute",
        meter=of(intervals(at(9, 59, 30), at(10, 15, 30), AC)),
        asks=(
            # half of the first lies before 10:00, half of the last after 10:15
            Ask(at(9, 45), at(10), 0.05, 30 / 900),
            Ask(at(10), at(10, 15), 1.5),
            Ask(at(10, 15), at(10, 30), 0.05, 30 / 900),
        ),
    ),
    Scenario(
        "readings without energy say nothing of the interval",
        meter=of(intervals(at(10), at(10, 15), AC), tuple(Reading(at(10, 0, second)) for second in range(5, 900, 10))),
        asks=(Ask(at(10), at(10, 15), 1.5),),
    ),
    Scenario(
        "standby of 5 W for 20 hours",
        meter=of(intervals(at(0), at(20), 0.00125, step_s=900), intervals(at(20), at(24), 1.5, step_s=900)),
        asks=(
            # 80 x 0.00125; 16 x 1.5
            Ask(at(0), at(20), 0.1),
            Ask(at(20), at(24), 24.0),
        ),
    ),
    Scenario(
        "days of 23 and 25 hours and a day of Kolkata",
        meter=of(intervals(at(-24), at(48), 1.5, step_s=900)),
        asks=(
            # a local day is only another period: 6 kWh an hour
            Ask(at(-1), at(22), 138.0),
            Ask(at(-2), at(23), 150.0),
            Ask(at(-6, 30), at(18, 30), 144.0),
        ),
    ),
    Scenario(
        "a period to the second",
        meter=of(intervals(at(10), at(11), AC)),
        # 10:00:30 to 10:01:15: half a minute and a quarter of one
        asks=(Ask(at(10, 0, 30), at(10, 1, 15), 0.075),),
    ),
)
