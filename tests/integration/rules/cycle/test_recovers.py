"""An evaluation cycle recovers from whatever came between it and the database; each transition is notified once.

``EvaluationCycle`` on a real database, batches through the real store, no daemon.
"""

import psycopg
import pytest

from support.rules.daemons import INGEST_LAG, OVERSPEED, SOC_LOW, WELL
from voltd import errors
from voltd.rules.cycle import interfaces

LAGS = interfaces.Report(40.0, spooling=False, healthy=False)
SPOOLS = interfaces.Report(40.0, spooling=True, healthy=False)


def test_restart_during_an_outage_that_was_notified(world):
    """ingest_lag is open, voltd starts again before its database: the episode goes on, and every check works."""
    before = world.daemon(INGEST_LAG, SOC_LOW)
    before.report = LAGS
    before.cycle.run()
    after = world.daemon(INGEST_LAG, SOC_LOW)
    after.report = SPOOLS
    after.cycle.run_offline()
    after.receive("V1", soc=12)
    after.cycle.run()
    assert world.episodes() == [("ingest_lag", "t", True), ("soc_low", "V1", True)]
    after.report = WELL
    after.cycle.run()
    assert world.episodes() == [("ingest_lag", "t", False), ("soc_low", "V1", True)]
    assert [one[2] for one in world.notified() if one[0] == "ingest_lag"] == ["fired", "resolved"]
    assert world.count("excursion") == 0


def test_restart_during_an_outage_that_was_not_notified(world):
    """What was sent from memory is in the tables once, as sent; its end goes the usual way."""
    daemon = world.daemon(INGEST_LAG)
    daemon.report = SPOOLS
    daemon.cycle.run_offline()
    daemon.cycle.run_offline()
    assert daemon.sent == [("ingest_lag", "fired")]
    daemon.cycle.run()
    assert world.notified() == [("ingest_lag", "t", "fired", "sent")]
    daemon.report = WELL
    daemon.cycle.run()
    assert world.episodes() == [("ingest_lag", "t", False)]
    assert [one[2:] for one in world.notified()] == [("fired", "sent"), ("resolved", "waiting")]


