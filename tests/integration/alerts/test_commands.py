"""``voltd alerts`` against a real database: what is open, taking it on, silences, and old episodes going away."""

import datetime as dt
import getpass
import json
import os
import re

import psycopg
import pytest

from support import commands
from voltd.database import migrate, retention


class Desk:
    """A migrated database with some episodes, and ``voltd alerts`` on it as the daemon's role."""

    def __init__(self, dsn):
        migrate.migrate(dsn, migrate.MigrateOptions(alert_days=30), report=lambda _line: None)
        self.dsn = dsn

    def execute(self, statement, *values):
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def alert(self, device="V1", rule="overspeed", severity="warning", *, ago_s=60, ended_ago_s=None, fleet="north"):
        """An episode; its number."""
        ((number,),) = self.execute(
            "INSERT INTO volt.alert (rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at,"
            " peak_value, resolved_at, message) VALUES (%s, %s, 'vehicle', %s, %s, now() - make_interval(secs => %s),"
            " now(), 131.25, now() - make_interval(secs => %s), 'text') RETURNING alert_id",
            rule, severity, device, fleet, ago_s, ended_ago_s,
        )  # fmt: skip
        return number

    def run(self, *words, role="volt_writer", zone="UTC"):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {"VOLTD_DATABASE__DSN": f"{self.dsn} options='-c role={role}'", "TZ": zone}
        return commands.run(["alerts", *words], environ)

    def voltd(self, *words, code=0, **options):
        """What the command prints, on both streams; it ends with ``code``."""
        result = self.run(*words, **options)
        assert result.returncode == code, (result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    def listed(self, *words):
        """The episodes listed, in order."""
        return [json.loads(line)["alert_id"] for line in self.voltd("list", "--json", *words).splitlines()]


@pytest.fixture
def desk(migrated_database):
    return Desk(migrated_database)


def test_what_nobody_is_at_work_on_comes_first_and_the_worst_of_it_at_the_top(desk):
    old = desk.alert("V1", severity="warning", ago_s=7200)
    new = desk.alert("V2", severity="warning", ago_s=60)
    worst = desk.alert("V3", "battery_overheat", "critical", ago_s=86400 * 2)
    taken = desk.alert("V4", "battery_overheat", "critical", ago_s=30)
    silenced = desk.alert("V5", severity="warning", ago_s=10)
    over = desk.alert("V6", ago_s=3600, ended_ago_s=1800)
    long_over = desk.alert("V7", ago_s=86400 * 9, ended_ago_s=86400 * 8)
    desk.voltd("ack", str(taken), "--by", "anna")
    desk.voltd("silence", "--vehicle", "V5", "--for", "2h", "--comment", "workshop")
    assert desk.listed() == [worst, new, old, taken, silenced]
    assert desk.listed("--open", "--limit", "2") == [worst, new]
    assert desk.listed("--all") == [silenced, taken, new, over, old, worst, long_over]
    text = desk.voltd("list", zone="Europe/Berlin")
    assert re.search(rf"^{worst} +critical +battery_overheat +vehicle V3 .*\+0[12]00 +2 d +131.25$", text, re.MULTILINE)
    assert re.search(rf"^{taken} .* anna$", text, re.MULTILINE)
    assert re.search(rf"^{silenced} .* by 1 until 20", text, re.MULTILINE)
    assert "1 ended within the last 24 h" in text
    assert "the first 2 of 5" in desk.voltd("list", "--limit", "2")


def test_filters_narrow_it_and_since_and_until_mean_open_in_between(desk):
    one = desk.alert("V1", "soc_low", "critical", ago_s=7200, ended_ago_s=5400)
    two = desk.alert("V2", "soc_low", "warning", ago_s=4000, fleet="south")
    three = desk.alert("V1", "overspeed", "warning", ago_s=600, fleet=None)
    assert desk.listed("--rule", "soc_low", "--all") == [two, one]
    assert desk.listed("--fleet", "south") == [two]
    assert desk.listed("--device", "V1", "--all") == [three, one]
    assert desk.listed("--severity", "warning") == [three, two]
    assert desk.listed("--since", "6000s", "--until", "1h") == [two, one]
    assert desk.listed("--since", "80m") == [three, two]
    assert desk.listed("--since", "110m", "--open") == [three, two]
    assert desk.voltd("list", "--rule", "nothing").splitlines()[0] == "nothing is open"
    assert "names nothing" in desk.voltd("list", "--fleet", "", code=2)
    assert "neither" not in desk.voltd("list", "--since", "monday", code=2)


def test_show_prints_everything_of_one(desk):
    number = desk.alert("V1\x1b[31m")
    desk.execute(
        "INSERT INTO volt.alert_delivery (alert_id, channel, transition, severity, message, status, sent_at, result,"
        " attempts) VALUES (%s, 'operators', 'fired', 'warning', 'm', 'sent', now(), 'ok', 2),"
        " (%s, 'pager', 'fired', 'warning', 'm', 'dropped', NULL, 'gave up after 24 h', 9)",
        number,
        number,
    )
    text = desk.voltd("show", str(number), role="volt_reader")
    assert "\x1b" not in text
    assert "V1\\x1b[31m" in text
    assert re.search(r"operators +fired +warning +sent +\S+ \S+ +\S+ \S+ +2 +ok$", text, re.MULTILINE)
    assert re.search(r"pager +fired +warning +dropped .* 9 +gave up after 24 h$", text, re.MULTILINE)
    shown = json.loads(desk.voltd("show", str(number), "--json"))
    assert [one["channel"] for one in shown["deliveries"]] == ["operators", "pager"]
    assert dt.datetime.fromisoformat(shown["opened_at"]).utcoffset() == dt.timedelta(0)
    assert "no alert 99" in desk.voltd("show", "99", code=1)


def test_acknowledging_twice_keeps_the_first_and_undo_takes_it_back(desk):
    one, two = desk.alert("V1"), desk.alert("V2", ago_s=60, ended_ago_s=1)
    assert desk.voltd("ack", str(one), "--by", "anna") == f"alert {one}: acknowledged by anna\n"
    text = desk.voltd("ack", str(one), str(two), "999", code=1)
    assert re.search(rf"alert {one}: was acknowledged by anna \d+ s ago", text)
    login = os.environ.get("SUDO_USER") or getpass.getuser()
    assert f"alert {two}: acknowledged by {login} (it is over)" in text
    assert "alert 999: there is none" in text
    assert desk.execute("SELECT acknowledged_by FROM volt.alert ORDER BY alert_id") == [("anna",), (login,)]
    assert "no longer acknowledged" in desk.voltd("ack", str(one), "--undo")
    assert "nobody had acknowledged it" in desk.voltd("ack", str(one), "--undo")
    assert desk.execute("SELECT acknowledged_at, acknowledged_by FROM volt.alert WHERE alert_id = %s", one) == [
        (None, None)
    ]


def test_readers_may_look_but_not_acknowledge(desk):
    number = desk.alert()
    assert str(number) in desk.voltd("list", role="volt_reader")
    assert "volt_writer" in desk.voltd("ack", str(number), role="volt_reader", code=78)
    assert desk.execute("SELECT acknowledged_at FROM volt.alert") == [(None,)]


def test_a_silence_covers_what_all_filters_fit_until_it_ends(desk):
    desk.execute("INSERT INTO volt.fleet (fleet_id, name) VALUES ('north', 'North'), ('south', 'South')")
    fits = desk.alert("V1", "overspeed", fleet="north")
    desk.alert("V2", "overspeed", fleet="south")
    desk.alert("V1", "soc_low", fleet="north")
    text = desk.voltd("silence", "--rule", "overspeed", "--fleet", "north", "--for", "90m", "--comment", "road works")
    assert re.fullmatch(
        r"silence 1: rule overspeed, fleet north, until \S+ \S+ \(1 h 30 min\); 1 open alert is covered\n", text
    )
    shown = [json.loads(line) for line in desk.voltd("list", "--json").splitlines()]
    assert [one["alert_id"] for one in shown if one["silence_id"] == 1] == [fits]
    (row,) = [json.loads(line) for line in desk.voltd("silences", "--json").splitlines()]
    assert (row["rule"], row["fleet_id"], row["device_id"], row["open"]) == ("overspeed", "north", None, 1)
    assert (row["comment"], row["coming"]) == ("road works", False)
    assert desk.voltd("unsilence", "1", "7", code=1) == (
        "silence 1: ended\nsilence 7: there is none with this number\n"
    )
    assert "silence 1: had ended" in desk.voltd("unsilence", "1")
    assert desk.voltd("silences") == "no silences\n"
    assert desk.execute("SELECT ends_at <= now() AND ends_at > begins_at FROM volt.alert_silence") == [(True,)]


def test_a_maintenance_window_begins_later_and_may_be_called_off(desk):
    begins = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=1)
    here = f"{begins:%Y-%m-%dT%H:%M:%S}"
    desk.alert("V1")
    text = desk.voltd("silence", "--all", "--from", here, "--for", "4h", "--comment", "new chargers", zone="UTC")
    assert text.startswith("silence 1: everything, from ")
    assert "covered" not in text
    assert desk.execute("SELECT begins_at, ends_at FROM volt.alert_silence") == [
        (begins, begins + dt.timedelta(hours=4))
    ]
    assert desk.voltd("list", "--json").count('"silence_id": null') == 1
    assert "to come" in desk.voltd("silences")
    assert desk.voltd("unsilence", "1") == "silence 1: will not begin\n"
    assert desk.execute("SELECT begins_at = ends_at FROM volt.alert_silence") == [(True,)]
    assert desk.voltd("silences") == "no silences\n"


