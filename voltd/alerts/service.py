"""Rules and alerts as one thing for ``wiring``: the evaluation cycle, the channels, and both read again on SIGHUP."""

from __future__ import annotations

from collections.abc import Sequence

from voltd import config, metrics
from voltd.alerts import channels, deliver
from voltd.database import connections
from voltd.host import host_clock
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load, model
from voltd.rules.cycle import cycle, interfaces


class Alerting:
    """Made at start from the settings.

    Args:
        settings: rules file and channels.
        connect: opens a connection of the writer's role.
        counters: what the channels count.
        daemon: this daemon, as the evaluation cycle asks it.
        excursions: what the writer looks for.
        clock: this host's; None: it is never in doubt.

    Raises:
        ConfigurationError: rules or channels make no sense.
    """

    def __init__(
        self,
        settings: config.Settings,
        connect: connections.Connect,
        counters: metrics.Metrics,
        *,
        daemon: interfaces.ThisDaemon,
        excursions: Excursions,
        clock: host_clock.HostClock | None = None,
    ) -> None:
        rules = _rules(settings)
        self._deliverer = deliver.Deliverer(settings, connect, counters)
        self.cycle = cycle.EvaluationCycle(connect, settings.instance, daemon, self._deliverer, excursions, clock=clock)
        self.cycle.use(rules, self._deliverer.every_channel)

    def start(self) -> None:
        """Starts the channels' threads; the jobs run the evaluation cycle."""
        self._deliverer.start()

    def stop(self, within_s: float) -> None:
        """Ends the threads, waits for them so long at most; what was not sent is in the outbox. May be called again."""
        self._deliverer.stop(within_s)

    def lead(self) -> None:
        """This daemon evaluates the rules and notifies from now on."""
        self.cycle.invalidate()
        self._deliverer.lead(leads=True)

    def follow(self) -> None:
        """Another daemon may do so from now on."""
        self.cycle.invalidate()
        self._deliverer.lead(leads=False)

    def give_over(self) -> None:
        """Another daemon does: this one forgets what it found in offline mode, sent or not."""
        self.cycle.drop_offline()

    def reload(self, settings: config.Settings) -> None:
        """Takes over rules and channels from the files; open episodes continue.

        Raises:
            ConfigurationError: one of them makes no sense; nothing has changed.
        """
        rules = _rules(settings)
        self._deliverer.reload(settings)
        self.cycle.use(rules, self._deliverer.every_channel)


def _rules(settings: config.Settings) -> Sequence[model.Rule]:
    rules = load.load(settings.alerts.rules_file)
    channels.require_rules(settings, [rule.name for rule in rules])
    return rules
