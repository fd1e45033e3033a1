"""The demo's output: a live table on a terminal, plain lines on a pipe."""

from __future__ import annotations

import time
from typing import Protocol, Self

import rich.box
import rich.console
import rich.live
import rich.table
import rich.text

from voltd.demo import facts
from voltd.simulate.publish.publication import Tally

_PLAIN_EVERY_S = 5.0


class View(Protocol):
    """Shows the state about once a second."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, elapsed_s: float, published: Tally, known: facts.Facts) -> None:
        """Shows the figures of now."""


def make(headline: str, psql: str) -> View:
    """The view for stdout: a table on a terminal, else lines."""
    console = rich.console.Console()
    return TerminalView(console, headline, psql) if console.is_terminal else PlainView()


class PlainView:
    """A line every five seconds."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def show(self, elapsed_s: float, published: Tally, known: facts.Facts) -> None:
        """See ``View``."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _PLAIN_EVERY_S
        counts, status = known.counts(), known.status
        print(
            f"{elapsed_s:4.0f} s  published {published.readings:>8}  stored {counts.vehicle + counts.meter:>8}"
            f" ({status.get('readings_per_s', 0):.0f}/s)  dead letters {counts.dead_letters:>4}"
            f"  in flight {status.get('in_flight', 0):>5}  lag {status.get('lag_s', 0) * 1000:.0f} ms"
            f"  alerts open {status.get('alerts_open', 0)}",
            flush=True,
        )


class TerminalView:
    """A table that is redrawn in place."""

    def __init__(self, console: rich.console.Console, headline: str, psql: str) -> None:
        self._live = rich.live.Live(console=console, auto_refresh=False)
        self._headline = headline
        self._psql = psql

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, elapsed_s: float, published: Tally, known: facts.Facts) -> None:
        """See ``View``."""
        self._live.update(
            rich.console.Group(
                rich.text.Text(f"{self._headline}   {elapsed_s:.0f} s   Ctrl-C ends it", style="bold"),
                _flow(published, known),
                _chargers(known),
                _lines(known),
                rich.text.Text(f"Look at the data:  {self._psql}", style="cyan", overflow="fold"),
            ),
            refresh=True,
        )


def _flow(published: Tally, known: facts.Facts) -> rich.table.Table:
    counts, status = known.counts(), known.status
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for name in ("published", "stored", "duplicates", "dead letters", "readings/s", "window", "lag", "p99"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{published.readings:,}",
        f"{counts.vehicle + counts.meter:,}",
        f"{published.duplicates:,}",
        f"{counts.dead_letters:,}",
        f"{status.get('readings_per_s', 0):,.0f}",
        f"{status.get('in_flight', 0):,} of {status.get('receive_maximum', 0):,}",
        f"{status.get('lag_s', 0) * 1000:.0f} ms",
        f"{status.get('latency_p99_ms', 0):.0f} ms",
    )
    return table


def _chargers(known: facts.Facts) -> rich.table.Table:
    table = rich.table.Table(title="Charging now: figures of the last hour", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for name in ("meter", "vehicle", "since (UTC)"):
        table.add_column(name)
    for name in ("DC kWh", "AC kWh", "efficiency", "quality"):
        table.add_column(name, justify="right")
    for meter, vehicle, since, dc_kwh, ac_kwh, efficiency_pct, quality in known.charging_now():
        share = _figure(efficiency_pct, ".1f", " %")
        table.add_row(
            meter, vehicle, f"{since:%m-%d %H:%M}", _figure(dc_kwh, ".2f"), _figure(ac_kwh, ".2f"), share, quality
        )
    return table


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _lines(known: facts.Facts) -> rich.text.Text:
    reasons = ", ".join(f"{count} {reason}" for reason, count in known.dead_letter_reasons())
    alerts = "\n  ".join(["; ".join(known.alerts()) or "none", *known.newest_alerts()])
    return rich.text.Text(f"Alerts: {alerts}\nDead letters: {reasons or 'none'}")
