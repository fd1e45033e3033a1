"""An evaluation cycle on vehicles: what is notified of readings however they arrive, and what is only recorded."""

import random

import pytest

from support.rules import vehicles
from voltd.rules import advance, charging_status, load, metric_value, rule_state

MINUTE, HOUR = 60, 3600
LOW = ("V1", 3, 2, {"soc_pct": 12.0}), ("V1", 2, 1, {"soc_pct": 12.0})  # the second one confirms the first


@pytest.fixture
def rig(module_database):
    made = vehicles.Rig(module_database)
    yield made
    made.close()


def test_newest_first_in_one_batch_is_one_episode(rig):
    """A buffered reading that follows the live one in the same batch does not hide it."""
    rig.store(("V1", 1, 0.5, {"speed_kmh": 150.0}), ("V1", 31, 0.4, {"speed_kmh": 140.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "open")]


def test_reading_that_comes_after_a_newer_calm_one_pages_nobody(rig):
    """What arrived before the excursion counts as evaluated, as it is within all limits."""
    rig.store(("V1", 1, 0.5, {"speed_kmh": 80.0}), ("V1", 31, 0.4, {"speed_kmh": 140.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "past")]


def test_live_excursion_in_one_batch_with_one_of_yesterday(rig):
    """However much was stored in between, both are found: the live one is notified, the other one recorded."""
    rig.sql(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, soc_pct)"
        " SELECT 'V1', at, at, 50 FROM generate_series(now() - INTERVAL '28 h', now() - INTERVAL '1 min',"
        " INTERVAL '4 s') at"
    )
    rig.store(("V1", 28 * HOUR - 5, 0.5, {"speed_kmh": 150.0}), ("V1", 1, 0.4, {"speed_kmh": 160.0}))
    rig.check()
    assert sorted(rig.alerts()) == [("overspeed", "V1", "open"), ("overspeed", "V1", "past")]
    assert rig.waiting() == 0


def test_backlog_longer_than_a_check_reads_of_a_vehicle_that_fires(rig):
    """What is live is seen at once, whatever else came of a vehicle with an open alert."""
    rig.store(*LOW)
    rig.check()
    rig.age(20 * HOUR)
    rig.sql(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, soc_pct)"
        " SELECT 'V1', at, now(), 12 FROM generate_series(now() - INTERVAL '19 h', now() - INTERVAL '1 h',"
        " INTERVAL '3 s') at"
    )
    rig.store(("V1", 1, 0.5, {"soc_pct": 80.0, "speed_kmh": 200.0}))
    rig.check()
    assert rig.alerts()[:2] == [("soc_low", "V1", "over"), ("overspeed", "V1", "open")]


def test_backlog_of_a_vehicle_that_fires_is_read_once(rig):
    """A vehicle that sends its backlog and then nothing costs nothing afterwards, and its alert stays open."""
    rig.store(*LOW)
    rig.check()
    rig.age(3 * HOUR)
    rig.store(*[("V1", 2 * HOUR - one * MINUTE, 0.5, {"soc_pct": 50.0}) for one in range(60)])
    rig.check()
    ((turn,),) = rig.sql("SELECT epoch FROM volt_internal.alert_progress")
    rig.check()
    assert rig.sql("SELECT epoch FROM volt_internal.alert_progress") == [(turn,)]
    assert rig.alerts() == [("soc_low", "V1", "open")]


def test_spool_drained_after_an_hour_pages_nobody_with_anything_new(rig):
    """An open alert of one rule makes no news of what another rule finds in readings of 40 minutes ago."""
    rig.store(*LOW)
    rig.check()
    rig.age(HOUR)
    deferred = [
        (vehicle, ago, ago - 1, {"speed_kmh": speed}) for vehicle in ("V1", "V2") for ago, speed in _FAST_40_MIN_AGO
    ]
    rig.store(*deferred)
    rig.check()
    assert rig.alerts()[0] == ("soc_low", "V1", "open")
    assert sorted(rig.alerts()[1:]) == [("overspeed", "V1", "past"), ("overspeed", "V2", "past")]


_FAST_40_MIN_AGO = ((2400, 150.0), (2340, 80.0))


