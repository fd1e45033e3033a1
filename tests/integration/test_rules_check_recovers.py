"""A check of the rules goes on after whatever came between it and the database; each told thing is told once.

``Check`` on a real database, batches through the real store, no daemon.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import types

import psycopg
import pytest
from psycopg import rows

from voltd import config, errors, health, models
from voltd.database import migrate, session
from voltd.pipeline import decode, write, write_current, write_excursions
from voltd.rules import check, load

WELL = health.Report(0.0, spooling=False, healthy=True)
LAGS = health.Report(40.0, spooling=False, healthy=False)
SPOOLS = health.Report(40.0, spooling=True, healthy=False)
SOC_LOW = """
[rules.soc_low]
metric = "soc_pct"
applies_to = ["vehicle"]
fire_below = 15.0
clear_above = 20.0
"""
OVERSPEED = """
[rules.overspeed]
metric = "speed_kmh"
applies_to = ["vehicle"]
fire_above = 120.0
clear_below = 115.0
"""
INGEST_LAG = """
[rules.ingest_lag]
metric = "ingest_lag_s"
applies_to = ["system"]
fire_above = 30.0
clear_below = 5.0
fire_when_spooling = true
"""
STALE = """
[rules.soc_low]
metric = "silence"
applies_to = ["vehicle"]
fire_above = 300.0
"""
PHONE = types.SimpleNamespace(name="phone", wants=lambda **_: True)  # a channel that is told everything


def rules(*texts):
    return load.parse("".join(texts), source="test")


@dataclasses.dataclass
class Daemon:
    """What of a daemon takes part in the checks: the check, and a writer that is told what to look for."""

    check: check.Check
    store: write.PostgresStore
    current: write_current.CurrentState
    report: health.Report = WELL
    told: list = dataclasses.field(default_factory=list)  # at once, without a database
    during: list = dataclasses.field(default_factory=list)  # what happens while the next checks run

    def look(self):
        if self.during:
            self.during.pop(0)()
        return self.report

    def receive(self, vehicle, **values):
        """One reading of this moment, stored and committed."""
        now = dt.datetime.now(dt.UTC)
        payload = json.dumps({"timestamp": now.isoformat(), **values}).encode()
        message = models.Message(f"volt/vehicle/{vehicle}/telemetry", payload, 1, now)
        batch = decode.Decoder(config.Topics(), config.Limits(), 90).decode([message])
        self.current.note(batch, self.store.write(batch))
        self.current.merge()


class World:
    """A migrated database in which nothing has happened yet, and the daemons on it."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.sql("TRUNCATE volt.alert, volt.alert_state, volt.alert_delivery, volt.excursion, volt.daemon")
        self.sql("TRUNCATE volt.vehicle_reading, volt.vehicle_current, volt.ingest_state")
        self.sql("DELETE FROM volt.alert_progress")
        self.sql("INSERT INTO volt.alert_progress DEFAULT VALUES")
        self._settings = config.Settings(database={"dsn": f"{dsn} options='-c role=volt_writer'"})
        self._connections = []

    def _connect(self):
        self._connections.append(session.connector(self._settings)())
        return self._connections[-1]

    def daemon(self, in_force, instance="t"):
        excursions = write_excursions.Excursions()
        made = Daemon(
            check.Check(
                self._connect,
                instance,
                look=lambda: made.look(),  # noqa: PLW0108 made is made with it
                excursions=excursions,
                tell=lambda told: made.told.extend((one.rule, one.transition) for one in told),
            ),
            write.PostgresStore(self._connect, instance, excursions=excursions),
            write_current.CurrentState(self._connect, instance, 1.0),
        )
        made.check.use(in_force, [PHONE])
        return made

    def sql(self, statement, *values):
        with psycopg.connect(self.dsn, autocommit=True, row_factory=rows.tuple_row) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def episodes(self):
        """(rule, device, whether it is open) of each."""
        return self.sql("SELECT rule, device_id, resolved_at IS NULL FROM volt.alert ORDER BY alert_id")

    def told(self):
        """(rule, device, transition, status) of all that was or is to be told, in order."""
        return self.sql(
            "SELECT rule, device_id, transition, status FROM volt.alert_delivery JOIN volt.alert USING (alert_id)"
            " ORDER BY delivery_id"
        )

    def count(self, table):
        return self.sql(f"SELECT count(*) FROM volt.{table}")[0][0]

    def close(self):
        for one in self._connections:
            one.close()


