"""The store on a server with rules and a pace of its own."""

import datetime as dt
import itertools
import json
import threading
import time

import psycopg
import pytest
from psycopg import conninfo, sql

from support import harness
from voltd import config, errors, models
from voltd.database import connections
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store as write

NOW = dt.datetime.now(dt.UTC)
HOUSE_RULE = """
CREATE FUNCTION volt.house_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.soc_pct = 13 THEN
    RAISE EXCEPTION 'not here' USING ERRCODE = '23H01';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER house_rule BEFORE INSERT ON volt.vehicle_reading FOR EACH ROW EXECUTE FUNCTION volt.house_rule()
"""
SLOW = """
CREATE FUNCTION volt.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.0); RETURN NULL; END $$
"""


@pytest.fixture
def dsn(migrated_database):
    return migrated_database


def message(packet_id, topic="volt/vehicle/V1/telemetry", **fields):
    at = NOW - dt.timedelta(seconds=packet_id)
    body = json.dumps({"timestamp": at.isoformat(), **fields}).encode()
    return models.Message(topic, body, packet_id, NOW)


def batch(*messages):
    return decoder.Decoder(config.Topics(), config.Limits(), 90).decode(list(messages))


def test_a_rule_of_the_sites_own_refuses_a_reading(dsn):
    """An SQLSTATE that nobody else knows (a trigger's) is a dead letter like any other; the others go in."""
    with psycopg.connect(dsn) as connection:
        connection.execute(HOUSE_RULE)
    store = write.PostgresStore(connections.connector(config.Settings(database={"dsn": dsn})), "client")
    result = store.write(batch(message(1, soc=12), message(2, soc=13), message(3, soc=14)))
    store.close()
    assert (result.vehicles_written, len(result.dead_letters)) == (2, 1)
    with psycopg.connect(dsn) as connection:
        (found,) = connection.execute("SELECT reason, detail FROM volt.dead_letter").fetchall()
    assert found == ("rejected_by_database", "not here (integrity constraint violation, 23H01)")


def test_a_new_pseudonym_is_noted_with_the_first_reading_under_it(dsn):
    """In one transaction: at no moment is there a reading whose history nobody can join."""
    renamed = pseudonyms.Pseudonyms(b"2" * 16, "2", (b"1" * 16, "1"))
    store = write.PostgresStore(
        connections.connector(config.Settings(database={"dsn": dsn})), "client", renamed=renamed
    )
    for number in (1, 2):
        sent = message(number, "volt/vehicle/WVWZZZ1JZXW000001/telemetry", soc=12)
        store.write(batch(renamed.message(sent)))
        assert renamed.renamed == {}
    store.close()
    query = "SELECT vehicle_id, r.xmin = c.xmin FROM volt.vehicle_reading r JOIN volt_internal.pseudonym_change c"
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"{query} ON c.current = r.vehicle_id ORDER BY recorded_at DESC").fetchall()
    assert found == [(renamed.of("WVWZZZ1JZXW000001"), True), (renamed.of("WVWZZZ1JZXW000001"), False)]


def test_no_statement_is_compiled(dsn):
    """Whatever the server's own setting: compiling takes longer than what is compiled here."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        name = sql.Identifier(admin.info.dbname)
        admin.execute(sql.SQL("ALTER DATABASE {} SET jit = on").format(name))
    with psycopg.connect(dsn) as other:
        assert other.execute("SHOW jit").fetchone() == ("on",)
    with connections.connector(config.Settings(database={"dsn": dsn}))() as connection:
        assert connection.execute("SHOW jit").fetchone() == ("off",)


def test_a_batch_of_many_slow_statements(dsn):
    """A server that answers each in time is not silent, however long all of them take: none is broken off."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SLOW)
        for table in ("volt.vehicle_reading", "volt.meter_reading", "volt.dead_letter", "volt_internal.ingest_commit"):
            connection.execute(
                f"CREATE TRIGGER slow AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION volt.slow()"
            )
    settings = config.Settings(database={"dsn": dsn, "statement_timeout_s": 3})
    store = write.PostgresStore(connections.connector(settings, patience_s=3.0), "client")
    heard = [time.monotonic()]
    written = threading.Event()

    def listen():
        while not written.wait(0.01):
            heard.append(max(heard[-1], store.heard_at))

    listener = threading.Thread(target=listen)
    started = time.monotonic()
    listener.start()
    try:
        result = store.write(
            batch(message(1, soc=12), message(2, power=1, topic="volt/meter/M1/telemetry"), message(3))
        )
    finally:
        took = time.monotonic() - started
        written.set()
        listener.join()
        store.close()
    assert (result.vehicles_written, result.meters_written, len(result.dead_letters)) == (1, 1, 1)
    assert took > 4.0
    assert max(later - earlier for earlier, later in itertools.pairwise(heard)) < 2.0 * harness.contention(), (
        "progress is seen meanwhile"
    )


@pytest.fixture
def connect(dsn, proxy):
    """Opens connections through the proxy that have one and a half seconds of patience."""
    through = conninfo.make_conninfo(dsn, host=proxy.address[0], port=proxy.address[1])
    return connections.connector(config.Settings(database={"dsn": through}), patience_s=1.5)


def test_a_server_that_falls_silent_between_two_batches(dsn, proxy, connect):
    """The batch is kept, as its connection gives the server up by itself; it goes in when something answers again."""
    store = write.PostgresStore(connect, "client")
    try:
        store.write(batch(message(1, soc=12)))
        proxy.fall_silent()
        second = batch(message(2, soc=13))
        with pytest.raises(errors.StoreUnavailable, match="said nothing"):
            store.write(second)
        proxy.pass_on()
        assert store.write(second).vehicles_written == 1
    finally:
        store.close()
    assert harness.count(dsn, "vehicle_reading") == 2


def test_a_server_that_takes_no_more_in_the_middle_of_a_copy(proxy, connect):
    """Also who only sends is not held for ever."""
    connection = connect()
    connection.execute("CREATE TEMP TABLE far (text text)")
    started = time.monotonic()

    def send():
        with connection.cursor() as cursor, cursor.copy("COPY far FROM STDIN") as copy:
            proxy.fall_silent()
            while time.monotonic() - started < 20:
                copy.write("x" * 999_999 + "\n")

    with pytest.raises(psycopg.OperationalError, match="said nothing"):
        send()
    assert time.monotonic() - started < 10
    assert connection.closed
