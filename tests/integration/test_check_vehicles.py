"""A check of the rules on vehicles: what is told of readings however they came, and what is only recorded."""

import check_vehicles_rig
import pytest

MINUTE, HOUR = 60, 3600


@pytest.fixture(scope="module")
def database(module_database):
    check_vehicles_rig.prepare(module_database)
    return module_database


@pytest.fixture
def rig(database):
    made = check_vehicles_rig.Rig(database)
    yield made
    made.close()


def test_newest_first_in_one_batch_is_one_episode(rig):
    """A buffered reading that follows the live one in the same batch does not hide it."""
    rig.store(("V1", 1, 0.5, {"speed_kmh": 150.0}), ("V1", 31, 0.4, {"speed_kmh": 140.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "open")]


def test_reading_that_comes_after_a_newer_calm_one_pages_nobody(rig):
    """What came before the excursion has been judged, by not being one."""
    rig.store(("V1", 1, 0.5, {"speed_kmh": 80.0}), ("V1", 31, 0.4, {"speed_kmh": 140.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "past")]


def test_live_excursion_in_one_batch_with_one_of_yesterday(rig):
    """However much was stored in between, both are found: the live one is told, the other one recorded."""
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
    rig.store(("V1", 2, 1, {"soc_pct": 12.0}))
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
    """A vehicle that sends its backlog and falls silent costs nothing afterwards, and its alert stays open."""
    rig.store(("V1", 2, 1, {"soc_pct": 12.0}))
    rig.check()
    rig.age(3 * HOUR)
    rig.store(*[("V1", 2 * HOUR - one * MINUTE, 0.5, {"soc_pct": 50.0}) for one in range(60)])
    rig.check()
    ((turn,),) = rig.sql("SELECT turn FROM volt.alert_progress")
    rig.check()
    assert rig.sql("SELECT turn FROM volt.alert_progress") == [(turn,)]
    assert rig.alerts() == [("soc_low", "V1", "open")]


def test_spool_drained_after_an_hour_pages_nobody_with_anything_new(rig):
    """An open alert of one rule makes no news of what another rule finds in readings of 40 minutes ago."""
    rig.store(("V1", 2, 1, {"soc_pct": 12.0}))
    rig.check()
    rig.age(HOUR)
    held = [
        (vehicle, ago, ago - 1, {"speed_kmh": speed}) for vehicle in ("V1", "V2") for ago, speed in _FAST_40_MIN_AGO
    ]
    rig.store(*held)
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
    """What was told two hours ago is not told again because a reading of three hours ago arrives."""
    rig.start(
        '[rules.fast]\nmetric="speed_kmh"\napplies_to=["vehicle"]\nfire_above=120.0\nclear_below=115.0\n'
        '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nfor_s=7200.0\n'
    )
    then, over = check_vehicles_rig.ago(2 * HOUR), check_vehicles_rig.ago(2 * HOUR - 60)
    rig.sql(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, speed_kmh)"
        " VALUES ('V1', %s, %s, 150), ('V1', %s, %s, 80)", then, then, over, over,
    )  # fmt: skip
    rig.sql(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, resolved_at, message)"
        " VALUES ('fast', 'warning', 'vehicle', 'V1', %s, %s, %s, '')", then, then, over,
    )  # fmt: skip
    rig.store(("V1", 2, 1, {"soc_pct": 12.0}))
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
    rig.store(("V1", 200, 199, before))
    rig.check()
    known = rig.alerts()
    rig.store(("V1", 100, 1, {"soc_pct": 90.0, "speed_kmh": 200.0, "retained": True}))
    rig.check()
    assert rig.alerts() == known
    rig.age(HOUR)
    assert rig.alerts() == known
    rig.store(("V1", 2, 1, {"battery_temp_c": 90.0}))
    rig.check()
    assert rig.alerts() == [*known, ("battery_overheat", "V1", "open")]


def test_live_reading_that_the_broker_also_retained_is_news(rig):
    """The broker's copy of a reading that is stored already, delivered before the check, takes nothing from it."""
    live = ("V1", 5, 4, {"speed_kmh": 200.0})
    rig.store(live)
    ((at,),) = rig.sql("SELECT recorded_at FROM volt.vehicle_reading")
    rig.sql("INSERT INTO volt.retained_reading (vehicle_id, recorded_at, received_at) VALUES ('V1', %s, now())", at)
    rig.check()
    assert rig.alerts() == [("overspeed", "V1", "open")]


def test_vehicle_on_a_charger_that_does_not_say_so_each_time(rig):
    """Its last word before the reading counts, though a newer one is known by now."""
    rig.store(("V1", 200, 199, {"soc_pct": 17.0, "charging_status": "charging"}))
    rig.store(("V1", 100, 2, {"soc_pct": 14.0}))
    rig.store(("V1", 1, 0.5, {"soc_pct": 14.5, "charging_status": "charging"}))
    rig.check()
    assert rig.alerts() == []


def test_vehicle_off_the_charger_is_told_of(rig):
    rig.store(("V1", 200, 199, {"soc_pct": 17.0, "charging_status": "idle"}))
    rig.store(("V1", 100, 2, {"soc_pct": 14.0}))
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
    monkeypatch.setattr("voltd.rules.check_vehicles._ROWS_BEFORE", 25)
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


def test_more_news_than_one_check_takes_on_is_dealt_with_by_the_next(rig, monkeypatch):
    """A whole fleet with much to read: bounded pieces, and nobody is forgotten."""
    monkeypatch.setattr("voltd.rules.check_vehicles._ROWS_A_CHECK", 4)
    for number in range(6):
        rig.store(*[(f"V{number}", 5 - one, 4 - one, {"speed_kmh": 150.0}) for one in range(3)])
    rig.check()
    assert 0 < len(rig.alerts()) < 6
    for _ in range(3):
        rig.check()
    assert rig.alerts() == [("overspeed", f"V{number}", "open") for number in range(6)]
    assert rig.waiting() == 0
