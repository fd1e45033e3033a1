"""Lower starts, which are credited nothing: 0 in a short stretch, unknown in a gap."""

from support.energy.cases.build import AC, Ask, Scenario, at, intervals, levels, of, rising

SCENARIOS = (
    Scenario(
        "a lower start after 15 minutes",
        meter=of(rising(at(10), at(10, 5), 500, 0.1), rising(at(10, 20), at(10, 25), 300, 0.1)),
        # 0.5 before and 0.5 after; the 15 minutes are known to be 0
        asks=(Ask(at(10), at(10, 25), 1.0, source="register"), Ask(at(10, 5), at(10, 20), 0, source="register")),
        events=((at(10, 20), "lower_start", 0),),
    ),
    Scenario(
        "a lower start after 16 minutes",
        meter=of(rising(at(10), at(10, 5), 500, 0.1), rising(at(10, 21), at(10, 26), 300, 0.1)),
        asks=(
            # ten minutes of 26
            Ask(at(10), at(10, 26), 1.0, 10 / 26, "register", suspect=True),
            Ask(at(10, 6), at(10, 21), 0, 0, "none", suspect=True),
            Ask(at(10, 21), at(10, 26), 0.5, source="register"),
        ),
        events=((at(10, 21), "lower_start", 0),),
    ),
    Scenario(
        "a lower start after two hours of an hourly register",
        meter=of(levels(at(9), 500.0, 506.0, 512.0, step_s=3600), levels(at(13), 300.0, 306.0, step_s=3600)),
        # spacings 1, 1, 2 and 1 hours: two hours are not longer than twice one
        asks=(Ask(at(11), at(13), 0, source="register"), Ask(at(9), at(14), 18.0, source="register")),
        events=((at(13), "lower_start", 0),),
    ),
    Scenario(
        "a lower start after three hours of an hourly register",
        meter=of(levels(at(9), 500.0, 506.0, 512.0, step_s=3600), levels(at(14), 300.0, 306.0, step_s=3600)),
        asks=(
            Ask(at(11), at(14), 0, 0, "none", suspect=True),
            Ask(at(9), at(15), 18.0, 3 / 6, "register", suspect=True),
        ),
        events=((at(14), "lower_start", 0),),
    ),
    Scenario(
        "intervals count in a gap that ends with a lower start",
        meter=of(levels(at(10), 500.0, 500.1), levels(at(12, 1), 400.0, 400.1), intervals(at(10, 1), at(11, 1), AC)),
        asks=(
            # 0.1 and 0.1 of the register, 6.0 of the intervals; 62 minutes of 180
            Ask(at(10), at(13), 6.2, 62 / 180, "mixed", suspect=True),
            Ask(at(11), at(12), 0.1, 1 / 60, suspect=True),
        ),
        events=((at(12, 1), "lower_start", 0),),
    ),
    Scenario(
        "intervals count in an hour that ends with a lower start",
        meter=of(levels(at(10), 500.0, 506.0, 300.0, 306.0, step_s=3600), intervals(at(11), at(11, 30), AC)),
        asks=(
            # the hour is no gap and rises by 0: the intervals have more, the half hour after them is not covered
            Ask(at(11), at(12), 3.0, 1 / 2),
            Ask(at(11, 30), at(12), 0, 0, "none"),
            Ask(at(10), at(13), 15.0, 2.5 / 3, "mixed"),
        ),
        events=((at(12), "lower_start", 0),),
    ),
)