def test_alert_that_was_over_during_an_outage_is_over_when_the_spool_is_drained(rig):
    """What runs goes on with the readings that came in time, although they could not be stored then."""
    rig.store(("V1", 2, 1, {"speed_kmh": 150.0}))
    rig.check()
    rig.age(HOUR)
    rig.store(("V1", 2400, 2399, {"speed_kmh": 80.0}))
    rig.check()
    ((opened_at, resolved_at),) = rig.sql("SELECT opened_at, resolved_at FROM volt.alert")
    assert 1100 < (resolved_at - opened_at).total_seconds() < 1300


def test_late_reading_of_a_vehicle_with_a_duration_running_tells_no_history(rig):
    """What was notified two hours ago is not notified again because a reading of three hours ago arrives."""
    rig.start(
        '[rules.fast]\nmetric="speed_kmh"\napplies_to=["vehicle"]\nfire_above=120.0\nclear_below=115.0\n'
        '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nfor_s=7200.0\n'
    )
    then, over = vehicles.ago(2 * HOUR), vehicles.ago(2 * HOUR - 60)
    rig.sql(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, speed_kmh)"
        " VALUES ('V1', %s, %s, 150), ('V1', %s, %s, 80)", then, then, over, over,
    )  # fmt: skip
    rig.sql(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, resolved_at, message)"
        " VALUES ('fast', 'warning', 'vehicle', 'V1', %s, %s, %s, '')", then, then, over,
    )  # fmt: skip
    rig.store(*LOW)
    rig.check()
    rig.store(("V1", 3 * HOUR, 0.1, {"speed_kmh": 130.0}))
    rig.check()
    assert "open" not in [one[2] for one in rig.alerts()]
    assert [one[2] for one in rig.alerts()].count("over") == 1


def test_out_of_order_reading_stays_history_when_a_late_one_is_read(rig):
    """A late reading makes the check read history again; none of that is news, however recent it is."""
    rig.store(("V1", 300, 299, {"speed_kmh": 80.0}), ("V1", 310, 298, {"speed_kmh": 150.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "past")]
    rig.store(("V1", 1000, 0.5, {"speed_kmh": 130.0}))
    rig.check()
    assert {one[2] for one in rig.alerts()} == {"past"}


@pytest.mark.parametrize("before", [{"soc_pct": 12.0}, {"soc_pct": 50.0}])
def test_retained_reading_is_no_news(rig, before):
    """Whether or not the vehicle is read for another reason: it neither fires a rule nor ends an alert."""
    rig.store(("V1", 210, 209, before), ("V1", 200, 199, before))
    rig.check()
    known = rig.alerts()
    rig.store(("V1", 100, 1, {"soc_pct": 90.0, "speed_kmh": 200.0, "retained": True}))
    rig.check()
    assert rig.alerts() == known
    rig.age(HOUR)
    assert rig.alerts() == known
    rig.store(("V1", 3, 2, {"battery_temp_c": 90.0}), ("V1", 2, 1, {"battery_temp_c": 90.0}))
    rig.check()
    assert rig.alerts() == [*known, ("battery_overheat", "V1", "open")]


def test_live_reading_that_the_broker_also_retained_is_news(rig):
    """The broker's copy of a reading that is stored already, delivered before the check, takes nothing from it."""
    live = ("V1", 5, 4, {"speed_kmh": 200.0})
    rig.store(live)
    ((at,),) = rig.sql("SELECT recorded_at FROM volt.vehicle_reading")
    rig.sql("INSERT INTO volt.retained_reading VALUES ('V1', %s, now())", at)
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "open")]


def test_vehicle_on_a_charger_that_does_not_say_so_each_time(rig):
    """Its last word before the reading counts, though a newer one is known by now."""
    rig.store(("V1", 200, 199, {"soc_pct": 17.0, "charging_status": "charging"}))
    rig.store(("V1", 110, 3, {"soc_pct": 14.0}), ("V1", 100, 2, {"soc_pct": 14.0}))
    rig.store(("V1", 1, 0.5, {"soc_pct": 14.5, "charging_status": "charging"}))
    rig.check()
    assert rig.alerts() == []


def test_vehicle_off_the_charger_is_notified(rig):
    rig.store(("V1", 200, 199, {"soc_pct": 17.0, "charging_status": "idle"}))
    rig.store(("V1", 110, 3, {"soc_pct": 14.0}), ("V1", 100, 2, {"soc_pct": 14.0}))
    rig.store(("V1", 1, 0.5, {"soc_pct": 14.5, "charging_status": "charging"}))
    rig.check()
    assert rig.alerts() == [("soc_low", "V1", "over")]


