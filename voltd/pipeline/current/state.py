"""The newest known state of every device, kept about a second behind the hypertables.

``flush`` hands each committed batch over (``note``); a thread of its own folds what came since the last time and
merges it into ``volt.vehicle_current`` and ``volt.meter_current`` once per interval: written per batch, it would cost
more than the readings. It never leads the hypertables, and what a crash cut off is healed from them at start.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg
import structlog

from voltd import errors, models, readings
from voltd.database import connections, queries, sqlstate
from voltd.pipeline.current import newest
from voltd.pipeline.write import alive

_log = structlog.get_logger()

_MOST_PENDING = 200_000
_RETRY_S = 2.0
_ROWS_AT_ONCE = 100  # psycopg keeps other threads out while it makes these
_JUST_BEFORE = dt.timedelta(milliseconds=1)
_NEVER_MERGED = dt.timedelta(days=1)
_GATHERED_FOR = dt.timedelta(seconds=90)  # so long a value may wait for others (gather_s) while newer ones are merged

Pending = list[newest.Segment]

_PLACES = {device_type: newest.places(device_type) for device_type in models.DeviceType}


class Listener(Protocol):
    """Gets the new states of vehicles after they are committed; neither call may block or raise."""

    def pick(self, count: int) -> slice:
        """Which of so many changed vehicles it takes."""
        ...

    def publish(self, names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
        """Columns and full merged rows of these vehicles."""
        ...


class CurrentState:
    """Keeps the current tables. ``note`` is called by the flusher, ``run`` is a thread of its own.

    Args:
        connect: opens a connection of the writer's role.
        instance: whose progress is stored for healing.
        interval_s: how far the state may trail.
        listener: gets the vehicles that have changed, after each merge.
        well_since: since when the broker, this daemon and the database have all been there: intervals between signs of
            life that began earlier are not learnt. None: one of them is down.
        spooled_since: when the oldest message arrived that waits elsewhere (in the spool) to be noted; None: none does.
        heal: whether the first merge looks for what was committed and never merged.
    """

    def __init__(
        self,
        connect: connections.Connect,
        instance: str,
        interval_s: float,
        listener: Listener | None = None,
        spooled_since: Callable[[], dt.datetime | None] = lambda: None,
        *,
        well_since: Callable[[], dt.datetime | None] = lambda: None,
        heal: bool = True,
    ) -> None:
        self._connect = connect
        self._instance = instance
        self._interval_s = interval_s
        self._listener = listener
        self._spooled_since, self._well_since = spooled_since, well_since
        self._lock = threading.Lock()
        self._vehicles: Pending = []
        self._meters: Pending = []
        self._pending = 0  # readings in both
        self._alive = alive.Alive()
        self._noted_until: dt.datetime | None = None
        self._heal = heal
        self._stopping = threading.Event()
        self._connection: connections.Connection | None = None
        self.beat = time.monotonic()

    def note(self, batch: models.Batch, result: models.WriteResult) -> None:
        """Takes the readings of a committed batch; cheap, does not block on the database."""
        vehicles = _segments(batch, batch.vehicles, batch.vehicle_sources, result)
        meters = _segments(batch, batch.meters, batch.meter_sources, result)
        self._alive.note(batch)
        with self._lock:
            self._pending += batch.readings
            if self._pending > _MOST_PENDING:
                # Bounded: what does not fit is read back from the hypertables.
                self._vehicles, self._meters, self._pending, self._heal = [], [], 0, True
                return
            self._vehicles += vehicles
            self._meters += meters
            newest = batch.messages[-1].received_at
            self._noted_until = max(self._noted_until or newest, newest)

    def has_run(self) -> bool:
        """Whether this instance has stored readings before; False also where the database does not answer."""
        try:
            return self._open().execute(queries.text("current_until"), {"instance": self._instance}).rowcount == 1
        except psycopg.Error:
            return False

    def stop(self) -> None:
        """Ends ``run`` after a last merge."""
        self._stopping.set()

    def run(self) -> None:
        """Merges once per interval until stopped; while the database is away it keeps what it has and tries again."""
        while True:
            self.beat = time.monotonic()
            last = self._stopping.is_set()
            try:
                self.merge()
            except errors.VoltdError as error:
                _log.warning("current_state.delayed", error=str(error), hint=error.hint)
                self._stopping.wait(_RETRY_S)
            if last:
                break
            self._stopping.wait(self._interval_s)
        self.close()

    @property
    def heard_at(self) -> float:
        """When the server was last heard, on the monotonic clock: progress within a merge. For any thread."""
        return connections.heard_at(self._connection)

    def close(self) -> None:
        """Closes the connection; a later merge opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def merge(self) -> None:
        """One pass: heals if it must, then merges what was noted since the last pass.

        Raises:
            StoreUnavailable, StoreRejected: nothing was merged; what was noted is kept for the next pass.
        """
        spooled_since = self._spooled_since()  # before looking at what was noted: what left the spool is noted
        with self._lock:
            vehicles, meters, until, heal = self._vehicles, self._meters, self._noted_until, self._heal
            self._vehicles, self._meters, self._pending = [], [], 0
        if until is not None and spooled_since is not None:
            until = min(until, spooled_since - _JUST_BEFORE)
        try:
            if vehicles or meters:
                # What is to be healed lies before: progress is stored only when nothing is.
                names, changed = self._merge(vehicles, meters, None if heal else until)
                vehicles, meters = [], []
                if self._listener and changed:
                    self._listener.publish(names, changed)
            if heal:
                self._heal_from_readings()
            self._alive.merge(self._open())
        except psycopg.Error as error:
            with self._lock:
                self._vehicles, self._meters = vehicles + self._vehicles, meters + self._meters
                self._pending += sum(len(segment.readings) for segment in (*vehicles, *meters))
            self.close()
            raise sqlstate.wrap(error) from error

    def _merge(
        self, vehicles: Pending, meters: Pending, until: dt.datetime | None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        connection = self._open()
        names: list[str] = []
        changed: list[tuple[Any, ...]] = []
        with connection.transaction(), connection.cursor() as cursor:
            if vehicles:
                self._merge_states(cursor, models.DeviceType.VEHICLE, vehicles)
                if self._listener:
                    names = [column.name for column in cursor.description or ()]
                    wanted = self._listener.pick(cursor.rowcount)
                    if wanted.start:
                        cursor.scroll(wanted.start, mode="absolute")
                    while (left := wanted.stop - wanted.start - len(changed)) > 0:
                        changed += cursor.fetchmany(min(left, _ROWS_AT_ONCE))
            if meters:
                self._merge_states(cursor, models.DeviceType.METER, meters)
            if until is not None:
                cursor.execute(queries.text("set_current_until"), {"instance": self._instance, "until": until})
        return names, changed

    def _merge_states(self, cursor: psycopg.Cursor[Any], device_type: models.DeviceType, segments: Pending) -> None:
        """Stages the devices' newest states and merges them; of vehicles the cursor has the full rows afterwards."""
        states = newest.states(segments, _PLACES[device_type])
        with cursor.copy(queries.text(f"copy_staged_{device_type}_current")) as copy:
            copy.set_types(readings.state_types(device_type))
            for state in states:
                copy.write_row(state)
        if (well_since := self._well_since()) is not None:
            cursor.execute(queries.text(f"note_{device_type}_rhythms"), {"well_since": well_since})
        cursor.execute(queries.text(f"merge_{device_type}_current"))

    def _heal_from_readings(self) -> None:
        """What was committed and not merged: readings received since shortly before the last merge of this instance.

        An instance that never merged has left nothing behind but on a database older than its progress table: a day.
        """
        with self._lock:
            self._heal = False  # what is given up while this runs is the next pass's to heal
        try:
            self._heal_since(self._open())
        except BaseException:
            self._heal = True
            raise

    def _heal_since(self, connection: psycopg.Connection[Any]) -> None:
        started = time.monotonic()
        row = connection.execute(queries.text("current_until"), {"instance": self._instance}).fetchone()
        since = row[0] - _GATHERED_FOR if row else dt.datetime.now(dt.UTC) - _NEVER_MERGED
        with connection.transaction():
            healed = 0
            for device_type in models.DeviceType:
                healed += connection.execute(
                    queries.text(f"stage_{device_type}_current_since"), {"since": since}
                ).rowcount
                connection.execute(queries.text(f"merge_{device_type}_current"))
        if healed:
            seconds = round(time.monotonic() - started, 2)
            _log.info("current_state.healed", devices=healed, since=since.isoformat(), s=seconds)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection = self._connect()
            for device_type in models.DeviceType:
                connection.execute(queries.text(f"create_staged_{device_type}_current"))
            self._connection = connection
        return self._connection


def _segments(
    batch: models.Batch,
    readings: Sequence[models.Reading],
    sources: Sequence[models.Source],
    result: models.WriteResult,
) -> Pending:
    """The stored readings by liveness; a message retained by the broker is history, not news."""
    if not readings:
        return []
    if not batch.retained and not result.refused and not result.effective:
        return [newest.Segment(readings, live=True)]
    refused = {id(reading) for reading in result.refused}
    by_liveness: dict[bool, list[models.Reading]] = {True: [], False: []}
    for reading, (index, _element) in zip(readings, sources, strict=True):
        if id(reading) not in refused:
            by_liveness[not batch.messages[index].retained].append(result.effective.get(id(reading), reading))
    return [newest.Segment(rows, live) for live, rows in by_liveness.items() if rows]