def test_a_time_without_offset_is_the_clock_on_the_wall(desk):
    year = dt.datetime.now(dt.UTC).year + 1
    wanted = ("silence", "--meter", "M1", "--until", f"{year}-07-01T12:00", "--comment", "c")
    desk.voltd(*wanted, zone="Europe/Berlin")
    assert desk.execute("SELECT ends_at, device_type, device_id FROM volt.alert_silence") == [
        (dt.datetime(year, 7, 1, 10, tzinfo=dt.UTC), "meter", "M1")
    ]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--for", "2h", "--comment", "c"), 2, "this would silence every alert"),
        (("--all", "--rule", "stale", "--for", "2h", "--comment", "c"), 2, "contradict each other"),
        (("--rule", "stale", "--for", "2h"), 2, "--comment"),
        (("--rule", "stale", "--comment", "c"), 2, "--for"),
        (("--rule", "", "--for", "2h", "--comment", "c"), 2, "names nothing"),
        (("--rule", "stale", "--for", "2", "--comment", "c"), 2, "no span"),
        (("--rule", "stale", "--until", "2020-01-01T00:00Z", "--comment", "c"), 2, "would be over already"),
        (("--vehicle", "V1", "--meter", "M1", "--for", "2h", "--comment", "c"), 2, "not allowed with"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(desk, words, code, says):
    assert says in desk.voltd("silence", *words, code=code)
    assert desk.execute("SELECT count(*) FROM volt.alert_silence") == [(0,)]


def test_what_nobody_knows_is_silenced_with_a_warning(desk):
    desk.execute("INSERT INTO volt.vehicle (vehicle_id, status) VALUES ('V1', 'active')")
    text = desk.voltd("silence", "--rule", "overspeeed", "--for", "1h", "--comment", "c")
    assert "warning: there is no rule 'overspeeed'" in text
    assert "silence 1:" in text
    assert "no fleet 'nort'" in desk.voltd("silence", "--fleet", "nort", "--for", "1h", "--comment", "c")
    assert "no meter 'M9'" in desk.voltd("silence", "--meter", "M9", "--for", "1h", "--comment", "c")
    text = desk.voltd("silence", "--vehicle", "V1", "--fleet", "north", "--for", "1h", "--comment", "c")
    assert "'V1' is not in fleet 'north'" in text
    known = desk.voltd("silence", "--vehicle", "V1", "--rule", "stale", "--for", "1h", "--comment", "c")
    assert "warning" not in known
    assert desk.execute("SELECT count(*) FROM volt.alert_silence") == [(5,)]


def test_without_a_schema_it_says_migrate(fresh_database):
    bare = Desk.__new__(Desk)
    bare.dsn = fresh_database
    result = bare.run("list", role="none")
    assert result.returncode == 78
    assert "voltd migrate" in result.stderr


def test_episodes_age_out_with_their_deliveries_and_open_ones_stay(desk):
    """By the daemon's role, through the hourly retention; also more than it takes at once."""
    old = desk.alert("V1", ago_s=40 * 86400, ended_ago_s=31 * 86400)
    long_one = desk.alert("V2", ago_s=40 * 86400, ended_ago_s=29 * 86400)
    open_one = desk.alert("V3", ago_s=40 * 86400)
    for number in (old, long_one):
        desk.execute(
            "INSERT INTO volt.alert_delivery (alert_id, channel, transition, severity, message)"
            " VALUES (%s, 'hook', 'fired', 'warning', 'm')",
            number,
        )
    desk.execute(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, resolved_at, message)"
        " SELECT 'stale', 'warning', 'meter', n::text, t, t, t, 'm'"
        " FROM generate_series(1, 11000) n, (SELECT now() - INTERVAL '31 days' AS t) AS long_ago"
    )
    with psycopg.connect(desk.dsn, autocommit=True) as connection:
        connection.execute("SET ROLE volt_writer")
        assert retention.run_once(connection).alerts == 11_001
        assert retention.run_once(connection).alerts == 0
    assert desk.execute("SELECT alert_id FROM volt.alert ORDER BY 1") == [(long_one,), (open_one,)]
    assert desk.execute("SELECT alert_id FROM volt.alert_delivery") == [(long_one,)]