def test_backlog_in_several_batches_is_one_past_episode(rig):
    """As ``voltd rules test`` shows it: 40 minutes without a gap, in four batches with a check after each."""
    for part in range(4):
        begin = 2 * HOUR - 600 * part
        rig.store(*[("V1", begin - MINUTE * one, 0.5, {"soc_pct": 12.0 - part}) for one in range(10)])
        rig.check()
    ((lasted, peak, message),) = rig.sql("SELECT resolved_at - opened_at, peak_value, message FROM volt.alert")
    assert (lasted.total_seconds(), peak) == (pytest.approx(39 * MINUTE, abs=5), 9.0)
    assert "was in the past after 39 min" in message
    assert message.endswith("peak 9 %")


def test_past_episode_too_long_to_be_read_again_goes_on_in_another_one(rig, monkeypatch):
    """Nothing of it is lost, and a check reads no more of it each time."""
    monkeypatch.setattr("voltd.rules.cycle.telemetry._ROWS_BEFORE", 25)
    for part in range(6):
        begin = 2 * HOUR - 600 * part
        rig.store(*[("V1", begin - MINUTE * one, 0.5, {"soc_pct": 12.0}) for one in range(10)])
        rig.check()
    lasted = [one.total_seconds() for (one,) in rig.sql("SELECT resolved_at - opened_at FROM volt.alert ORDER BY 1")]
    assert lasted == [pytest.approx(29 * MINUTE, abs=5)] * 2


def test_two_backlogs_days_apart_are_two_past_episodes(rig):
    """What lies between them is not part of either, whether they come in one batch or not."""
    rig.sql(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, soc_pct)"
        " VALUES ('V1', now() - INTERVAL '30 h', now() - INTERVAL '30 h', 80)"
    )
    for day in (2, 1):
        rig.store(*[("V1", day * 24 * HOUR - MINUTE * one, 0.5, {"soc_pct": 12.0}) for one in range(5)])
    for _ in range(3):
        rig.check()
    lasted = [one.total_seconds() for (one,) in rig.sql("SELECT resolved_at - opened_at FROM volt.alert")]
    assert lasted == [pytest.approx(4 * MINUTE, abs=5)] * 2
    assert rig.waiting() == 0


def _stream(dice, vehicle):
    """Readings of ten minutes in any order of arrival, some of them not live: (reading, whether it is live)."""
    for ago in range(600, 0, -15):
        yield (
            (
                vehicle, ago, ago - 1,
                {
                    "soc_pct": dice.choice((None, 4.0, 12.0, 17.0, 21.0)),
                    "speed_kmh": dice.choice((None, None, 0.0, 90.0, 117.0, 125.0)),
                    "battery_temp_c": dice.choice((60.0, 77.0, *[83.0] * 4)),
                    "charging_status": dice.choice(("charging", "idle", *[None] * 8)),
                },
            ),
            True,
        )  # fmt: skip
        wild = {"soc_pct": dice.choice((1.0, 99.0)), "speed_kmh": dice.choice((0.0, 200.0))}
        if dice.random() < 0.2:
            yield (vehicle, ago - 5, ago - 6, {**wild, "retained": True}), False
        if dice.random() < 0.2:
            yield (vehicle, ago + dice.randint(1, 3) * HOUR, ago - 7, wild), False


def _expected(rules, vehicle, stored):
    """(rule, vehicle, severity, begin, end, peak) of each episode, had each reading been evaluated on arrival."""
    known, readings = charging_status.ChargingTracker(charging_status.Charging()), []
    for at, soc, speed, temp, word in stored:
        charging = known.read(at, word, speed)
        readings.append((at, {"soc_pct": soc, "speed_kmh": speed, "battery_temp_c": temp}, charging))
    for rule in rules:
        found = [metric_value.MetricValue(at, at, values[rule.metric], charging) for at, values, charging in readings]
        last, transitions = advance.run(rule, rule_state.State(), found)
        ended = [one for one in transitions if one.kind is rule_state.TransitionKind.RESOLVED]
        for one in ended:
            yield rule.name, vehicle, one.severity.value, one.opened_at, one.resolved_at, one.peak_value
        if last.phase is rule_state.Phase.FIRING:
            yield rule.name, vehicle, last.severity.value, last.opened_at, None, last.peak_value


