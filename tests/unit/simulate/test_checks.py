"""What ``voltd replay`` says of a recording before it publishes it: each kind once, with a line and what to do."""

import datetime as dt
import json

import pytest

from voltd import config, readings
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay import cells, checks, fields, recording
from voltd.simulate.replay.plan import ReplayOptions, prepare

NOW = dt.datetime(2026, 10, 1, 13, 0, tzinfo=dt.UTC)
GERMAN = """vehicleId;timestamp;soc_pct;speed;batteryTemp;Farbe
EV-1;2026-10-01 12:00:00;64;63,5;21,0;rot
EV-1;2026-10-01 12:01:00;63;NA;21,5;rot
EV-1;2026-10-01 12:02:00;62;n/a;;rot
EV-1;half a line
"""


@pytest.fixture
def look(tmp_path):
    """A function that checks a recording: its findings as lines, and the checks themselves."""

    def look_at(content, *, limits=None, **options):
        path = tmp_path / "recording"
        path.write_text(content)
        made = ReplayOptions(MqttTarget(), path, **{"speed": 0.0, **options})
        found = checks.Checks(config.Settings(limits=limits or {}), made, prepare(made, NOW), NOW)
        for row in recording.read(path, made.reading):
            found.row(row) if isinstance(row, recording.RecordedRow) else found.fault(row)
        found.finish()
        return [str(finding) for finding in found.findings.values()], found

    return look_at


def _one(lines, *words):
    found = [line for line in lines if all(word in line for word in words)]
    assert len(found) == 1, lines
    return found[0]


def test_german_spreadsheet(look):
    """Each kind of mistake is named once, with the line of the first, the number of rows and what mends it."""
    lines, found = look(GERMAN)
    assert _one(lines, "soc_pct").startswith("2: soc_pct is no field of a vehicle reading")
    assert "did you mean soc (%)?" in _one(lines, "soc_pct", "(3 rows)")
    assert "mean" not in _one(lines, "Farbe")
    assert "--decimal-comma" in _one(lines, "speed: 63,5")
    assert _one(lines, "batteryTemp: 21,0").endswith("(2 rows)")
    assert _one(lines, "speed: NA").startswith("3: ")
    assert "--skip-na" in _one(lines, "speed: NA", "(2 rows)")
    assert "--zone" in _one(lines, "2026-10-01 12:00:00", "bad_time", "(3 rows)")
    assert _one(lines, "not published").startswith("5: ")
    assert len(lines) == 7
    assert (found.readings, found.refused) == (3, 3)


def test_german_spreadsheet_with_the_options_that_mend_it(look):
    """What an option mends is no finding any more, and the values are right."""
    content = (
        GERMAN.replace("soc_pct", "soc").replace(";Farbe", "").replace(";rot", "").replace("EV-1;half a line\n", "")
    )
    lines, found = look(content, zone=cells.zone("Europe/Berlin"), decimal_comma=True, skip_na=True)
    assert lines == []
    assert (found.readings, found.refused) == (3, 0)


def test_clean_recording(look):
    """A recording without a mistake has no finding: RFC 3339, seconds and milliseconds, null, and returned energy."""
    times = ['"2026-10-01T12:00:00Z"', "1790856060", "1790856120.5", "1790856180000"]
    rows = [f'{{"vehicleId":"EV-1","timestamp":{time},"soc":60,"kwhReturnedDc":0.1,"speed":null}}' for time in times]
    rows += ['{"meterId":"M-1","timestamp":1790856060,"kwhReturnedAc":1,"kwhReturnedAcTotal":2}']
    rows += ['{"vehicleId":"EV-1","meterId":null,"timestamp":1790856060,"kwhReturnedDcTotal":2}']
    assert look("\n".join(rows))[0] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("soc_pct", "soc"), ("SOC [%]", "soc"), ("speed_kmh", "speed"), ("battery_temp_c", "batteryTemp"),
        ("kwhDeliveredDCTotal", "kwhDeliveredDcTotal"), ("dc_register_kwh", "kwhDeliveredDcTotal"),
        ("Timestamp", "timestamp"), ("recorded_at", "timestamp"), ("odometr", "odometer"), ("lat", "latitude"),
        ("charging_status", "chargingStatus"), ("vehicle_id", "vehicleId"), ("Farbe", None), ("x", None), ("%", None),
    ],
)  # fmt: skip
def test_near_match(name, meant):
    """Other spellings, units in the name, and the names of voltd's own tables lead to the payload's field."""
    assert fields.near(name, is_vehicle=True) == meant


