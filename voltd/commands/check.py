"""``voltd check``: tests configuration, broker, database, spool, alerts and clock. A line says ok, or what to do.

It changes nothing at the broker or in the database.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from voltd import config, errors
from voltd.alerts import channels
from voltd.config import topics
from voltd.database import connections, edition, policies, queries, schema_state, sqlstate
from voltd.host import host_clock, witnesses
from voltd.pipeline.consume import clients, pseudonyms
from voltd.pipeline.consume.client_id import probe
from voltd.pipeline.decode.devices import catalogue, families
from voltd.rules import load

_MEANING = {
    edition.Edition.COMMUNITY: "continuous aggregates, columnstore and retention by TimescaleDB's own policies",
    edition.Edition.APACHE: "hourly history kept by voltd's scheduler under the same names; no columnstore",
}
_KERNEL_CLOCK = {
    True: "the kernel says that it is synchronised",
    False: "the kernel says that it is not synchronised",
    None: "the kernel does not say whether it is synchronised",
}


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no arguments."""


def run(_args: argparse.Namespace, settings: config.Settings) -> int:
    """Prints a line per test; 0 if all are ok, 78 if one needs an administrator, 1 if a server cannot be reached."""
    print(f"ok    configuration: instance {settings.instance}, client id {settings.client_id}")
    described = _check("device families", lambda: _families(settings))
    hidden = _check("pseudonyms", lambda: _pseudonyms(settings))
    filters = families.of(settings).filters if not max(described, hidden) else ()
    return max(
        described,
        hidden,
        _check("broker", lambda: _broker(settings, filters)),
        _check("database", lambda: _database(settings)),
        _check("spool", lambda: _spool(settings)),
        _check("alerts", lambda: _alerts(settings)),
        _check("clock", lambda: _clock(settings)),
    )


def _check(name: str, test: Callable[[], list[str]]) -> int:
    try:
        lines = test()
    except errors.VoltdError as error:
        print(f"FAIL  {name}: {error}")
        if error.hint:
            print(f"      {error.hint}")
        return error.exit_code
    for line in lines:
        print(f"ok    {line}")
    return 0


def _families(settings: config.Settings) -> list[str]:
    enabled = families.enabled(settings)
    for words in [words for one in enabled for words in catalogue.odd_topics(one)]:
        print(f"warn  device families: {words}")
    own = settings.mqtt.topics
    for name in (*own.vehicle, *own.meter, *own.ingest):
        if (said := topics.empty_level(name)) is not None:
            print(f"warn  mqtt.topics: {name!r} {said}")
    named = [f"{one.name} ({', '.join(topic.text for topic in one.topics)})" for one in enabled]
    return [f"device families: {', '.join(named)}"] if named else []


def _pseudonyms(settings: config.Settings) -> list[str]:
    if pseudonyms.of(settings) is None or settings.pseudonyms.key_file is None:
        return []
    if settings.pseudonyms.key_file.stat().st_mode & 0o077:
        raise errors.ConfigurationError(
            f"pseudonyms.key_file = {str(settings.pseudonyms.key_file)!r} can be read by others than its owner",
            hint="chmod 600 it: with the key anybody can say the pseudonym of a VIN",
        )
    return [f"pseudonyms: on, key {settings.pseudonyms.key_id}"]


def _broker(settings: config.Settings, filters: Sequence[str]) -> list[str]:
    mqtt = settings.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    answered = threading.Event()
    answer: list[Any] = []
    refused: list[str] = []
    wanted = clients.observer_subscriptions(mqtt, filters)

    def on_connect(client: Any, _userdata: Any, _flags: Any, reason: Any, properties: Any) -> None:
        answer.extend((reason, properties))
        if reason.is_failure:
            answered.set()
        else:
            client.subscribe(wanted)

    def on_subscribe(_client: Any, _userdata: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        refused.extend(name for (name, _), reason in zip(wanted, reasons, strict=True) if reason.is_failure)
        answered.set()

    client = clients.observer(settings)
    client.on_connect, client.on_subscribe = on_connect, on_subscribe
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
            f"{where}: no answer to CONNECT",
            hint="check that an MQTT 5 broker listens there; with TLS, set mqtt.tls = true",
        )
    reason, properties = answer
    if reason.is_failure:
        raise errors.BrokerRefused(
            f"{where} refused the connection: {reason}", hint="check mqtt.username and the password file"
        )
    if refused:
        raise errors.BrokerRefused(
            f"{where} refuses the subscription to {', '.join(refused)}",
            hint="allow this user to read these topics in the broker's access list",
        )
    largest = getattr(properties, "MaximumPacketSize", None)
    note = f", largest packet {largest} bytes" if largest else ""
    return [f"broker: {where} speaks MQTT 5 and lets us subscribe{note}", *_client_id(settings)]


def _client_id(settings: config.Settings) -> list[str]:
    found = probe.probe(settings)
    if not found.allowed:
        print(
            "warn  client id: the broker does not let daemons ask which one uses it; in its access list, allow this "
            "user to read and write voltd/client/#"
        )
        return []
    return [f"client id: {settings.client_id} is {f'in use by {found.daemon}' if found.daemon else 'free'}"]


def _database(settings: config.Settings) -> list[str]:
    state = schema_state.status(connections.dsn(settings))
    found = edition.require_supported(state.server)
    state.require_current()
    _require_privileges(settings)
    jobs = _timescaledb_jobs(settings)
    return [
        f"database: PostgreSQL {state.server.postgres}",
        f"edition: TimescaleDB {state.server.timescaledb}, {found.label}: {_MEANING[found]}{jobs}",
        "schema: up to date, and this user may write",
    ]


