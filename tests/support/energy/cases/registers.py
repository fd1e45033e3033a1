"""Registers: which reading counts, and how much. A device of 22 kW may rise by 22/60 + 0.05 = 0.4166 kWh a minute."""

from support.energy.cases.build import Ask, Scenario, at, levels, of, rising
from support.energy.model import Device

_SESSION = Device(kind="session")

SCENARIOS = (
    Scenario(
        "a register a minute",
        meter=of(rising(at(10), at(11), 100, 0.1)),
        asks=(Ask(at(10), at(11), 6.0, source="register"), Ask(at(10, 45), at(11), 1.5, source="register")),
    ),
    Scenario(
        "a register is known from its first to its last reading",
        meter=of(rising(at(10, 5), at(10, 10), 100, 0.1)),
        asks=(
            Ask(at(10), at(10, 15), 0.5, 5 / 15, "register"),
            Ask(at(10, 15), at(10, 30), 0, 0, "none"),
            Ask(at(10, 10), at(10, 15), 0, 0, "none"),
        ),
    ),
    Scenario(
        "a lone register reading is no stretch",
        meter=of(levels(at(10, 5), 100.0)),
        asks=(Ask(at(10), at(10, 15), 0, 0, "none"),),
    ),
    Scenario(
        "a register is interpolated at the quarter hour",
        meter=of(levels(at(10, 10), 100.0, 101.0, step_s=600)),
        # 10:10 to 10:20: five minutes and half of the rise on either side
        asks=(Ask(at(10), at(10, 15), 0.5, 1 / 3, "register"), Ask(at(10, 15), at(10, 30), 0.5, 1 / 3, "register")),
    ),
    Scenario(
        "a register that stands still",
        meter=of(rising(at(10), at(12), 100, 0)),
        asks=(Ask(at(10), at(12), 0, source="register"),),
    ),
    Scenario(
        "jitter adds nothing",
        meter=of(levels(at(10), 100.0, 100.1, 100.07, 100.12)),
        asks=(
            # the highest value was 100.1: the dip is 0, the next minute 0.02
            Ask(at(10, 1), at(10, 2), 0, source="register"),
            Ask(at(10, 2), at(10, 3), 0.02, source="register"),
            Ask(at(10), at(10, 15), 0.12, 3 / 15, "register"),
        ),
    ),
    Scenario(
        "jitter up and down for a quarter hour",
        meter=of(levels(at(10), *[100.0, 100.04] * 7, 100.0, 100.04)),
        # rises once from 100.0 to 100.04
        asks=(Ask(at(10), at(10, 15), 0.04, source="register"),),
    ),
    Scenario(
        "a single 0 between two values",
        meter=of(levels(at(10), 34507.4, 34507.5, 0.0, 34507.6)),
        # the 0 is no value: from 10:01 to 10:03 the register rises by 0.1
        asks=(
            Ask(at(10, 1), at(10, 3), 0.1, source="register"),
            Ask(at(10), at(10, 15), 0.2, 3 / 15, "register"),
        ),
        events=((at(10, 2), "contradicted", 0),),
    ),
    Scenario(
        "a dip that comes back",
        meter=of(levels(at(10), 5688.5, 5213.9, 5688.6)),
        asks=(Ask(at(10), at(10, 15), 0.1, 2 / 15, "register"),),
        events=((at(10, 1), "contradicted", 0),),
    ),
    Scenario(
        "a single spike",
        meter=of(levels(at(10), 100.0, 9999.0, 100.1)),
        asks=(Ask(at(10), at(10, 15), 0.1, 2 / 15, "register"),),
        events=((at(10, 1), "contradicted", 0),),
    ),
    Scenario(
        "a meter exchanged for one that shows more",
        meter=of(rising(at(10), at(10, 30), 500, 0.1), rising(at(10, 31), at(11), 5000, 0.1)),
        asks=(
            # 3.0 before and 2.9 after; the minute from 10:30 is lost
            Ask(at(10), at(11), 5.9, 59 / 60, "register", suspect=True),
            Ask(at(10, 30), at(10, 45), 1.4, 14 / 15, "register", suspect=True),
            Ask(at(10, 15), at(10, 30), 1.5, source="register"),
            Ask(at(10, 45), at(11), 1.5, source="register"),
        ),
        events=((at(10, 31), "impossible_step", 0),),
    ),
    Scenario(
        "a reset near zero is credited",
        meter=of(levels(at(10), 500.0, 500.1, 0.1, 0.2)),
        # 0.1 before, 0.1 shown after the reset, 0.1 more
        asks=(Ask(at(10), at(10, 15), 0.3, 3 / 15, "register"),),
        events=((at(10, 2), "reset", 0.1),),
    ),
    Scenario(
        "two resets",
        meter=of(levels(at(10), 500.0, 0.1, 0.2, 0.3, 0.4, 0.1, 0.2)),
        # 0.1 shown, 0.3 more, 0.1 shown, 0.1 more; the second 0.1 is less than half of 0.4
        asks=(Ask(at(10), at(10, 15), 0.6, 6 / 15, "register"),),
        events=((at(10, 1), "reset", 0.1), (at(10, 5), "reset", 0.1)),
    ),
    Scenario(
        "a small rise that is taken back",
        meter=of(levels(at(10), 0.1, 0.2, 0.1, 0.2, 0.3)),
        # the next reading is back at 0.1: the first 0.2 is no value
        asks=(Ask(at(10), at(10, 15), 0.2, 4 / 15, "register"),),
        events=((at(10, 1), "contradicted", 0),),
    ),
    Scenario(
        "a spike that its time allows",
        # 2900 kWh are possible in eleven hours at 400 kW; the next reading is back at 100.1
        meter=of(
            levels(at(10), 100.0, 100.0, step_s=3600),
            levels(at(22), 3000.0, 100.1, 100.2),
            device=Device(max_power_kw=400.0),
        ),
        asks=(
            # 0.1 from 11:00 to 22:01 and 0.1 in the minute after
            Ask(at(10), at(22, 2), 0.2, source="register"),
            Ask(at(22, 1), at(22, 2), 0.1, source="register"),
        ),
        events=((at(22), "contradicted", 0),),
    ),
    Scenario(
        "a short session between sparse readings",
        # 10 kWh, and 35 more half an hour later, at 70 kW of 150: a session that passed the last one's 40
        meter=of(
            levels(at(10), 0.0, 20.0, 40.0, 10.0, 45.0, 46.0, step_s=1800),
            device=Device(max_power_kw=150.0, kind="session"),
        ),
        asks=(Ask(at(10), at(12, 30), 86.0, source="register"),),
        events=((at(11, 30), "session", 10),),
    ),
    Scenario(
        "a lower level is held",
        meter=of(levels(at(10), 5000.0, 5000.1, 300.0, 300.1)),
        asks=(Ask(at(10), at(10, 15), 0.2, 3 / 15, "register"), Ask(at(10, 1), at(10, 2), 0, source="register")),
        events=((at(10, 2), "lower_start", 0),),
    ),
    Scenario(
        "a reset that shows more than a minute can bring",
        meter=of(levels(at(10), 500.0, 3.0, 3.1)),
        # 3.0 > 0.41666...: nothing is credited
        asks=(Ask(at(10), at(10, 15), 0.1, 2 / 15, "register"),),
        events=((at(10, 1), "lower_start", 0),),
    ),
    Scenario(
        "more than half of the highest value is not near zero",
        meter=of(levels(at(10), 0.5, 0.3, 0.4)),
        # 0.3 is possible in a minute, but more than 0.25
        asks=(Ask(at(10), at(10, 15), 0.1, 2 / 15, "register"),),
        events=((at(10, 1), "lower_start", 0),),
    ),
    Scenario(
        "a reset in a gap is credited up to an hour's power",
        meter=of(levels(at(10), 500.0, 500.1), levels(at(12, 1), 8.0, 8.1)),
        asks=(
            # 0.1, then 8.0 in the two hours of the gap, then 0.1
            Ask(at(10), at(13), 8.2, 122 / 180, "register"),
            Ask(at(11), at(12), 4.0, source="register", estimated=True, bounds=(0, 8)),
        ),
        events=((at(12, 1), "reset", 8),),
    ),
    Scenario(
        "a reset in a gap that shows more than an hour's power",
        meter=of(levels(at(10), 500.0, 500.1), levels(at(12, 1), 30.0, 30.1)),
        # 30 > 22.05: nothing is credited, and what the two hours took is unknown
        asks=(
            Ask(at(10), at(13), 0.2, 2 / 180, "register", suspect=True),
            Ask(at(11), at(12), 0, 0, "none", suspect=True),
        ),
        events=((at(12, 1), "lower_start", 0),),
    ),
    Scenario(
        "the first reading is 0",
        meter=of(levels(at(10), 0.0, 34507.5, 34507.6)),
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register", suspect=True),),
        events=((at(10, 1), "impossible_step", 0),),
    ),
    Scenario(
        "the first reading is a spike",
        meter=of(levels(at(10), 9000.0, 100.0, 100.1)),
        asks=(Ask(at(10), at(10, 15), 0.1, 2 / 15, "register"),),
        events=((at(10, 1), "lower_start", 0),),
    ),
    Scenario(
        "the last reading is a spike",
        meter=of(levels(at(10), 100.0, 100.1, 9999.0)),
        # nothing can contradict it yet: undecided, and no event
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register"),),
    ),
    Scenario(
        "the last reading is 0",
        meter=of(levels(at(10), 100.0, 100.1, 0.0)),
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register"),),
    ),
    Scenario(
        "two zeros in succession",
        meter=of(levels(at(10), 100.0, 100.1, 0.0, 0.0, 100.2, 100.3)),
        # 0.1; a reset that shows 0; a step of 100.2 that no minute brings; 0.1
        asks=(
            Ask(at(10), at(10, 15), 0.2, 4 / 15, "register", suspect=True),
            Ask(at(10, 3), at(10, 4), 0, 0, "none", suspect=True),
        ),
        events=((at(10, 2), "reset", 0), (at(10, 4), "impossible_step", 0)),
    ),
    Scenario(
        "two spikes in succession",
        meter=of(levels(at(10), 100.0, 9999.0, 9999.5, 100.1, 100.2)),
        # 9999.0 is held by 9999.5: impossible. 9999.5 is contradicted by 100.1. That begins anew, then 0.1.
        asks=(Ask(at(10), at(10, 15), 0.1, 3 / 15, "register", suspect=True),),
        events=((at(10, 1), "impossible_step", 0), (at(10, 2), "contradicted", 0), (at(10, 3), "lower_start", 0)),
    ),
    Scenario(
        "a step just possible and one just impossible",
        meter=of(levels(at(10), 100.0, 100.41, 100.83, 100.9)),
        # 0.41 counts, 0.42 does not, 0.07 counts
        asks=(Ask(at(10), at(10, 15), 0.48, 2 / 15, "register", suspect=True),),
        events=((at(10, 2), "impossible_step", 0),),
    ),
    Scenario(
        "a strong charger by the registry",
        meter=of(levels(at(10), 100.0, 104.0, 108.0), device=Device(max_power_kw=300)),
        asks=(Ask(at(10), at(10, 15), 8.0, 2 / 15, "register"),),  # up to 5.05 a minute
    ),
    Scenario(
        "a contradicted value is no last accepted reading",
        meter=of(levels(at(10), 100.0, 9999.0, 100.7, 100.8)),
        # two minutes since 10:00: 0.7 <= 0.78333... is possible
        asks=(Ask(at(10), at(10, 15), 0.8, 3 / 15, "register"),),
        events=((at(10, 1), "contradicted", 0),),
    ),
    Scenario(
        "an impossible step over an hour",
        meter=of(levels(at(10), 100.0, 100.1), levels(at(11, 1), 200.0, 200.1)),
        # 99.9 > 22.05: the whole hour is suspect
        asks=(
            Ask(at(10), at(12), 0.2, 2 / 120, "register", suspect=True),
            Ask(at(10, 15), at(10, 30), 0, 0, "none", suspect=True),
        ),
        events=((at(11, 1), "impossible_step", 0),),
    ),
    Scenario(
        "sessions that begin at 0",
        vehicle=of(levels(at(10), 11.9, 12.0), levels(at(11), 0.0, 0.1, 0.2), device=_SESSION),
        asks=(
            # 0.1 and 0.2; in between nothing
            Ask(at(10), at(12), 0.3, 62 / 120, "register", side="vehicle"),
            Ask(at(10, 30), at(10, 45), 0, source="register", side="vehicle"),
        ),
        events=((at(11), "session", 0),),
    ),
    Scenario(
        "a session that was seen late is credited whole",
        vehicle=of(levels(at(10), 11.9, 12.0), levels(at(12, 1), 8.0, 8.1), device=_SESSION),
        # 0.1, 8.0 in the two hours since 10:01, 0.1
        asks=(
            Ask(at(10), at(13), 8.2, 122 / 180, "register", side="vehicle"),
            Ask(at(11), at(12), 4.0, source="register", estimated=True, bounds=(0, 8), side="vehicle"),
        ),
        events=((at(12, 1), "session", 8),),
    ),
    Scenario(
        "the same values are a lower start of a lifetime register",
        vehicle=of(levels(at(10), 11.9, 12.0), levels(at(12, 1), 8.0, 8.1)),
        # 8 is more than half of 12; two hours of minutes are a gap, and unknown
        asks=(Ask(at(10), at(13), 0.2, 2 / 180, "register", suspect=True, side="vehicle"),),
        events=((at(12, 1), "lower_start", 0),),
    ),
    Scenario(
        "a session with more than its time can bring",
        vehicle=of(levels(at(10), 11.9, 12.0, 5.0, 5.1), device=_SESSION),
        asks=(Ask(at(10), at(10, 15), 0.2, 3 / 15, "register", side="vehicle"),),
        events=((at(10, 2), "session", 0),),
    ),
    Scenario(
        "a single 0 within a session",
        vehicle=of(levels(at(10), 5.0, 5.1, 0.0, 5.2), device=_SESSION),
        asks=(Ask(at(10), at(10, 15), 0.2, 3 / 15, "register", side="vehicle"),),
        events=((at(10, 2), "contradicted", 0),),
    ),
)
