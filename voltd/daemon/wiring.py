"""The wiring of a daemon: its objects, made once and handed to what needs them.

The first half of the composition root: here is who knows whom. ``app`` starts, watches and stops what is made here.
Opens nothing and starts no thread.
"""

from __future__ import annotations

from voltd import config, metrics
from voltd.alerts import service
from voltd.daemon import database_ready, health, heartbeats, jobs, memory_file, policy_watch, signals, status
from voltd.database import connections
from voltd.host import host_clock
from voltd.pipeline.consume import consumer, pseudonyms, window
from voltd.pipeline.consume.client_id import presence
from voltd.pipeline.current import live, state
from voltd.pipeline.decode import clock, decoder
from voltd.pipeline.decode.devices import families
from voltd.pipeline.flush import flusher, outage, policy
from voltd.pipeline.spool import drain, file
from voltd.pipeline.write import bounds, excursions, refused, store


class Wiring:
    """What a daemon consists of.

    Args:
        settings: checked settings.
    """

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._pseudonyms = pseudonyms.of(settings)
        self._enabled = families.enabled(settings)
        self._families = self._compiled()
        self.signals = signals.Signals()
        self.counters = metrics.Metrics()
        self.clock = host_clock.HostClock()
        self.database_ready = database_ready.DatabaseReady(settings, self.clock)
        self.outage = outage.Outage(self.counters)
        connect = connections.connector(settings)
        self.window = window.Window(settings.limits.max_held_bytes, settings.mqtt.receive_maximum)
        self.presence = presence.Presence(
            settings,
            in_use=lambda: self.consumer.subscribed.is_set(),  # noqa: PLW0108 made below
            on_change=self.signals.wake,
            heartbeat=heartbeats.Heartbeats(settings).living,
        )
        self.consumer = consumer.Consumer(
            settings,
            self.window,
            self.counters,
            on_subscribed=self.signals.subscribed,
            may_connect=self.presence.may_connect,
            contested=self.presence.recheck,
            filters=self._families.filters,
            renamed=self._pseudonyms,
        )
        noted = excursions.Excursions()
        ranges = bounds.Bounds(noted)
        self.store, self.drain_store = (
            store.PostgresStore(
                connect,
                settings.client_id,
                excursions=noted,
                bounds=ranges,
                refused=refused.Refused(settings.mqtt.topics, self._families),
                renamed=self._pseudonyms,
                part=part,
            )
            for part in ("stream", "spool")
        )
        publisher = live.LivePublisher(self.consumer.publish, settings.live.max_per_second, settings.current_interval_s)
        self.spool = (
            file.SpoolFile(settings.spool_file, settings.spool.max_bytes, settings.spool.min_free_bytes)
            if settings.spool.enabled
            else None
        )
        watch = health.Health(
            self.counters,
            self.consumer.subscribed,
            lambda: self.outage.spooling,
            settings.mqtt.receive_maximum,
            clock_trouble=self.clock.trouble,
        )
        self.current = state.CurrentState(
            connect,
            settings.instance,
            settings.current_interval_s,
            publisher if settings.live.enabled else None,
            spooled_since=lambda: self.spool.oldest_at if self.spool is not None else None,
            well_since=watch.well_since,
        )
        batches = policy.of(settings)
        heard = self._compiled(self._ask)
        self.memory = memory_file.MemoryFile(settings.memory_file, heard) if heard.has_memory else None
        self.flusher = flusher.Flusher(
            self.window,
            self._decoder(heard),
            self.store,
            batches,
            self.counters,
            outage=self.outage,
            ack=self.consumer.ack,
            committed=self.current.note,
            spool=self.spool,
            clock_guard=self._clock_guard(),
        )
        self.drain = (
            None
            if self.spool is None
            else drain.Drain(
                self.spool,
                self._decoder(self._compiled()),
                self.drain_store,
                batches,
                self.counters,
                outage=self.outage,
                ready=self.database_ready.require,
                committed=self.current.note,
                clock_guard=self._clock_guard(),
                renamed=self._pseudonyms,
            )
        )
        self.reporter = status.Reporter(settings, self.counters, heard.silent)
        self.alerting = (
            service.Alerting(settings, connect, self.counters, daemon=watch, excursions=noted, clock=self.clock)
            if settings.alerts.enabled
            else None
        )
        self.jobs = jobs.Jobs(
            settings,
            set_fleets=publisher.set_fleets,
            look=watch.look,
            alerting=self.alerting,
            bounds=ranges,
            busy=watch.busy,
            trouble=watch.trouble,
            clock=self.clock,
            renamed=self._pseudonyms,
            policies=policy_watch.PolicyWatch(settings, self.counters),
            save_memory=self.memory.save if self.memory is not None else None,
        )

    def _ask(self, topic: str, payload: bytes) -> None:
        self.consumer.publish(consumer.Outgoing(topic, payload))

    def _compiled(self, ask: families.Ask | None = None) -> families.Families:
        """Readers that know what a device said before: each decoder is another thread's, so it has its own ones."""
        return families.Families(self._enabled, self._settings.limits, self._settings.timestamps, ask)

    def _decoder(self, compiled: families.Families) -> decoder.Decoder:
        settings = self._settings
        return decoder.Decoder(
            settings.mqtt.topics, settings.limits, settings.max_age_days, settings.timestamps, compiled
        )

    def _clock_guard(self) -> clock.ClockGuard:
        settings = self._settings
        return clock.ClockGuard(
            settings.mqtt.topics,
            settings.limits,
            settings.max_age_days,
            self.clock,
            settings.timestamps,
            others=self._compiled(),
        )