def _timescaledb_jobs(settings: config.Settings) -> str:
    """Warns of each job of TimescaleDB in trouble; without one what the edition's line says, on Apache-2 nothing."""
    try:
        with psycopg.connect(connections.dsn(settings)) as connection:
            jobs = policies.look(connection) or []
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    troubled = [job for job in jobs if job.in_trouble]
    refreshed = _refreshed(settings, [job for job in troubled if job.refresh_from is not None])
    for job in troubled:
        count = f" (failures in a row: {job.failures})" if job.failures else ""
        print(f"warn  timescaledb: job {job.job_id}, {job.name}, {job.trouble}{count}")
        print(f"      {job.advice}")
        if job.job_id in refreshed:
            print(f"      the daemon that leads refreshes {job.relation} meanwhile")
        elif job.refresh_from is not None and not job.works:
            print(f"      voltd may not refresh {job.relation} itself: {policies.how_to_allow(job)}")
    return "; its jobs are ok" if jobs and not troubled else ""


def _refreshed(settings: config.Settings, jobs: list[policies.PolicyJob]) -> set[int]:
    """Those of these jobs whose aggregate a daemon with these settings may refresh."""
    if not jobs:
        return set()
    try:
        with psycopg.connect(connections.dsn(settings, migrate=True)) as owner:
            return {job.job_id for job in jobs if policies.may_refresh(owner, job)}
    except (psycopg.Error, errors.StoreUnavailable):
        return set()


def _spool(settings: config.Settings) -> list[str]:
    if not settings.spool.enabled:
        return ["spool: switched off; while the database is away messages stay with the broker"]
    folder = settings.spool_file.parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise errors.ConfigurationError(
            f"{folder} is not writable for this user", hint="set spool.directory (VOLTD_SPOOL__DIRECTORY)"
        )
    free = shutil.disk_usage(existing).free - settings.spool.min_free_bytes
    return [f"spool: {settings.spool_file}, room for {max(0, min(free, settings.spool.max_bytes)) >> 20} MiB"]


def _alerts(settings: config.Settings) -> list[str]:
    if not settings.alerts.enabled:
        return [f"alerts: switched off (alerts.enabled = false){_other_daemon(settings)}"]
    rules = load.load(settings.alerts.rules_file)
    channels.require_rules(settings, [rule.name for rule in rules])
    for fleet in _unknown_fleets(settings):
        print(f"warn  alerts: a channel is for fleet {fleet!r}, which is not registered; check its spelling")
    names = ", ".join(one.name for one in channels.make(settings))
    return [f"alerts: {len(rules)} rules; channels: {names or 'none, set one in [alerts.channels.<name>]'}"]


def _clock(settings: config.Settings) -> list[str]:
    """Compares this host's clock with the kernel's state and the database. The daemon compares it with devices, too."""
    kernel = witnesses.kernel()
    if kernel.impossible:
        raise errors.ConfigurationError(f"this host's clock is wrong: {kernel.doubts}", hint=host_clock.ADVICE)
    if kernel.doubts:
        print(f"warn  clock: {kernel.doubts} yet; {host_clock.ADVICE}")
    state = _KERNEL_CLOCK[kernel.synchronised]
    found = None
    try:
        with psycopg.connect(connections.dsn(settings)) as connection:
            found = witnesses.database(connection)
            troubles = connection.execute(queries.text("daemons_in_trouble")).fetchall()
    except psycopg.Error:  # the line of the database reports it
        troubles = []
    for instance, trouble in troubles:
        print(f"warn  clock: daemon {instance}: {trouble}")
    if found is None:
        return [f"clock: {state}; the database could not be asked"]
    if found.differs(host_clock.OFF_S):
        side = "behind" if found.ahead_s > 0 else "ahead of"
        raise errors.ConfigurationError(
            f"this host's clock is {host_clock.spell(abs(found.ahead_s))} {side} the database's",
            hint=f"find out which of the two is wrong (timedatectl on both); {host_clock.ADVICE}",
        )
    agrees = f"within {max(abs(found.ahead_s) + found.within_s, 0.001):.3f} s of the database's"
    return [f"clock: {agrees}; {state}"]


def _other_daemon(settings: config.Settings) -> str:
    """Whether another daemon evaluates the rules; empty if the database does not answer, which has its own line."""
    try:
        with psycopg.connect(connections.dsn(settings)) as connection:
            row = connection.execute(queries.text("rules_checked")).fetchone()
    except psycopg.Error:
        return ""
    return f"; {'another' if row and row[0] else 'no'} daemon of this database checks the rules"


def _unknown_fleets(settings: config.Settings) -> list[str]:
    """Fleets of channels that are not registered; none if the database does not answer, which has its own line."""
    named = sorted({fleet for one in settings.alerts.channels.values() for fleet in one.fleets})
    try:
        with psycopg.connect(connections.dsn(settings)) as connection:
            rows = connection.execute(queries.text("unknown_fleets"), {"fleets": named}).fetchall() if named else []
    except psycopg.Error:
        return []
    return [str(fleet) for (fleet,) in rows]


def _require_privileges(settings: config.Settings) -> None:
    try:
        with psycopg.connect(connections.dsn(settings)) as connection:
            rows = connection.execute(queries.text("missing_privileges")).fetchall()
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    if rows:
        user, names = rows[0][0], ", ".join(f"{privilege} on {table}" for _, table, privilege in rows)
        raise errors.ConfigurationError(
            f"{user} lacks {names}", hint=f'as an administrator: GRANT volt_writer TO "{user}"'
        )
