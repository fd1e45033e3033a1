"""``voltd check``: configuration, broker, database, edition and schema, each line ok or what to do next.

Connects, looks and leaves; changes nothing at the broker or in the database. The settings were loaded by ``cli``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from voltd import config, errors
from voltd.database import edition, migrate, session
from voltd.pipeline import consume_client

_MEANING = {
    edition.Edition.COMMUNITY: "continuous aggregates, columnstore and retention by TimescaleDB's own policies",
    edition.Edition.APACHE: "hourly history kept by voltd's scheduler under the same names; no columnstore",
}


def run(settings: config.Settings) -> int:
    """Prints a line per check; 0 when all are ok, 78 when one needs an admin, 1 when a server cannot be reached."""
    print(f"ok    configuration: instance {settings.instance}, client id {settings.client_id}")
    return max(_check("broker", lambda: _broker(settings)), _check("database", lambda: _database(settings)))


def _check(name: str, look: Callable[[], list[str]]) -> int:
    try:
        lines = look()
    except errors.VoltdError as error:
        print(f"FAIL  {name}: {error}")
        if error.hint:
            print(f"      {error.hint}")
        return error.exit_code
    for line in lines:
        print(f"ok    {line}")
    return 0


def _broker(settings: config.Settings) -> list[str]:
    mqtt = settings.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    answered = threading.Event()
    answer: list[Any] = []

    def on_connect(_client: Any, _userdata: Any, _flags: Any, reason: Any, properties: Any) -> None:
        answer.extend((reason, properties))
        answered.set()

    client = consume_client.observer(settings)
    client.on_connect = on_connect
    try:
        client.connect(mqtt.host, mqtt.port)
    except (OSError, ValueError) as error:
        raise errors.BrokerUnavailable(
            f"{where}: {error}", hint="start the broker, or set mqtt.host and mqtt.port (VOLTD_MQTT__HOST, ...__PORT)"
        ) from error
    client.loop_start()
    answered.wait(5.0)
    client.disconnect()
    client.loop_stop()
    if not answer:
        raise errors.BrokerUnavailable(
            f"{where}: no answer to CONNECT", hint="does an MQTT 5 broker listen there? with TLS, set mqtt.tls = true"
        )
    reason, properties = answer
    if reason.is_failure:
        raise errors.BrokerRefused(
            f"{where} refused the connection: {reason}", hint="check mqtt.username and the password file"
        )
    largest = getattr(properties, "MaximumPacketSize", None)
    note = f", largest packet {largest} bytes" if largest else ""
    return [f"broker: {where} speaks MQTT 5{note}"]


def _database(settings: config.Settings) -> list[str]:
    state = migrate.status(session.dsn(settings))
    found = edition.require_supported(state.server)
    state.require_current()
    return [
        f"database: PostgreSQL {state.server.postgres}",
        f"edition: TimescaleDB {state.server.timescaledb}, {found.label}: {_MEANING[found]}",
        "schema: up to date",
    ]