@pytest.mark.parametrize("seed", [1, 2])
def test_however_readings_arrive_the_live_ones_are_notified_and_no_others(rig, seed):
    """Batches, checks and restarts at any time; retained readings and backlog among the live ones."""
    rules = (
        '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nclear_above=20.0\n'
        'clear_when_charging=true\nseverity_steps=[{severity="critical", below=5.0}]\n'
        '[rules.fast]\nmetric="speed_kmh"\napplies_to=["vehicle"]\nfire_above=120.0\nclear_below=115.0\n'
        '[rules.hot]\nmetric="battery_temp_c"\napplies_to=["vehicle"]\nfire_above=80.0\nclear_below=75.0\nfor_s=40.0\n'
    )
    dice, vehicles = random.Random(seed), [f"V{number}" for number in range(6)]
    coming = [one for name in vehicles for one in _stream(dice, name)]
    coming.sort(key=lambda one: -one[0][2])
    live = {name: [] for name in vehicles}
    rig.start(rules)
    while coming:
        size = dice.choice((1, 3, 20))
        batch, coming = coming[:size], coming[size:]
        stored = rig.store(*[reading for reading, _ in batch])
        for one, (_, is_news) in zip(stored, batch, strict=True):
            if is_news:
                words = (one.soc_pct, one.speed_kmh, one.battery_temp_c, one.charging_status)
                live[one.vehicle_id].append((one.recorded_at, *words))
        dice.choice((rig.check, rig.check, lambda: None, lambda: rig.start(rules)))()
    rig.check()
    notified = rig.sql(
        "SELECT rule, device_id, severity, opened_at, resolved_at, peak_value FROM volt.alert WHERE NOT past"
    )
    parsed = load.parse(rules, source="test")
    expected = [one for name in vehicles for one in _expected(parsed, name, live[name])]
    assert {one[0] for one in expected} == {"low", "fast", "hot"}
    assert sorted(notified, key=str) == sorted(expected, key=str)


HELD = (
    '[charging]\ncharging_words=["on"]\ncharging_stale_s=3600.0\nmoving_above_kmh=3.0\n'
    '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nclear_above=20.0\n'
    "clear_when_charging=true\n"
)


@pytest.mark.parametrize(
    ("before", "fires"),
    [
        ([(3500, {"charging_status": " ON "})], False),
        ([(3700, {"charging_status": "on"})], True),  # too old a word
        ([(900, {"charging_status": "charging"})], True),  # none of the words of this file
        ([(900, {"charging_status": "on"}), (600, {"speed_kmh": 3.0})], False),
        ([(900, {"charging_status": "on"}), (600, {"speed_kmh": 4.0})], True),
        ([(900, {"charging_status": "on"}), (600, {"speed_kmh": 90.0, "retained": True})], False),
        ([(900, {"charging_status": "on", "speed_kmh": 40.0})], True),
        ([(900, {"speed_kmh": 40.0}), (600, {"charging_status": "on"})], False),
    ],
)
def test_how_long_a_word_on_charging_holds(rig, before, fires):
    """Until it is as old as the file says, or the vehicle moves; what was retained by the broker does not count."""
    rig.start(HELD)
    for ago, values in before:
        rig.store(("V1", ago, ago - 1, values))
    rig.store(("V1", 2, 1, {"soc_pct": 12.0}))
    rig.check()
    assert rig.alerts() == [("low", "V1", "open")] * fires


def test_more_news_than_one_check_takes_on_is_dealt_with_by_the_next(rig, monkeypatch):
    """A whole fleet with much to read: bounded pieces, and nobody is forgotten."""
    monkeypatch.setattr("voltd.rules.cycle.telemetry._ROWS_A_CYCLE", 4)
    for number in range(6):
        rig.store(*[(f"V{number}", 5 - one, 4 - one, {"speed_kmh": 150.0}) for one in range(3)])
    rig.check()
    assert 0 < len(rig.alerts()) < 6
    for _ in range(3):
        rig.check()
    assert rig.alerts() == [("overspeed", f"V{number}", "open") for number in range(6)]
    assert rig.waiting() == 0