def test_fields_of_the_other_device_type(look):
    """A meter's field in a vehicle's reading is not called unknown."""
    lines, _ = look("vehicleId,timestamp,soc,power\nEV-1,2026-10-01T12:00:00Z,5,1\n")
    assert "belongs to meters" in _one(lines, "power")


def test_known_fields_are_those_of_the_decoder():
    """No field that the daemon takes is called unknown here."""
    from voltd.pipeline.decode import fast  # noqa: PLC0415 its private names, here only

    vehicle = {*fast.PARSERS[readings.DeviceType.VEHICLE]._known} - {"vehicleId", "timestamp"}
    meter = {*fast.PARSERS[readings.DeviceType.METER]._known} - {"meterId", "timestamp"}
    assert vehicle <= fields.VEHICLE.keys()
    assert meter <= fields.METER.keys()
    assert {*fields.VEHICLE, *fields.TIME_KEYS} >= fast.ALIASES


def test_times_outside_the_limits(look):
    """Too old and in the future are counted by the daemon's own limits; the advice is for the options at hand."""
    content = "vehicleId,timestamp,soc\nA,2026-01-01T00:00:00Z,1\nA,2026-01-02T00:00:00Z,1\nA,2026-10-01T13:10:00Z,1\n"
    lines, found = look(content)
    assert "--from-now" in _one(lines, "too_old", "(2 rows)")
    assert _one(lines, "in_future").startswith("4: ")
    assert found.refused == 3
    assert look(content, limits={"max_age_days": 300, "max_future_s": 900})[0] == []


def test_future_of_a_fast_replay_from_now(look):
    """At a pace above the recorded one --from-now runs ahead of the clock, and that is said; at its own it does not."""
    rows = "".join(f"A,2021-03-29T11:{minute:02}:00Z,1\n" for minute in range(0, 40, 10))
    content = f"vehicleId,timestamp,soc\n{rows}"
    assert look(content, speed=1.0, from_now=True)[0] == []
    lines, _ = look(content, from_now=True)
    assert "leave --speed and --fast" in _one(lines, "in_future", "(3 rows)")


def test_values_that_the_daemon_refuses(look):
    """What a value may be is the decoder's to say: field, reason, first line, number of rows."""
    content = "vehicleId,timestamp,soc,longitude\nA,2026-10-01T12:00:00Z,64,1555\nA,2026-10-01T12:00:01Z,101,5\n"
    lines, _ = look(content)
    assert _one(lines, "longitude (out_of_range)").startswith("2: ")
    assert _one(lines, "soc (out_of_range)").startswith("3: ")


def test_missing_and_unreadable_times(look):
    """A time column of another name is recognised; a time that is none is shown."""
    lines, _ = look("vehicleId,time,soc\nA,2026-10-01T12:00:00Z,1\n")
    assert "found time: rename it" in _one(lines, "no timestamp")
    lines, _ = look("vehicleId,timestamp,soc\nA,01.10.2026 12:00,1\nA,NA,1\n")
    assert len(lines) == 1
    assert _one(lines, "01.10.2026 12:00", "(2 rows)").startswith("2: ")


def test_words_that_say_na(look):
    """NA in an id or a text would be stored as that word; ``none`` in a text is a word."""
    lines, _ = look(
        "vehicleId,timestamp,soc,chargingStatus\nNA,2026-10-01T12:00:00Z,1,NA\nA,2026-10-01T12:00:00Z,1,none\n"
    )
    assert "device's id" in _one(lines, "vehicleId")
    assert "word" in _one(lines, "chargingStatus")
    assert len(lines) == 2


