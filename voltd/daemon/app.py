"""The composition root of ``voltd run``: open, start named threads, watch them, stop in order.

``wiring`` makes what there is. The main thread only watches: a thread that dies or stalls ends the daemon, so that
systemd starts it again; what was not acked the broker sends again.
"""

from __future__ import annotations

import gc
import json
import pathlib
import sys
import threading
import time
from collections.abc import Callable

import structlog

from voltd import backoff, config, errors, log
from voltd.config import loading
from voltd.daemon import database_ready, host_clock, signals, status, systemd, watchdog, wiring
from voltd.pipeline.consume import client, consumer

_log = structlog.get_logger()

_STOP_WITHIN_S = 10.0  # of which the store gets
_STORE_GETS_S = 6.0
_NETWORK_STALL_S = 30.0
_REPORT_S = 2.0
_OTHERS_GET_S = 2.0  # after that, jobs and channels
_PRESENCE_GETS_S = 1.0
_SWITCH_S = 0.0002


def tune_interpreter() -> None:
    """Sets Python up for many short-lived tuples and a few threads that wait for answers."""
    # Readings are tuples without cycles: looking through them again and again for garbage is a sixth of the time.
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    # A thread that folds states or decodes yields to one that has an answer from broker or database to read.
    sys.setswitchinterval(_SWITCH_S)


