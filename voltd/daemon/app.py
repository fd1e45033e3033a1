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
from voltd.daemon import status, systemd, threads, watchdog, wiring
from voltd.pipeline.consume import clients, consumer

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
    # Readings are tuples without cycles: the search for garbage among them takes a sixth of the time.
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
        self._failure: BaseException | None = None
        self._service_manager = systemd.ServiceManager()
        self._watchdog = watchdog.Watchdog()
        self._threads: dict[str, threading.Thread] = {}
        self._wiring = wiring.Wiring(settings)
        self._signals = self._wiring.signals

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; returns 0.

        Raises:
            SchemaError: the database's schema is not the one this version expects; nothing was taken.
            VoltdError: what ended a thread, for example BrokerRefused or ClientIdTaken.
        """
        wired = self._wiring
        self._signals.listen()
        self._start("presence", wired.presence.run)
        if not (self._wait_for_claim() and self._wait_for_schema()):
            self._leave()
            return 0
        if wired.memory is not None:
            wired.memory.load()
        tune_interpreter()
        self._look_after_threads()
        self._start("current", wired.current.run)
        self._start("flush", wired.flusher.run)
        self._start("network", wired.consumer.run)
        if wired.drain is not None:
            self._start("drain", wired.drain.run)
        if wired.alerting is not None:
            wired.alerting.start()
        wired.jobs.start()
        _log.info("daemon.started", instance=self._settings.instance, client_id=self._settings.client_id)
        self._watch()
        self._shut_down()
        self._leave()
        _log.info("daemon.stopped", **wired.counters.snapshot())
        return 0

    def _leave(self) -> None:
        """Gives up the client id, for others to take. Raises what ended a thread."""
        self._wiring.presence.close()
        self._join("presence", time.monotonic() + _PRESENCE_GETS_S)
        self._service_manager.close()
        if self._failure is not None:
            raise self._failure

    def _wait_for_claim(self) -> bool:
        """True once no other daemon has the client id (it may use the same spool), or the broker is away."""
        while self._wiring.presence.undecided and not self._signals.wait(_REPORT_S):
            self._service_manager.waiting("asking whether another daemon has the client id")
        return not self._signals.stopping

    def _wait_for_schema(self) -> bool:
        """True once readings can be taken; False if the daemon is to stop first.

        They can be once the schema is found current. While the database is away, readings go to the spool; without
        a spool this waits.
        """
        delays = backoff.Backoff(0.5, self._settings.database.retry_max_s)
        self._open_spool()
        while not self._signals.stopping:
            try:
                self._ask_database()
            except errors.StoreUnavailable as error:
                _log.warning("store.unavailable", error=str(error), hint=error.hint, attempt=delays.attempts + 1)
                if self._wiring.spool is not None:
                    self._wiring.outage.store_failed(spool=True)
                    return True
                self._service_manager.waiting("waiting for the database")
                self._signals.wait(delays.next_s())
            else:
                return not self._signals.stopping
        return False

    def _ask_database(self) -> None:
        """Returns if readings can be taken; expects a session if the daemon has run before. Hears signals meanwhile.

        Raises:
            SchemaError, StoreUnavailable: see ``database_ready.DatabaseReady.require``.
        """

        def ask() -> None:
            self._wiring.database_ready.require()
            if self._wiring.current.has_run():
                self._wiring.consumer.expect_session(expected=True)

        asked = threads.DaemonThreads("ask").submit(ask)
        asked.add_done_callback(lambda _asked: self._signals.wake())
        while not (asked.done() or self._signals.wait(_REPORT_S)):
            self._service_manager.waiting("waiting for the database")
        if asked.done():
            asked.result()

    def _open_spool(self) -> None:
        spool = self._wiring.spool
        if spool is None:
            return
        try:
            spool.open()
        except errors.SpoolUnavailable as error:
            _log.error("spool.unavailable", error=str(error), hint=error.hint)
        if spool.messages:
            self._wiring.consumer.expect_session(expected=True)
            _log.warning("spool.found", readings=spool.readings, since=str(spool.oldest_at))

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
        """Until the daemon is to stop: readiness, status, and a watchdog that the threads' own progress feeds."""
        wired, ready, next_report = self._wiring, False, time.monotonic()
        steps = wired.clock.look()
        while not self._signals.wait(0.5 if ready else 0.05):
            if steps != (steps := wired.clock.look()):
                wired.jobs.clock_stepped()
            if self._signals.reload_wanted():
                self._read_settings_again()
            if not ready and wired.consumer.subscribed.is_set():
                ready = True
                self._service_manager.ready("subscribed")
            if not self._signals.report_wanted() and time.monotonic() < next_report:
                continue
            next_report = time.monotonic() + _REPORT_S
            stalled = self._watchdog.look()
            self._report()
            if not ready:
                self._service_manager.waiting("waiting for the broker")
            elif stalled is None:
                self._service_manager.watchdog()

    def _look_after_threads(self) -> None:
        """An answer of the database is progress; a connection gives up a silent database long before the limit."""
        limit_s = self._settings.database.statement_timeout_s * 2 + 60
        watch, wired = self._watchdog.add, self._wiring
        watch(watchdog.Watched("network", lambda: wired.consumer.beat, _NETWORK_STALL_S))
        watch(watchdog.Watched("presence", lambda: wired.presence.beat, _NETWORK_STALL_S))
        watch(watchdog.Watched("flush", lambda: max(wired.flusher.beat, wired.store.heard_at), limit_s))
        watch(watchdog.Watched("current", lambda: max(wired.current.beat, wired.current.heard_at), limit_s))
        if (drain := wired.drain) is not None:
            watch(watchdog.Watched("drain", lambda: max(drain.beat, wired.drain_store.heard_at), limit_s))

    def _shut_down(self) -> None:
        """Stops taking, writes what is in flight, acks, and disconnects but keeps the session."""
        wired = self._wiring
        self._service_manager.stopping()
        _log.info("daemon.stopping", in_flight=wired.window.in_flight)
        ends = time.monotonic() + _STOP_WITHIN_S - 1
        wired.consumer.stop_taking()
        self._threads["jobs"] = wired.jobs.stop()
        if wired.alerting is not None:
            wired.alerting.stop(0.0)
        if wired.drain is not None:
            wired.drain.stop()
        wired.flusher.stop(_STORE_GETS_S)
        self._join("flush", ends - 1.5)
        if wired.memory is not None and not self._threads["flush"].is_alive():
            wired.memory.save(stopped=True)
        if wired.spool is not None:
            self._join("drain", ends - 1.25)
            if not self._threads["drain"].is_alive() and not self._threads["flush"].is_alive():
                wired.spool.close()
        wired.current.stop()
        self._join("current", ends - 0.75)
        wired.consumer.close()
        self._join("network", ends)
        if not self._threads["flush"].is_alive():
            wired.store.close()
        if wired.drain is not None and not self._threads["drain"].is_alive():
            wired.drain_store.close()
        ends = min(ends, time.monotonic() + _OTHERS_GET_S)
        self._join("jobs", ends)
        if wired.alerting is not None:
            wired.alerting.stop(ends - time.monotonic())

    def _join(self, name: str, until: float) -> None:
        thread = self._threads[name]
        thread.join(max(0.1, until - time.monotonic()))
        if thread.is_alive():
            _log.warning("thread.left_behind", thread=name)

    def _report(self) -> None:
        """Publishes the status: every few seconds, and after each subscribe, as the last will may have replaced it."""
        wired, counters = self._wiring, self._wiring.counters
        if wired.spool is not None:
            counters.readings_spooled, counters.spool_bytes = wired.spool.readings, wired.spool.bytes
            counters.dropped_total = wired.spool.dropped
        if wired.alerting is not None:
            cycle = wired.alerting.cycle
            counters.alerts_open, doubts = cycle.firing, cycle.units_in_doubt
            counters.units_in_doubt, counters.unit_in_doubt = len(doubts), next(iter(doubts), "")
        counters.clock = wired.clock.describe()
        built = wired.reporter.build()
        topic = clients.status_topic(self._settings.instance)
        wired.consumer.publish(consumer.Outgoing(topic, json.dumps(built).encode(), qos=0, retain=True))
        self._service_manager.status(status.line(built))

    def _read_settings_again(self) -> None:
        """SIGHUP: takes log level, rules and channels over; a broken file changes nothing."""
        wired = self._wiring
        try:
            fresh = loading.load(self._config_path)
            if wired.alerting is not None:
                wired.alerting.reload(fresh)
        except errors.ConfigurationError as error:
            _log.error("settings.refused", error=str(error), hint=error.hint)
            return
        log.configure(fresh.log.level, fresh.log.format)
        if wired.counters.halted or wired.counters.clock_hold:
            wired.flusher.resume()
        _log.info("settings.reloaded", level=fresh.log.level)
