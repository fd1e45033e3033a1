"""With pseudonyms on, a VIN is nowhere: database, spool, log, status, live topic, alerts."""

import json
import time

import psycopg
import pytest

from support import alerts, commands, harness, proxies

VIN = "5YJ3E1EA7KF317000"


@pytest.fixture
def hidden(make_daemon, database_proxy, tmp_path):
    """A daemon with pseudonyms behind a proxy of the database, its alerts to a webhook; and the webhook."""
    key = tmp_path / "key"
    key.write_text("a key of sixteen bytes and more\n")
    hook = alerts.Webhook()
    daemon = make_daemon(
        pseudonyms__key_file=key,
        database__dsn=database_proxy.dsn,
        alerts__channels__hook__url=hook.url,
        alerts__channels__hook__min_severity="info",
        spool__after_s=0.5,
    )
    daemon.env["VOLTD_DEVICES"] = json.dumps({"ovms": {"topics": [f"{daemon.name}/ovms/{{user}}/{{id}}"]}})
    yield daemon.start(), hook
    hook.down()


def _everything(database):
    """Every row of every table and chunk, as text."""
    with psycopg.connect(database) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f"SELECT t::text FROM {table} t"):
                yield table, row
        yield "payloads", str(connection.execute("SELECT array_agg(convert_from(payload, 'LATIN1')) FROM volt.dead_letter").fetchone())


def test_a_vin_is_nowhere(hidden, publisher, database, database_proxy, tmp_path):
    daemon, hook = hidden
    listened = publisher.listen("#")
    topic = f"{daemon.name}/vehicle/{VIN}"

    def send(soc):
        publisher.flush(
            [
                publisher.publish(topic, json.dumps({"vehicleId": VIN, "timestamp": time.time(), "soc": soc, "diagnostics": {"vin": VIN}})),
                publisher.publish(topic, f'{{"vehicleId":"{VIN}"'),  # cut short
                publisher.publish(f"{daemon.name}/vehicle/{VIN.lower()}", json.dumps({"timestamp": 5, "soc": 5, VIN: 1})),
                publisher.publish(f"{daemon.name}/ovms/u/{VIN}/metric/v/b/soc", f"full of {VIN}"),
                publisher.publish(f"{daemon.name}/ovms/u/{VIN}/metric/v/p/speed", "190"),
            ]
        )

    send(50)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= 2)
    database_proxy.down()
    for soc in (3, 2):
        send(soc)
        time.sleep(1.2)
    harness.wait_for(lambda: daemon.events("spool.begun"))
    spooled = b"".join(file.read_bytes() for file in (tmp_path / "spool").iterdir())
    assert b"vehicle/Q1" in spooled
    database_proxy.up()
    harness.wait_for(lambda: daemon.events("spool.drained"))
    harness.wait_for(lambda: harness.count(database, "alert"), 60)
    harness.wait_for(lambda: hook.received, 60)
    rows = list(_everything(database))
    assert sum("Q1" in row for _, row in rows) > 5
    found = {
        "database": [table for table, row in rows if VIN in row.upper()],
        "spool": VIN.encode() in spooled.upper(),
        "log": VIN in daemon.log().upper(),
        "alerts": VIN in json.dumps(hook.received, default=str).upper(),
        "topics of ours": [one for one in listened if one[0].startswith("voltd/") and VIN in str(one).upper()],
    }
    assert found == {"database": [], "spool": False, "log": False, "alerts": False, "topics of ours": []}
    assert any(one[0].startswith("voltd/") for one in listened)
    said = commands.run(["devices", "pseudonym", VIN], daemon.env).stdout.split()
    assert said[0] == VIN
    with psycopg.connect(database) as connection:
        ids = {row[0] for row in connection.execute("SELECT DISTINCT vehicle_id FROM volt.vehicle_reading")}
    assert ids == {said[1]}


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
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/{VIN}", json.dumps({"timestamp": time.time(), "soc": 50}))])
    harness.wait_for(lambda: harness.count(database, "pseudonym_change", schema="volt_internal"), 20)
    with psycopg.connect(database, autocommit=True) as connection:
        (previous, current) = connection.execute("SELECT previous, current FROM volt_internal.pseudonym_change").fetchone()
        assert (previous[:2], current[:2]) == ("Q1", "Q2")
        connection.execute("SET ROLE volt_writer")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM volt_internal.pseudonym_change")
        connection.execute("RESET ROLE")
        for values in ((VIN, None), (current, VIN)):
            with pytest.raises(psycopg.errors.CheckViolation, match="pseudonyms are on"):
                connection.execute("INSERT INTO volt.vehicle (vehicle_id, vin) VALUES (%s, %s)", values)
        connection.execute("INSERT INTO volt.vehicle (vehicle_id) VALUES (%s)", (current,))