def test_a_silence_for_ever(desk):
    """It is refused: what is never to notify is no rule. One that is there all the same can be listed anywhere."""
    desk.alert("V1")
    for words in (("--until", "9999-12-31T23:00Z"), ("--from", "9999-12-31T00:00Z", "--for", "2d")):
        text = desk.voltd("silence", "--rule", "stale", *words, "--comment", "c", code=2, zone="Australia/Sydney")
        assert "within 10 years" in text
    assert desk.voltd("silences") == "no silences\n"
    desk.execute(
        "INSERT INTO volt.alert_silence (rule, ends_at, created_by) VALUES ('overspeed', '9999-12-31 23:00Z', 'x')"
    )
    assert "9999-12-31 23:00:00+0000" in desk.voltd("silences", zone="Australia/Sydney")
    assert "9999-12-31 23:00:00+0000" in desk.voltd("list", zone="Australia/Sydney")


def test_a_channel_for_what_there_is_not(desk, broker):
    """``voltd check`` refuses a rule that does not exist, and warns of a fleet that does not."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
    environ |= {
        "VOLTD_DATABASE__DSN": desk.dsn, "VOLTD_MQTT__HOST": broker.host, "VOLTD_MQTT__PORT": str(broker.port),
    }  # fmt: skip
    desk.execute("INSERT INTO volt.fleet (fleet_id, name) VALUES ('north', 'North')")

    def check(**kept):
        channels = json.dumps({"hook": {"url": "json://localhost", **kept}})
        result = commands.run(["check"], {**environ, "VOLTD_ALERTS__CHANNELS": channels})
        return result.returncode, [line for line in result.stdout.splitlines() if "alerts" in line]

    code, lines = check(fleets=["north", "nroth"], rules=["soc_low"])
    assert code == 0
    assert [line[:4] for line in lines] == ["warn", "ok  "]
    assert "'nroth'" in lines[0]
    code, lines = check(rules=["soc_lw"])
    assert code == 78
    assert lines == ["FAIL  alerts: alerts.channels.hook.rules: there is no rule 'soc_lw'"]