def test_outage_that_another_daemon_has_ended_meanwhile(world):
    """The database knows an end that this daemon sent from memory: there is one episode, resolved once."""
    mine = world.daemon(INGEST_LAG)
    mine.report = LAGS
    mine.cycle.run()
    mine.report = WELL
    mine.cycle.run_offline()
    assert mine.sent == [("ingest_lag", "resolved")]
    other = world.daemon(INGEST_LAG, instance="other")
    other.cycle.run()  # the one that leads now; the first has taken itself off
    mine.cycle.run()
    assert world.episodes() == [("ingest_lag", "t", False)]
    assert [one[2] for one in world.notified()] == ["fired", "resolved"]


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE volt_internal.alert_state SET state = state || '{"phase": "snoozed"}'""",
        """UPDATE volt_internal.alert_state SET phase = 'pending', state = state || '{"phase": "pending"}'""",
        "DELETE FROM volt_internal.alert_state",
    ],
    ids=["of another version", "that denies it", "that is lost"],
)
def test_open_episode_with_a_state(world, damage):
    """The episode says enough: it continues, ends where the readings say so, and delays no other device."""
    daemon = world.daemon(SOC_LOW)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    world.sql(damage)
    daemon = world.daemon(SOC_LOW)
    daemon.cycle.run()
    daemon.receive("V1", soc=11)
    daemon.receive("V2", soc=11)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", True), ("soc_low", "V2", True)]
    daemon.receive("V1", soc=25)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V2", True)]
    assert [one[2] for one in world.notified() if one[1] == "V1"] == ["fired", "resolved"]
    assert world.sql("SELECT peak_value, severity FROM volt.alert WHERE device_id = 'V1'") == [(11, "warning")]


def test_open_episode_of_a_rule_that_is_gone_with_a_state_of_another_version(world):
    """It ends, quietly, as any episode of a rule that is taken away."""
    daemon = world.daemon(SOC_LOW, OVERSPEED)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    world.sql("""UPDATE volt_internal.alert_state SET state = '{"phase": "snoozed"}'""")
    daemon = world.daemon(OVERSPEED)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False)]


def test_firing_state_without_an_open_episode(world):
    """Somebody closed the row by hand: it stays closed, and what is beyond afterwards is an episode of its own."""
    daemon = world.daemon(SOC_LOW)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    world.sql("UPDATE volt.alert SET resolved_at = now()")
    daemon = world.daemon(SOC_LOW)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False)]
    daemon.receive("V1", soc=11)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V1", True)]


def test_state_of_another_version_without_an_episode(world):
    """It is forgotten."""
    world.sql(
        """INSERT INTO volt_internal.alert_state
        VALUES ('soc_low', 'vehicle', 'V1', NULL, 'asleep', now(), '{"a": 1}')"""
    )
    daemon = world.daemon(SOC_LOW)
    daemon.cycle.run()
    assert world.count("alert_state") == 0


def test_episode_opened_behind_the_back_of_the_check(world):
    """At most one check fails of a row that appeared meanwhile; the next one goes on with it."""
    daemon = world.daemon(SOC_LOW)
    daemon.cycle.run()
    world.sql(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, message)"
        " VALUES ('soc_low', 'warning', 'vehicle', 'V1', now(), now(), 'by hand')"
    )
    daemon.receive("V1", soc=11)
    daemon.receive("V2", soc=11)
    with pytest.raises(errors.StoreRejected):
        daemon.cycle.run()
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", True), ("soc_low", "V2", True)]


def test_outage_that_lasts_over_a_state_of_another_version(world):
    """What was sent from memory and what is made again from its episode are one."""
    daemon = world.daemon(INGEST_LAG)
    daemon.report = LAGS
    daemon.cycle.run()
    daemon.cycle.run_offline()
    world.sql('UPDATE volt_internal.alert_state SET state = state || \'{"phase": "snoozed"}\'')
    daemon.cycle.run()
    daemon.report = WELL
    daemon.cycle.run()
    assert [one[2] for one in world.notified()] == ["fired", "resolved"]


def test_commit_fails_that_carries_the_alert_of_an_outage(world):
    """Then it notified nobody, and the daemon sends from memory, once."""
    world.sql("""
        CREATE FUNCTION no_commit() RETURNS trigger LANGUAGE plpgsql
          AS $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$;
        CREATE CONSTRAINT TRIGGER no_commit AFTER INSERT ON volt.alert DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION no_commit()
    """)
    daemon = world.daemon(INGEST_LAG)
    daemon.cycle.run()
    daemon.report = LAGS
    with pytest.raises(errors.StoreUnavailable):
        daemon.cycle.run()
    daemon.cycle.run_offline()
    assert daemon.sent == [("ingest_lag", "fired")]
    world.sql("DROP TRIGGER no_commit ON volt.alert; DROP FUNCTION no_commit")
    daemon.cycle.run()
    daemon.cycle.run()
    assert world.notified() == [("ingest_lag", "t", "fired", "sent")]


def test_outage_that_is_long_over(world):
    """Its state is forgotten, and a check that finds nothing writes nothing."""
    daemon = world.daemon(INGEST_LAG, "late_after_s = 0.001")
    daemon.report = LAGS
    daemon.cycle.run()
    daemon.report = WELL
    daemon.cycle.run()
    daemon.cycle.run()
    assert world.count("alert_state") == 0
    turn = world.sql("SELECT epoch FROM volt_internal.alert_progress")
    daemon.cycle.run()
    assert world.sql("SELECT epoch FROM volt_internal.alert_progress") == turn
    assert [one[2] for one in world.notified()] == ["fired", "resolved"]


def test_vehicle_whose_episode_is_long_over_and_that_goes_on_sending(world):
    """It is forgotten although it has news at every check."""
    daemon = world.daemon(SOC_LOW)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    daemon.receive("V1", soc=25)
    daemon.cycle.run()
    world.sql("""
        UPDATE volt_internal.alert_state SET state = state || jsonb_build_object(
          'opened_at', to_jsonb(now() - INTERVAL '2 h'), 'resolved_at', to_jsonb(now() - INTERVAL '1 h'))
    """)
    daemon = world.daemon(SOC_LOW)
    daemon.receive("V1", soc=26)
    daemon.cycle.run()
    assert world.count("alert_state") == 0
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    assert [one[2] for one in world.notified()] == ["fired", "resolved", "fired"]


def test_old_episodes_are_deleted_without_reading_all_states(world):
    """The foreign key of each deleted row is looked up by index, however many states there are."""
    with psycopg.connect(world.dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT FROM ONLY volt_internal.alert_state WHERE alert_id = 1 FOR KEY SHARE")
        assert "Index Cond: (alert_id = 1)" in "\n".join(line for (line,) in plan)
