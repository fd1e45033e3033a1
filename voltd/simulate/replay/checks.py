"""Checks a recording before it is published: which fields voltd would ignore, which readings refuse, and what to do.

``voltd replay`` checks the whole recording first, or each row as it passes when a pipe can be read only once. The
daemon's own decoder decides with the current settings what can be stored. This module recognises likely mistakes:
another name, a decimal comma, NA, a time without offset. It reports each kind once, with the first line and the number
of rows. No I/O; must not publish.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from voltd import config, models, terminal
from voltd.pipeline.decode import decoder
from voltd.simulate.replay import cells, fields, recording, span
from voltd.simulate.replay.plan import ReplayOptions, ReplayPlan
from voltd.simulate.replay.run import topic_of

MOST_KINDS = 60  # bounds memory and output
MOST_NAMES = 15  # a file with a thousand unknown columns must not fill the screen
MOST_OUTLIERS = 5
MOST_SHOWN = 60  # characters of a cell
OVERDUE_S = 60.0  # a row that is out of order by less is not reported
_MOST_LATER_S = 36_500 * 86_400.0
_PIECE_ROWS = 500
_WORDS = fields.TEXTS - set(fields.TIME_KEYS)


@dataclasses.dataclass(slots=True)
class Finding:
    """One kind of problem in the recording."""

    line: int
    text: str
    rows: int = 1

    def __str__(self) -> str:
        """Line, text and number of rows."""
        more = f" ({self.rows} rows)" if self.rows > 1 else ""
        return f"{self.line}: {self.text}{more}"


class Checks:
    """Checks one row after the other.

    Attributes:
        findings: by kind. more: whether there were more kinds than are recorded.
        readings: checked readings. refused: those of them that voltd would not store at all.

    Args:
        settings: of the daemon that is expected to store the readings: topics and limits.
        options: how the recording is replayed.
        plan: made of them.
        now: when publishing begins, aware.
    """

    def __init__(self, settings: config.Settings, options: ReplayOptions, plan: ReplayPlan, now: dt.datetime) -> None:
        self._decoder = decoder.Decoder(
            settings.mqtt.topics, settings.limits, settings.max_age_days, settings.timestamps
        )
        self._options = options
        self._plan = plan
        self._now = now
        self._shift = dt.timedelta(seconds=plan.shift_s)
        self._waiting: list[tuple[recording.RecordedRow, dt.datetime, str]] = []
        self._names_found = 0
        self._latest_s: float | None = None
        self.findings: dict[tuple[str, ...], Finding] = {}
        self.readings = 0
        self.refused = 0
        self.more = len(plan.outliers) > MOST_OUTLIERS
        for outlier in sorted(plan.outliers, key=lambda outlier: outlier.line)[:MOST_OUTLIERS]:
            self._outlier(outlier)

    def fault(self, fault: recording.Fault) -> None:
        """Records a line that is no reading."""
        self._find(("fault", fault.kind), fault.line, f"not published: {fault.why}")

    def row(self, row: recording.RecordedRow, *, published_at: dt.datetime | None = None) -> None:
        """Checks a reading; with ``published_at`` at once, else ``finish`` checks the remaining ones."""
        self.readings += 1
        self._names(row)
        self._cells(row)
        self._order(row)
        self._waiting.append((row, published_at or self._published_at(), row.text(self._shift)))
        if published_at or len(self._waiting) >= _PIECE_ROWS:
            self.finish()

    def finish(self) -> None:
        """Checks the readings that are waiting."""
        rows, self._waiting = self._waiting, []
        batch = self._decoder.decode([
            models.Message(topic_of(row), text.encode(), number, at)
            for number, (row, at, text) in enumerate(rows)
        ])  # fmt: skip
        taken = {index for index, _ in (*batch.vehicle_sources, *batch.meter_sources)}
        refused: dict[int, list[models.DeadLetter]] = {}
        for letter in batch.dead_letters:
            refused.setdefault(letter.message.packet_id, []).append(letter)
        for number, (row, _, _) in enumerate(rows):
            letters = refused.get(number, [])
            self.refused += bool(letters) and number not in taken
            self._time(row, {letter.reason for letter in letters})
            for letter in letters:
                self._letter(row, letter)

    def _find(self, key: tuple[str, ...], line: int, text: str, rows: int = 1) -> None:
        finding = self.findings.get(key)
        if finding is not None:
            finding.rows += rows
        elif len(self.findings) < MOST_KINDS:
            self.findings[key] = Finding(line, terminal.printable(text), rows)
        else:
            self.more = True

    def _names(self, row: recording.RecordedRow) -> None:
        known = fields.of(is_vehicle=row.is_vehicle)
        own = "vehicleId" if row.is_vehicle else "meterId"
        further = False
        for name in row.values:
            if name not in known and name != own and name not in fields.TIME_KEYS:
                key = ("unknown", name, own)
                if key not in self.findings:
                    if self._names_found >= MOST_NAMES:
                        further = True
                        continue
                    self._names_found += 1
                why = fields.explain(name, is_vehicle=row.is_vehicle)
                self._find(key, row.line, f"{name[:MOST_SHOWN]} {why}")
        if further:
            self._find(("further",), row.line, "further names are no fields of a reading, and are ignored")

    def _cells(self, row: recording.RecordedRow) -> None:
        for name, text in row.values.items():
            if text[:1] != '"' and text != "NaN":
                continue
            cell = text.strip('"')
            if name in fields.NUMBERS:
                if cells.says_na(cell):
                    self._na(row, name, cell)
                elif cells.has_decimal_comma(cell):
                    self._find(
                        ("comma", name), row.line,
                        f"{name}: {cell[:MOST_SHOWN]} has a decimal comma and is no number for voltd: "
                        "--decimal-comma reads it as one",
                    )  # fmt: skip
            elif name in _WORDS and cells.says_na(cell, is_text=True):
                self._na(row, name, cell)

    def _na(self, row: recording.RecordedRow, name: str, cell: str) -> None:
        what = "is no value"
        if name in fields.IDS:
            what = "would be taken for a device's id"
        elif name in _WORDS:
            what = "would be taken for a word"
        self._find(("na", name), row.line, f"{name}: {cell} {what}: --skip-na leaves such cells out")

    def _order(self, row: recording.RecordedRow) -> None:
        at_s = row.at_s
        if not self._options.speed or at_s is None or self._plan.odd(at_s):
            return
        if self._latest_s is not None and at_s < self._latest_s - OVERDUE_S:
            self._find(
                ("order",), row.line,
                f"{span.time_of(at_s)} is earlier than a row before it ({span.time_of(self._latest_s)}): "
                "it is overdue and published at once; sort the rows by time",
            )  # fmt: skip
        self._latest_s = max(self._latest_s or at_s, at_s)

    def _published_at(self) -> dt.datetime:
        plan, latest_s = self._plan, self._latest_s
        if not self._options.speed or plan.first_s is None or latest_s is None:
            return self._now
        later_s = min(max(0.0, (latest_s - plan.first_s) / self._options.speed), _MOST_LATER_S)
        return self._now + dt.timedelta(seconds=later_s)

    def _outlier(self, outlier: span.Outlier) -> None:
        plan = self._plan
        assert plan.first_s is not None  # noqa: S101 there are no outliers without a span
        assert plan.last_s is not None  # noqa: S101
        self._find(
            ("outlier", str(outlier.line)), outlier.line,
            f"{span.time_of(outlier.at_s)} is far from all others ({span.time_of(plan.first_s)} to "
            f"{span.time_of(plan.last_s)}), a clock that was wrong: nothing is shifted by it or waits for it",
            outlier.rows,
        )  # fmt: skip

    def _time(self, row: recording.RecordedRow, reasons: set[models.Reason]) -> None:
        """Checks how the time is written; the decoder checks its limits."""
        time = row.time
        written = _shown(row.values.get(time.key, ""))
        if not time.key:
            present = next((name for name in row.values if fields.near(name) in fields.TIME_KEYS), None)
            found = f", found {present[:MOST_SHOWN]}: rename it to timestamp" if present else ""
            self._find(("no time",), row.line, f"no timestamp{found}; voltd refuses a reading without one")
        elif time.at is None:
            text = f"{time.key}: {written} is no time that voltd reads: write it like 2026-05-01T12:00:00Z"
            self._find(("time",), row.line, text)
        elif time.naive and self._options.zone is None:
            if self._options.moves:
                fate = "counted as UTC and moved with the others; --zone says which clock it was"
            elif models.Reason.BAD_TIME in reasons:
                fate = "voltd refuses it (bad_time): --zone gives such times one, as in --zone Europe/Berlin"
            else:
                fate = "it counts in the zone that the daemon's settings name for its topic; --zone is certain"
            self._find(("naive",), row.line, f"{time.key}: {written} has no offset: {fate}")
        elif cells.is_ambiguous(time):
            self._find(
                ("twice",), row.line, f"{time.key}: {written} came twice, as the clock was set back: the first is taken"
            )

    def _letter(self, row: recording.RecordedRow, letter: models.DeadLetter) -> None:
        """Reports a refusal that no other finding explains."""
        reason = letter.reason
        at_s = row.at_s
        if reason is models.Reason.BAD_TIME and (row.time.naive or row.time.at is None):
            return
        if reason is models.Reason.MISSING_FIELD and not row.time.key:
            return
        field = letter.detail.partition(":")[0]
        if field not in row.values:
            field = ""
        if field and {("na", field), ("comma", field)} & self.findings.keys() and _is_cell(row.values[field]):
            return
        odd = at_s is not None and self._plan.odd(at_s)
        advice = "" if odd else self._advice(reason)
        why = letter.detail.removeprefix(f"{field}: ") if field else letter.detail
        text = f"voltd refuses {field or 'it'} ({reason}): {why}{advice}"
        self._find(("refused", reason, field, str(odd)), row.line, text)

    def _advice(self, reason: models.Reason) -> str:
        options = self._options
        if reason is models.Reason.TOO_OLD:
            if options.moves and not options.until:
                return "; or raise limits.max_age_days"
            return "; --now and --from-now move the recording to today, limits.max_age_days may be raised"
        if reason is models.Reason.IN_FUTURE and options.from_now and options.speed != 1:
            return (
                "; --from-now dates a reading as it is published at the recorded pace alone: leave --speed and --fast"
            )
        if reason is models.Reason.UNKNOWN_TOPIC:
            return " (replay publishes to volt/vehicle/<id>/telemetry and volt/meter/<id>/telemetry)"
        return ""


def _is_cell(text: str) -> bool:
    return text == "NaN" or text[:1] == '"'


def _shown(text: str) -> str:
    value: Any = json.loads(text) if text[:1] == '"' else text
    return str(value)[:MOST_SHOWN]
