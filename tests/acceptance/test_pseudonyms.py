"""With pseudonyms on, a VIN is nowhere: database, spool, log, status, live topic, alerts."""

import json
import pathlib
import time

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from support import commands, harness

VIN = "5YJ3E1EA7KF317000"


@pytest.fixture
def hidden(make_daemon, webhook, tmp_path):
    """A daemon with pseudonyms whose alerts go to the webhook."""
    key = tmp_path / "key"
    key.write_text("a key of sixteen bytes and more\n")
    daemon = make_daemon(
        pseudonyms__key_file=key,
        alerts__channels__hook__url=webhook.url,
        alerts__channels__hook__min_severity="info",
        spool__after_s=0.5,
        database__retry_max_s=0.5,
    )
    daemon.env["VOLTD_DEVICES"] = json.dumps({"ovms": {"topics": [f"{daemon.name}/ovms/{{user}}/{{id}}"]}})
    return daemon.start()


@pytest.fixture
def published(broker):
    """Everything that is published on voltd's own topics."""
    found = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _userdata, one: found.append(
        f"{one.topic} {one.payload.decode(errors='replace')}"
    )
    client.on_connect = lambda one, *_: one.subscribe("voltd/#")
    client.connect(broker.host, broker.port)
    client.loop_start()
    yield found
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def outage(servers):
    """A function that stops the database, lets something happen, and returns what the spool then has."""

    def away(happen, daemon):
        servers.database.stop(immediate=True)
        try:
            happen()
            harness.wait_for(lambda: daemon.events("spool.begun"))
            folder = pathlib.Path(daemon.env["VOLTD_SPOOL__DIRECTORY"])
            return b"".join(file.read_bytes() for file in folder.iterdir())
        finally:
            servers.database.start()

    return away


def _everything(database):
    """Every row of every table and chunk, as text."""
    with psycopg.connect(database) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_|^information_schema$'"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f"SELECT t::text FROM {table} t"):
                yield table, row
        for (payload,) in connection.execute("SELECT payload FROM volt.dead_letter"):
            yield "payloads", payload.decode()


def _send(publisher, name, soc):
    topic = f"{name}/vehicle/{VIN}"
    reading = {"vehicleId": VIN, "timestamp": time.time(), "soc": soc, "diagnostics": {"vin": VIN}}
    for_alerts = {"timestamp": time.time(), "speed": 190}
    messages = [
        (topic, json.dumps(reading)),
        (topic, json.dumps(for_alerts)),
        (topic, f'{{"vehicleId":"{VIN}"'),  # cut short
        (f"{name}/vehicle/{VIN.lower()}", json.dumps({"timestamp": 5, "soc": 5, VIN: 1})),
        (f"{name}/ovms/u/{VIN}/metric/v/b/soc", f"full of {VIN}"),
        (f"{name}/ovms/u/{VIN}/metric/v/p/odometer", str(1000 + soc)),
    ]
    publisher.flush([publisher.publish(topic, payload) for topic, payload in messages])


def test_a_vin_is_nowhere(*, hidden, publisher, published, webhook, database, outage):
    """Not in any table or chunk, dead letter, spool, log, status, live state or notification."""
    _send(publisher, hidden.name, 50)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= 3)
    spooled = outage(lambda: _send(publisher, hidden.name, 49), hidden)
    harness.wait_for(lambda: hidden.events("spool.drained"))
    name = commands.run(["devices", "pseudonym", VIN], hidden.env).stdout.split()[1]
    harness.wait_for(lambda: any(name in json.dumps(body) for _, body in webhook.posts), 60, "a notification of it")
    rows = list(_everything(database))
    everywhere = {
        "database": [row for _, row in rows],
        "spool": [spooled.decode("latin-1")],
        "log": [hidden.log()],
        "topics": published,
        "notifications": [json.dumps(body) for _, body in webhook.posts],
    }
    assert {place for place, texts in everywhere.items() if any(VIN in text.upper() for text in texts)} == set()
    assert {place for place, texts in everywhere.items() if any(name in text for text in texts)} >= {
        "database", "spool", "topics", "notifications",
    }  # fmt: skip
    assert {"payloads", "volt.vehicle_current", "volt.alert"} <= {table for table, row in rows if name in row}


def test_a_new_key_and_the_registry(make_daemon, publisher, database, tmp_path):
    """Both pseudonyms are noted for the owner alone, and the registry refuses a VIN."""
    for number in (1, 2):
        (tmp_path / f"key{number}").write_text(f"{number} is a key of sixteen bytes")
    daemon = make_daemon(
        pseudonyms__key_file=tmp_path / "key2", pseudonyms__key_id="2",
        pseudonyms__previous_key_file=tmp_path / "key1", pseudonyms__previous_key_id="1",
    )  # fmt: skip
    assert daemon.run("migrate").returncode == 0
    daemon.start()
    reading = json.dumps({"timestamp": time.time(), "soc": 50})
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/{VIN}", reading)])
    harness.wait_for(lambda: harness.count(database, "pseudonym_change", schema="volt_internal"), 20)
    with psycopg.connect(database, autocommit=True) as connection:
        query = "SELECT previous, current FROM volt_internal.pseudonym_change"
        previous, current = connection.execute(query).fetchone()
        assert (previous[:2], current[:2]) == ("Q1", "Q2")
        connection.execute("SET ROLE volt_writer")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM volt_internal.pseudonym_change")
        connection.execute("RESET ROLE")
        for values in ((VIN, None), (current, VIN)):
            with pytest.raises(psycopg.errors.CheckViolation, match="pseudonyms are on"):
                connection.execute("INSERT INTO volt.vehicle (vehicle_id, vin) VALUES (%s, %s)", values)
        connection.execute("INSERT INTO volt.vehicle (vehicle_id) VALUES (%s)", (current,))