@pytest.fixture(scope="module")
def migrated(shared_database):
    migrate.migrate(shared_database, migrate.MigrateOptions(), report=lambda _line: None)
    return shared_database


@pytest.fixture
def world(migrated):
    made = World(migrated)
    yield made
    made.close()


def test_restart_during_an_outage_that_was_told(world):
    """ingest_lag is open, voltd starts again before its database: the episode goes on, and every check works."""
    before = world.daemon(rules(INGEST_LAG, SOC_LOW))
    before.report = LAGS
    before.check.run()
    after = world.daemon(rules(INGEST_LAG, SOC_LOW))
    after.report = SPOOLS
    after.check.run_alone()
    after.receive("V1", soc=12)
    after.check.run()
    assert world.episodes() == [("ingest_lag", "t", True), ("soc_low", "V1", True)]
    after.report = WELL
    after.check.run()
    assert world.episodes() == [("ingest_lag", "t", False), ("soc_low", "V1", True)]
    assert [one[2] for one in world.told() if one[0] == "ingest_lag"] == ["fired", "resolved"]
    assert world.count("excursion") == 0


def test_restart_during_an_outage_that_nobody_was_told(world):
    """What was told from memory is in the tables once, as sent; its end goes the usual way."""
    daemon = world.daemon(rules(INGEST_LAG))
    daemon.report = SPOOLS
    daemon.check.run_alone()
    daemon.check.run_alone()
    assert daemon.told == [("ingest_lag", "fired")]
    daemon.check.run()
    assert world.told() == [("ingest_lag", "t", "fired", "sent")]
    daemon.report = WELL
    daemon.check.run()
    assert world.episodes() == [("ingest_lag", "t", False)]
    assert [one[2:] for one in world.told()] == [("fired", "sent"), ("resolved", "waiting")]


