"""Decisions on registers: what somebody knows better. 22 kW may bring 22/60 + 0.05 = 0.4166 kWh a minute."""

from support.energy.cases.build import Ask, Scenario, at, intervals, levels, of, rising
from support.energy.model import Decision, Device

SCENARIOS = (
    Scenario(
        "an exchanged meter whose start is known",
        meter=of(
            rising(at(10), at(10, 30), 500, 0.1),
            rising(at(10, 31), at(11), 5000, 0.1),
            decisions=(Decision(at(10, 31), "exchange", 4999.9),),
        ),
        # 3.0 before, 0.1 by the new meter up to 10:31, 2.9 after: nothing is lost, nothing suspect
        asks=(
            Ask(at(10), at(11), 6.0, source="register"),
            Ask(at(10, 30), at(10, 45), 1.5, source="register"),
        ),
        events=((at(10, 31), "decided", 0.1),),
    ),
    Scenario(
        "an exchange in a gap",
        meter=of(
            rising(at(10), at(10, 30), 500, 0.1),
            rising(at(12, 30), at(13), 102, 0.1),
            decisions=(Decision(at(12, 30), "exchange", 100),),
        ),
        # 3.0, 2.0 by the new meter, 3.0
        asks=(
            Ask(at(10), at(13), 8.0, source="register"),
            Ask(at(11), at(12), 1.0, source="register", estimated=True, bounds=(0, 2)),
        ),
        events=((at(12, 30), "decided", 2),),
    ),
    Scenario(
        "a reset that looks like a lower start",
        meter=of(levels(at(10), 500.0, 500.1, 3.0, 3.1), decisions=(Decision(at(10, 2), "reset"),)),
        # 0.1, then the 3.0 that a minute cannot bring, then 0.1
        asks=(
            Ask(at(10), at(10, 15), 3.2, 3 / 15, "register"),
            Ask(at(10, 1), at(10, 2), 3.0, source="register"),
        ),
        events=((at(10, 2), "decided", 3),),
    ),
    Scenario(
        "a reset that was none",
        meter=of(
            levels(at(10), 500.0, 500.1, 0.1, 0.2, 500.2),
            decisions=tuple(Decision(at(10, minute), "ignore") for minute in (2, 3)),
        ),
        # two bad values in succession; from 10:01 to 10:04 the register rises by 0.1
        asks=(
            Ask(at(10), at(10, 15), 0.2, 4 / 15, "register"),
            Ask(at(10, 1), at(10, 4), 0.1, source="register"),
        ),
        events=((at(10, 2), "decided", 0), (at(10, 3), "decided", 0)),
    ),
    Scenario(
        "an ignored reading is no witness",
        meter=of(levels(at(10), 100.0, 9999.0, 100.1, 9999.5, 9999.6), decisions=(Decision(at(10, 2), "ignore"),)),
        # without the 100.1 the 9999.0 is held by 9999.5: an impossible step; then 0.5 in two minutes, and 0.1
        asks=(Ask(at(10), at(10, 15), 0.6, 3 / 15, "register", suspect=True),),
        events=((at(10, 1), "impossible_step", 0), (at(10, 2), "decided", 0)),
    ),
    Scenario(
        "the last reading is ignored",
        meter=of(levels(at(10), 100.0, 100.1, 100.3), decisions=(Decision(at(10, 2), "ignore"),)),
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register"),),
        events=((at(10, 2), "decided", 0),),
    ),
    Scenario(
        "the first reading is ignored",
        meter=of(levels(at(10), 0.0, 34507.5, 34507.6), decisions=(Decision(at(10), "ignore"),)),
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register"),),
        events=((at(10), "decided", 0),),
    ),
    Scenario(
        "a decision on the first reading",
        meter=of(levels(at(10), 7.0, 7.1), decisions=(Decision(at(10), "reset"),)),
        # it began again, but from when on it counted nobody knows
        asks=(Ask(at(10), at(10, 15), 0.1, 1 / 15, "register"),),
        events=((at(10), "decided", 0),),
    ),
    Scenario(
        "all readings are ignored",
        meter=of(levels(at(10), 7.0, 7.1), decisions=tuple(Decision(at(10, minute), "ignore") for minute in (0, 1))),
        asks=(Ask(at(10), at(10, 15), 0, 0, "none"),),
        events=((at(10), "decided", 0), (at(10, 1), "decided", 0)),
    ),
    Scenario(
        "the reading before a decided start has no witness",
        meter=of(levels(at(10), 100.0, 100.3, 100.1, 100.2), decisions=(Decision(at(10, 2), "exchange", 100.1),)),
        # the 100.1 of the new meter takes nothing back: 0.3, then 0.0, then 0.1
        asks=(Ask(at(10), at(10, 15), 0.4, 3 / 15, "register"),),
        events=((at(10, 2), "decided", 0),),
    ),
    Scenario(
        "a jump before a decided start stays undecided",
        meter=of(levels(at(10), 100.0, 9999.0, 0.2, 0.3), decisions=(Decision(at(10, 2), "reset"),)),
        # 9999.0 is no value; from 10:00 to 10:02 the new register counted 0.2, then 0.1
        asks=(Ask(at(10), at(10, 15), 0.3, 3 / 15, "register"), Ask(at(10), at(10, 2), 0.2, source="register")),
        events=((at(10, 2), "decided", 0.2),),
    ),
    Scenario(
        "a rise that was an exchange",
        meter=of(levels(at(10), 100.0, 100.3, 100.4), decisions=(Decision(at(10, 1), "exchange", 100.2),)),
        # it looks like 0.3, and was 0.1
        asks=(Ask(at(10), at(10, 15), 0.2, 2 / 15, "register"),),
        events=((at(10, 1), "decided", 0.1),),
    ),
    Scenario(
        "a session that the device cannot have counted in time, and did",
        meter=of(
            levels(at(10), 11.9, 12.0, 5.0, 5.1),
            device=Device(kind="session"),
            decisions=(Decision(at(10, 2), "reset"),),
        ),
        asks=(Ask(at(10), at(10, 15), 5.2, 3 / 15, "register"),),
        events=((at(10, 2), "decided", 5),),
    ),
    Scenario(
        "intervals in a stretch that was decided",
        meter=of(
            levels(at(10), 500.0),
            intervals(at(10, 30), at(11), 0.1),
            levels(at(12), 8.0, 8.0),
            decisions=(Decision(at(12), "reset"),),
        ),
        # 8.0 in two hours, 3.0 of them in their own half an hour; the other 5.0 in the hour and a half around it
        asks=(
            Ask(at(10), at(12), 8.0, source="mixed"),
            Ask(at(10, 30), at(11), 3.0),
            Ask(at(11), at(11, 45), 2.5, source="register", estimated=True, bounds=(0, 5)),
        ),
        events=((at(12), "decided", 8),),
    ),
)
