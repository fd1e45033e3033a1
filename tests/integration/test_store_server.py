"""The store on a server with rules and a pace of its own."""

import datetime as dt
import json

import psycopg
import pytest

from voltd import config, models
from voltd.database import migrate, session
from voltd.pipeline import decode, write

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


@pytest.fixture
def dsn(fresh_database):
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    return fresh_database


def message(packet_id, **fields):
    at = NOW - dt.timedelta(seconds=packet_id)
    body = json.dumps({"timestamp": at.isoformat(), **fields}).encode()
    return models.Message("volt/vehicle/V1/telemetry", body, packet_id, NOW)


def batch(*messages):
    return decode.Decoder(config.Topics(), config.Limits(), 90).decode(list(messages))


def test_a_rule_of_the_sites_own_refuses_a_reading(dsn):
    """An SQLSTATE that nobody else knows (a trigger's) is a dead letter like any other; the others go in."""
    with psycopg.connect(dsn) as connection:
        connection.execute(HOUSE_RULE)
    store = write.PostgresStore(session.connector(config.Settings(database={"dsn": dsn})), "client")
    result = store.write(batch(message(1, soc=12), message(2, soc=13), message(3, soc=14)))
    store.close()
    assert (result.vehicles_written, len(result.dead_letters)) == (2, 1)
    with psycopg.connect(dsn) as connection:
        (found,) = connection.execute("SELECT reason, detail FROM volt.dead_letter").fetchall()
    assert found == ("rejected_by_database", "not here (integrity constraint violation, 23H01)")