def test_outage_that_another_daemon_has_ended_meanwhile(world):
    """The database knows an end that this daemon told from memory: there is one episode, resolved once."""
    mine = world.daemon(rules(INGEST_LAG))
    mine.report = LAGS
    mine.check.run()
    mine.report = WELL
    mine.check.run_alone()
    assert mine.told == [("ingest_lag", "resolved")]
    other = world.daemon(rules(INGEST_LAG), "other")
    other.check.run()  # the one that leads now; the first has taken itself off
    mine.check.run()
    assert world.episodes() == [("ingest_lag", "t", False)]
    assert [one[2] for one in world.told()] == ["fired", "resolved"]


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE volt.alert_state SET state = state || '{"phase": "snoozed"}'""",
        """UPDATE volt.alert_state SET phase = 'pending', state = state || '{"phase": "pending"}'""",
        "DELETE FROM volt.alert_state",
    ],
    ids=["of another version", "that denies it", "that is lost"],
)
def test_open_episode_with_a_state(world, damage):
    """The episode says enough: it goes on, ends where the readings say so, and no other device is held up by it."""
    daemon = world.daemon(rules(SOC_LOW))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    world.sql(damage)
    daemon = world.daemon(rules(SOC_LOW))
    daemon.check.run()
    daemon.receive("V1", soc=11)
    daemon.receive("V2", soc=11)
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", True), ("soc_low", "V2", True)]
    daemon.receive("V1", soc=25)
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V2", True)]
    assert [one[2] for one in world.told() if one[1] == "V1"] == ["fired", "resolved"]
    assert world.sql("SELECT peak_value, severity FROM volt.alert WHERE device_id = 'V1'") == [(11, "warning")]


def test_open_episode_of_a_rule_that_is_gone_with_a_state_of_another_version(world):
    """It ends, quietly, as any episode of a rule that is taken away."""
    daemon = world.daemon(rules(SOC_LOW, OVERSPEED))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    world.sql("""UPDATE volt.alert_state SET state = '{"phase": "snoozed"}'""")
    daemon = world.daemon(rules(OVERSPEED))
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", False)]


def test_firing_state_without_an_open_episode(world):
    """Somebody closed the row by hand: it stays closed, and what is beyond afterwards is an episode of its own."""
    daemon = world.daemon(rules(SOC_LOW))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    world.sql("UPDATE volt.alert SET resolved_at = now()")
    daemon = world.daemon(rules(SOC_LOW))
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", False)]
    daemon.receive("V1", soc=11)
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V1", True)]


def test_state_of_another_version_without_an_episode(world):
    """It is forgotten."""
    world.sql("""INSERT INTO volt.alert_state VALUES ('soc_low', 'vehicle', 'V1', NULL, 'asleep', now(), '{"a": 1}')""")
    daemon = world.daemon(rules(SOC_LOW))
    daemon.check.run()
    assert world.count("alert_state") == 0


def test_episode_opened_behind_the_back_of_the_check(world):
    """At most one check fails of a row that appeared meanwhile; the next one goes on with it."""
    daemon = world.daemon(rules(SOC_LOW))
    daemon.check.run()
    world.sql(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, message)"
        " VALUES ('soc_low', 'warning', 'vehicle', 'V1', now(), now(), 'by hand')"
    )
    daemon.receive("V1", soc=11)
    daemon.receive("V2", soc=11)
    with pytest.raises(errors.StoreRejected):
        daemon.check.run()
    daemon.check.run()
    assert world.episodes() == [("soc_low", "V1", True), ("soc_low", "V2", True)]


@pytest.mark.parametrize(
    "changed",
    [SOC_LOW + "enabled = false\n", "", STALE],
    ids=["switched off", "taken away", "watches something else"],
)
def test_reload_takes_a_firing_rule_away_from_a_vehicle(world, changed):
    """Readings stored just before and just after the reload are judged by the other rules."""
    daemon = world.daemon(rules(SOC_LOW, OVERSPEED))
    daemon.receive("V1", soc=12)
    daemon.receive("V2", soc=12)
    daemon.check.run()
    daemon.receive("V1", speed=150)  # of a vehicle that is looked at anyway
    daemon.check.use(rules(changed, OVERSPEED), [PHONE])
    daemon.during = [lambda: daemon.receive("V2", speed=150)]
    daemon.check.run()
    daemon.check.run()
    assert [one[:2] for one in world.episodes() if one[2]] == [("overspeed", "V1"), ("overspeed", "V2")]


def test_restart_with_a_firing_rule_taken_away(world):
    """What the writer left to the check before the restart is judged by the rules after it."""
    daemon = world.daemon(rules(SOC_LOW, OVERSPEED))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    daemon.receive("V1", speed=150)
    world.daemon(rules(OVERSPEED)).check.run()
    assert world.episodes() == [("soc_low", "V1", False), ("overspeed", "V1", True)]


def test_lead_lost_while_a_check_runs(world):
    """A daemon that follows leaves no vehicle out: what it stores from then on is put down for the one that leads."""
    daemon = world.daemon(rules(SOC_LOW, OVERSPEED))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    daemon.during = [daemon.check.rest]
    daemon.check.run()
    daemon.receive("V1", speed=150)
    assert world.sql("SELECT vehicle_id FROM volt.excursion") == [("V1",)]


def test_two_daemons_check_in_turn(world):
    """One that no longer leads writes nothing on top of the other, tells nothing again, and leaves no vehicle out."""
    first, second = (world.daemon(rules(SOC_LOW), name) for name in ("a", "b"))
    for one in (first, second):
        one.check.run()
    first.receive("V1", soc=12)
    first.check.run()
    second.receive("V2", soc=12)
    second.check.run()  # overtaken
    assert world.episodes() == [("soc_low", "V1", True)]
    second.check.run()
    first.receive("V1", soc=25)  # left out by the first one's writer: V1 is open
    second.check.run()
    first.check.run()  # overtaken
    first.check.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V2", True)]
    assert [one[1:3] for one in world.told()] == [("V1", "fired"), ("V2", "fired"), ("V1", "resolved")]


def test_overtaken_daemon_leaves_no_vehicle_out(world):
    """It finds that another one checks: what it stores from then on is put down for that one."""
    first, second = (world.daemon(rules(SOC_LOW, OVERSPEED), name) for name in ("a", "b"))
    first.receive("V1", soc=12)
    first.check.run()
    second.receive("V2", soc=12)
    second.check.run()
    first.receive("V1", soc=11)
    first.check.run()  # overtaken
    first.receive("V1", speed=150)
    assert world.sql("SELECT vehicle_id FROM volt.excursion") == [("V1",)]


def test_two_daemons_check_at_the_same_time(world):
    """Both have read the same; one of them writes, the other one sees what is left."""
    first, second = (world.daemon(rules(SOC_LOW), name) for name in ("a", "b"))
    for one in (first, second):
        one.check.run()
    first.receive("V1", soc=12)
    first.during = [second.check.run]
    with contextlib.suppress(errors.StoreUnavailable):
        first.check.run()
    first.check.run()
    assert world.episodes() == [("soc_low", "V1", True)]
    assert [one[1:3] for one in world.told()] == [("V1", "fired")]


def test_outage_that_lasts_over_a_state_of_another_version(world):
    """What was told from memory and what is made again from its episode are one."""
    daemon = world.daemon(rules(INGEST_LAG))
    daemon.report = LAGS
    daemon.check.run()
    daemon.check.run_alone()
    world.sql('UPDATE volt.alert_state SET state = state || \'{"phase": "snoozed"}\'')
    daemon.check.run()
    daemon.report = WELL
    daemon.check.run()
    assert [one[2] for one in world.told()] == ["fired", "resolved"]


def test_commit_fails_that_carries_the_alert_of_an_outage(world):
    """Then nobody was told by it, and the daemon tells from memory, once."""
    world.sql("""
        CREATE FUNCTION no_commit() RETURNS trigger LANGUAGE plpgsql
          AS $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$;
        CREATE CONSTRAINT TRIGGER no_commit AFTER INSERT ON volt.alert DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION no_commit()
    """)
    daemon = world.daemon(rules(INGEST_LAG))
    daemon.check.run()
    daemon.report = LAGS
    with pytest.raises(errors.StoreUnavailable):
        daemon.check.run()
    daemon.check.run_alone()
    assert daemon.told == [("ingest_lag", "fired")]
    world.sql("DROP TRIGGER no_commit ON volt.alert; DROP FUNCTION no_commit")
    daemon.check.run()
    daemon.check.run()
    assert world.told() == [("ingest_lag", "t", "fired", "sent")]


def test_outage_that_is_long_over(world):
    """Its state is forgotten, and a check that finds nothing writes nothing."""
    daemon = world.daemon(rules(INGEST_LAG + "late_after_s = 0.001\n"))
    daemon.report = LAGS
    daemon.check.run()
    daemon.report = WELL
    daemon.check.run()
    daemon.check.run()
    assert world.count("alert_state") == 0
    turn = world.sql("SELECT turn FROM volt.alert_progress")
    daemon.check.run()
    assert world.sql("SELECT turn FROM volt.alert_progress") == turn
    assert [one[2] for one in world.told()] == ["fired", "resolved"]


def test_vehicle_whose_episode_is_long_over_and_that_goes_on_sending(world):
    """It is forgotten although it has news at every check."""
    daemon = world.daemon(rules(SOC_LOW))
    daemon.receive("V1", soc=12)
    daemon.check.run()
    daemon.receive("V1", soc=25)
    daemon.check.run()
    world.sql("""
        UPDATE volt.alert_state SET state = state || jsonb_build_object(
          'opened_at', to_jsonb(now() - INTERVAL '2 h'), 'resolved_at', to_jsonb(now() - INTERVAL '1 h'))
    """)
    daemon = world.daemon(rules(SOC_LOW))
    daemon.receive("V1", soc=26)
    daemon.check.run()
    assert world.count("alert_state") == 0
    daemon.receive("V1", soc=12)
    daemon.check.run()
    assert [one[2] for one in world.told()] == ["fired", "resolved", "fired"]


def test_old_episodes_are_deleted_without_reading_all_states(world):
    """The foreign key of each deleted row is looked up by index, however many states there are."""
    with psycopg.connect(world.dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT FROM ONLY volt.alert_state WHERE alert_id = 1 FOR KEY SHARE")
        assert "Index Cond: (alert_id = 1)" in "\n".join(line for (line,) in plan)