class Daemon:
    """One running daemon.

    Args:
        settings: checked settings.
        config_path: read again on SIGHUP for the log level; None keeps it.
    """

    def __init__(self, settings: config.Settings, config_path: pathlib.Path | None = None) -> None:
        self._settings = settings
        self._config_path = config_path
        self._signals = signals.Signals()
        self._failure: BaseException | None = None
        self._notifier = systemd.Notifier()
        self._watchdog = watchdog.Watchdog()
        self._threads: dict[str, threading.Thread] = {}

        self._clock = host_clock.HostClock()
        self._database_ready = database_ready.DatabaseReady(settings, self._clock)
        made = wiring.Wiring(
            settings,
            clock=self._clock,
            on_subscribed=self._report,
            on_claim=self._signals.wake,
            require_schema=self._database_ready.require,
        )
        self.counters = made.counters
        self._window, self._consumer, self._presence = made.window, made.consumer, made.presence
        self._store, self._flusher, self._current = made.store, made.flusher, made.current
        self._spool, self._drain, self._drain_store = made.spool, made.drain, made.drain_store
        self._reporter, self._alerting, self._jobs = made.reporter, made.alerting, made.jobs

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; returns 0.

        Raises:
            SchemaError: the database's schema is not the one this version expects; nothing was taken.
            VoltdError: what ended a thread, for example BrokerRefused or ClientIdTaken.
        """
        self._signals.listen()
        self._start("presence", self._presence.run)
        if not (self._wait_for_claim() and self._wait_for_schema()):
            self._leave()
            return 0
        tune_interpreter()
        self._look_after_threads()
        self._start("current", self._current.run)
        self._start("flush", self._flusher.run)
        self._start("network", self._consumer.run)
        if self._drain is not None:
            self._start("drain", self._drain.run)
        if self._alerting is not None:
            self._alerting.start()
        self._jobs.start()
        _log.info("daemon.started", instance=self._settings.instance, client_id=self._settings.client_id)
        self._watch()
        self._shut_down()
        self._leave()
        _log.info("daemon.stopped", **self.counters.snapshot())
        return 0

    def _leave(self) -> None:
        """The last of it: others may have the client id now. Raises what ended a thread."""
        self._presence.close()
        self._join("presence", time.monotonic() + _PRESENCE_GETS_S)
        self._notifier.close()
        if self._failure is not None:
            raise self._failure

    def _wait_for_claim(self) -> bool:
        """True once nobody else has the client id, which may go with the same spool, or the broker is away."""
        while self._presence.undecided and not self._signals.wait(_REPORT_S):
            self._notifier.waiting("asking whether another daemon has the client id")
        return not self._signals.stopping

    def _wait_for_schema(self) -> bool:
        """True once readings can be taken; False when told to stop.

        That is when the schema is found current. While the database is away, readings go to the spool, or, without
        one, this waits.
        """
        delays = backoff.Backoff(0.5, self._settings.database.retry_max_s)
        self._open_spool()
        while not self._signals.stopping:
            try:
                self._ask_database()
            except errors.StoreUnavailable as error:
                _log.warning("store.unavailable", error=str(error), hint=error.hint, attempt=delays.attempts + 1)
                if self._spool is not None:
                    self._spool.in_use = True
                    self.counters.store_available = False
                    return True
                self._notifier.waiting("waiting for the database")
                self._signals.wait(delays.next_s())
            else:
                return not self._signals.stopping
        return False

    def _ask_database(self) -> None:
        """Whether readings can be taken and the broker should know us; hears signals while it waits for the answers.

        Raises:
            SchemaError, StoreUnavailable: see ``database_ready.DatabaseReady.require``.
        """

        def ask() -> None:
            self._database_ready.require()
            if self._current.has_run():
                self._consumer.expect_session(expected=True)

        asked = database_ready.Asked(ask, self._signals.wake)
        while asked.waiting and not self._signals.wait(_REPORT_S):
            self._notifier.waiting("waiting for the database")
        asked.raise_error()

    def _open_spool(self) -> None:
        if self._spool is None:
            return
        try:
            self._spool.open()
        except errors.SpoolUnavailable as error:
            _log.error("spool.unavailable", error=str(error), hint=error.hint)
        if self._spool.messages:
            self._consumer.expect_session(expected=True)
            _log.warning("spool.found", readings=self._spool.readings, since=str(self._spool.oldest_at))

    def _start(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except BaseException as error:  # noqa: BLE001 whatever ended the thread ends the daemon
                self._failure = self._failure or error
                if not isinstance(error, errors.VoltdError):
                    _log.exception("thread.died", thread=name)
            finally:
                self._signals.stop()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _watch(self) -> None:
        """Until told to stop: readiness, status line, and the watchdog fed by the threads' own progress."""
        ready = False
        next_report = time.monotonic()
        steps = self._clock.look()
        while not self._signals.wait(0.5 if ready else 0.05):
            if steps != (steps := self._clock.look()):
                self._jobs.clock_stepped()
            if self._signals.reload_wanted():
                self._read_settings_again()
            if not ready and self._consumer.subscribed.is_set():
                ready = True
                self._notifier.ready("subscribed")
            if time.monotonic() < next_report:
                continue
            next_report = time.monotonic() + _REPORT_S
            stalled = self._watchdog.look()
            self._report()
            if not ready:
                self._notifier.waiting("waiting for the broker")
            elif stalled is None:
                self._notifier.watchdog()

    def _look_after_threads(self) -> None:
        """An answer of the database is progress; one that never comes is given up by its connection, long before."""
        limit_s = self._settings.database.statement_timeout_s * 2 + 60
        watch = self._watchdog.add
        watch(watchdog.Watched("network", lambda: self._consumer.beat, _NETWORK_STALL_S))
        watch(watchdog.Watched("presence", lambda: self._presence.beat, _NETWORK_STALL_S))
        watch(watchdog.Watched("flush", lambda: max(self._flusher.beat, self._store.heard_at), limit_s))
        watch(watchdog.Watched("current", lambda: max(self._current.beat, self._current.heard_at), limit_s))
        if self._drain is not None:
            drain = self._drain
            watch(watchdog.Watched("drain", lambda: max(drain.beat, self._drain_store.heard_at), limit_s))

    def _shut_down(self) -> None:
        """Stop taking, write what is held, ack, disconnect keeping the session."""
        self._notifier.stopping()
        _log.info("daemon.stopping", in_flight=self._window.held)
        ends = time.monotonic() + _STOP_WITHIN_S - 1
        self._consumer.stop_taking()
        self._threads["jobs"] = self._jobs.stop()
        if self._alerting is not None:
            self._alerting.stop(0.0)
        if self._drain is not None:
            self._drain.stop()
        self._flusher.stop(_STORE_GETS_S)
        self._join("flush", ends - 1.5)
        if self._spool is not None:
            self._join("drain", ends - 1.25)
            if not self._threads["drain"].is_alive() and not self._threads["flush"].is_alive():
                self._spool.close()
        self._current.stop()
        self._join("current", ends - 0.75)
        self._consumer.close()
        self._join("network", ends)
        if not self._threads["flush"].is_alive():
            self._store.close()
        if self._drain is not None and not self._threads["drain"].is_alive():
            self._drain_store.close()
        ends = min(ends, time.monotonic() + _OTHERS_GET_S)
        self._join("jobs", ends)
        if self._alerting is not None:
            self._alerting.stop(ends - time.monotonic())

    def _join(self, name: str, until: float) -> None:
        thread = self._threads[name]
        thread.join(max(0.1, until - time.monotonic()))
        if thread.is_alive():
            _log.warning("thread.left_behind", thread=name)

    def _report(self) -> None:
        """Publishes the status: every few seconds, and after each subscribe, as the last will may have spoken."""
        if self._spool is not None:
            self.counters.readings_spooled, self.counters.spool_bytes = self._spool.readings, self._spool.bytes
            self.counters.dropped_total = self._spool.dropped
        if self._alerting is not None:
            self.counters.alerts_open = self._alerting.check.firing
        self.counters.clock = self._clock.describe()
        built = self._reporter.build()
        topic = client.status_topic(self._settings.instance)
        self._consumer.publish(consumer.Outgoing(topic, json.dumps(built).encode(), qos=0, retain=True))
        self._notifier.status(status.line(built))

    def _read_settings_again(self) -> None:
        """SIGHUP: takes log level, rules and channels over; a broken file changes nothing."""
        try:
            fresh = loading.load(self._config_path)
            if self._alerting is not None:
                self._alerting.reload(fresh)
        except errors.ConfigurationError as error:
            _log.error("settings.refused", error=str(error), hint=error.hint)
            return
        log.configure(fresh.log.level, fresh.log.format)
        if self.counters.halted or self.counters.clock_hold:
            self._flusher.resume()
        _log.info("settings.reloaded", level=fresh.log.level)