def test_json_texts_and_nan(look):
    """NDJSON has the same mistakes: texts with commas or NA where a number belongs, NaN."""
    rows = [
        {"vehicleId": "A", "timestamp": "2026-10-01T12:00:00Z", "soc": value} for value in ("63,5", "N/A", float("nan"))
    ]
    lines, _ = look("\n".join(json.dumps(row) for row in rows))
    _one(lines, "soc: 63,5")
    assert _one(lines, "soc: N/A").endswith("(2 rows)")
    assert len(lines) == 2


def test_pipe_that_goes_on_for_hours(tmp_path):
    """A row that passes is looked at by the clock of that moment: what is dated now is not in the future."""
    path = tmp_path / "recording"
    path.write_text("vehicleId,timestamp,soc\nA,2026-10-01T13:00:00Z,1\nA,2026-10-01T15:00:00Z,1\n")
    options = ReplayOptions(MqttTarget(), path, speed=0.0)
    found = checks.Checks(config.Settings(), options, prepare(options, NOW), NOW)
    for hours, row in zip((0, 2), recording.read(path), strict=True):
        assert isinstance(row, recording.RecordedRow)
        found.row(row, published_at=NOW + dt.timedelta(hours=hours))
    assert found.findings == {}


def test_rows_out_of_order(look):
    """At a pace, rows that are overdue when their turn comes are counted; as fast as it goes order is of no account."""
    content = "vehicleId,timestamp,soc\nA,2026-10-01T12:10:00Z,1\nA,2026-10-01T12:00:00Z,1\nA,2026-10-01T12:01:00Z,1\n"
    assert _one(look(content, speed=1.0)[0], "earlier", "sort").endswith("(2 rows)")
    assert look(content)[0] == []


def test_hour_that_comes_twice(look):
    """Local times in the hour in which the clock is set back are taken as the first, and that is said."""
    lines, _ = look("vehicleId,timestamp,soc\nA,2026-10-25 02:30:00,1\n", zone=cells.zone("Europe/Berlin"), until=NOW)
    _one(lines, "came twice")


def test_thousands_of_columns(look):
    """The findings are bounded, and unknown columns do not hide the others."""
    names = ",".join(f"col{'abcdefghij'[n % 10]}{n}" for n in range(3000))
    lines, _ = look(f"vehicleId,timestamp,soc,{names}\nA,2026-10-01 12:00:00,NA,{','.join('1' * 3000)}\n")
    assert len(lines) < 25
    _one(lines, "further names")
    _one(lines, "bad_time")
    _one(lines, "soc: NA")


def test_topic_that_the_settings_do_not_know(tmp_path):
    """Settings with other topic filters: nobody would store it, and the line says where replay publishes."""
    path = tmp_path / "recording"
    path.write_text("vehicleId,timestamp,soc\nA,2026-10-01T12:00:00Z,1\n")
    options = ReplayOptions(MqttTarget(), path, speed=0.0)
    settings = config.Settings(mqtt={"topics": {"vehicle": ["fleet/+"]}})
    found = checks.Checks(settings, options, prepare(options, NOW), NOW)
    for row in recording.read(path):
        assert isinstance(row, recording.RecordedRow)
        found.row(row, published_at=NOW)
    (finding,) = found.findings.values()
    assert "unknown_topic" in str(finding)
    assert "volt/vehicle/<id>/telemetry" in str(finding)


def test_ends_of_the_calendar(look):
    """Times that no other zone could hold are outliers like any other."""
    times = ["2026-10-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-10-01T12:00:01Z"]
    content = "vehicleId,timestamp,soc\n" + "".join(f"A,{time},1\n" for time in times)
    lines, _ = look(content, now=True, speed=1.0)
    _one(lines, "3: 0001-01-01", "far from all others")
    _one(lines, "4: 9999-12-31", "far from all others")
