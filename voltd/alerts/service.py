"""Rules and alerts as one thing for the composition root: the check, the delivery, and both read again on SIGHUP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from voltd import config
from voltd.alerts import channels, deliver
from voltd.daemon import health, host_clock
from voltd.database import session
from voltd.pipeline.write import excursions as write_excursions
from voltd.rules import load, model
from voltd.rules.cycle import check


class Alerting:
    """Made at start from the settings.

    Args:
        settings: rules file and channels.
        connect: opens a connection of the writer's role.
        look: how this daemon is.
        excursions: what the writer looks for.
        busy: whether the ingest needs the machine.
        trouble: what keeps this daemon from taking messages, for people; empty: nothing it knows of.
        clock: this host's; None: it is never in doubt.

    Raises:
        ConfigurationError: rules or channels make no sense.
    """

    def __init__(
        self,
        settings: config.Settings,
        connect: session.Connect,
        *,
        look: Callable[[], health.Report],
        excursions: write_excursions.Excursions,
        busy: Callable[[], bool],
        trouble: Callable[[], str] = lambda: "",
        clock: host_clock.HostClock | None = None,
    ) -> None:
        rules = _rules(settings)
        self._deliverer = deliver.Deliverer(settings, connect)
        self.counters = self._deliverer.counters
        self.check = check.Check(
            connect,
            settings.instance,
            look=look,
            excursions=excursions,
            wake=self._deliverer.wake,
            tell=self._deliverer.send_now,
            told_at=self._deliverer.told_at,
            withdraw=self._deliverer.withdraw,
            busy=busy,
            trouble=trouble,
            clock=clock,
        )
        self.check.use(rules, self._deliverer.every_channel)

    def start(self) -> None:
        """Starts the channels' threads; the check is run by the jobs."""
        self._deliverer.start()

    def stop(self, within_s: float) -> None:
        """Ends them, waiting so long for it; what was not told is in the outbox. May be called again."""
        self._deliverer.stop(within_s)

    def lead(self) -> None:
        """This daemon is the one that checks and tells."""
        self.check.rest()
        self._deliverer.lead(leads=True)

    def follow(self) -> None:
        """Another one may be."""
        self.check.rest()
        self._deliverer.lead(leads=False)

    def give_over(self) -> None:
        """Another one does: what this one told from memory, and had not told yet, is not its any more."""
        self.check.give_over()

    def reload(self, settings: config.Settings) -> None:
        """Rules and channels as they are in the files now; open episodes go on.

        Raises:
            ConfigurationError: one of them makes no sense; all stays as it was.
        """
        rules = _rules(settings)
        self._deliverer.reload(settings)
        self.check.use(rules, self._deliverer.every_channel)


def _rules(settings: config.Settings) -> Sequence[model.Rule]:
    rules = load.load(settings.alerts.rules_file)
    channels.require_rules(settings, [rule.name for rule in rules])
    return rules
