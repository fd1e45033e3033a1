"""The wiring of a daemon: its objects, made once and handed to what needs them.

The first half of the composition root: here is who knows whom. ``app`` starts, watches and stops what is made here.
Opens nothing and starts no thread.
"""

from __future__ import annotations

from collections.abc import Callable

from voltd import config, metrics
from voltd.alerts import service
from voltd.daemon import health, heartbeats, host_clock, jobs, status
from voltd.database import session
from voltd.pipeline.consume import consumer, presence, window
from voltd.pipeline.current import live
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import clock as decode_clock
from voltd.pipeline.decode import decoder
from voltd.pipeline.flush import flusher
from voltd.pipeline.spool import drain
from voltd.pipeline.spool import file as spool
from voltd.pipeline.write import bounds as write_bounds
from voltd.pipeline.write import excursions as write_excursions
from voltd.pipeline.write import refused as write_refused
from voltd.pipeline.write import store


class Wiring:
    """What a daemon consists of.

    Args:
        settings: checked settings.
        clock: this host's; None: one of its own.
        on_subscribed: called by the network's thread after each subscribe.
        on_claim: called when more is known of who has the client id.
        require_schema: raises where readings cannot be stored; asked before the spool is written to the database.
    """

    def __init__(
        self,
        settings: config.Settings,
        *,
        clock: host_clock.HostClock | None = None,
        on_subscribed: Callable[[], None],
        on_claim: Callable[[], None] = lambda: None,
        require_schema: Callable[[], None],
    ) -> None:
        self._settings = settings
        self.counters = metrics.Metrics()
        self.clock = clock or host_clock.HostClock()
        connect = session.connector(settings)
        self.window = window.Window(settings.limits.max_held_bytes, settings.mqtt.receive_maximum)
        self.presence = presence.Presence(
            settings,
            in_use=lambda: self.consumer.subscribed.is_set(),  # noqa: PLW0108 made below
            on_news=on_claim,
            heartbeat=heartbeats.Heartbeats(settings).living,
        )
        self.consumer = consumer.Consumer(
            settings,
            self.window,
            self.counters,
            on_subscribed=on_subscribed,
            come=self.presence.come,
            contested=self.presence.doubt,
        )
        excursions = write_excursions.Excursions()
        bounds = write_bounds.Bounds(excursions)
        self.store = store.PostgresStore(
            connect, settings.client_id, excursions=excursions, bounds=bounds, refused=self._refused()
        )
        publisher = live.LivePublisher(self.consumer.publish, settings.live.max_per_second, settings.current_interval_s)
        self.spool = (
            spool.Spool(settings.spool_file, settings.spool.max_bytes, settings.spool.min_free_bytes)
            if settings.spool.enabled
            else None
        )
        watch = health.Health(
            self.counters,
            self.consumer.subscribed,
            lambda: self.spool is not None and self.spool.in_use,
            settings.mqtt.receive_maximum,
            clock_trouble=self.clock.trouble,
        )
        self.current = write_current.CurrentState(
            connect,
            settings.instance,
            settings.current_interval_s,
            publisher if settings.live.enabled else None,
            spooled_since=lambda: self.spool.oldest_at if self.spool is not None else None,
            well_since=watch.well_since,
        )
        self.flusher = flusher.Flusher(
            self.window,
            self._decoder(),
            self.store,
            settings,
            self.counters,
            ack=self.consumer.ack,
            committed=self.current.note,
            spool=self.spool,
            clock_guard=self._clock_guard(),
        )
        self.drain_store = store.PostgresStore(
            connect, settings.client_id, excursions=excursions, bounds=bounds, refused=self._refused(), part="spool"
        )
        self.drain = (
            None
            if self.spool is None
            else drain.Drain(
                self.spool,
                self._decoder(),
                self.drain_store,
                settings,
                self.counters,
                ready=require_schema,
                committed=self.current.note,
                clock_guard=self._clock_guard(),
            )
        )
        self.reporter = status.Reporter(settings, self.counters)
        self.alerting = (
            service.Alerting(settings, connect, daemon=watch, excursions=excursions, clock=self.clock)
            if settings.alerts.enabled
            else None
        )
        self.jobs = jobs.Jobs(
            settings,
            set_fleets=publisher.set_fleets,
            look=watch.look,
            alerting=self.alerting,
            bounds=bounds,
            busy=watch.busy,
            trouble=watch.trouble,
            clock=self.clock,
        )

    def _decoder(self) -> decoder.Decoder:
        return decoder.Decoder(
            self._settings.mqtt.topics, self._settings.limits, self._settings.max_age_days, self._settings.timestamps
        )

    def _refused(self) -> write_refused.Refused:
        return write_refused.Refused(self._settings.mqtt.topics)

    def _clock_guard(self) -> decode_clock.ClockGuard:
        settings = self._settings
        return decode_clock.ClockGuard(
            settings.mqtt.topics, settings.limits, settings.max_age_days, self.clock, settings.timestamps
        )
