"""Compares what is stored of two fleets that lived the same life: field by field, by quarter hour, by current state.

At the time of each report of a device in voltd's own format its twin's newest value of the field has to be the same, to
half a step of both formats. What cannot be compared is counted with its reason.
"""

import collections
import dataclasses
import datetime as dt

from mixed import carried
from support import databases
from voltd.models import DeviceType
from voltd.readings import POSITION, fields
from voltd.rules.charging_status import Charging

_CLOCKS_S = 5.0  # the skew of a clock, the arrival, a time without fractions: where energy lies within a minute
_HIGHEST_KW = 60.0
_REGISTER = {"vehicle": "dc_register_kwh", "meter": "ac_register_kwh"}
_PROMPT, _LATEST = 0.2, 0.75  # of an interval: when a twin has arrived, and until when the other one is waited for
# A known limit of Sparkplug's aliases (docs/devices.md): the births come behind all that waited at the broker.
BEHIND_BACKLOG = "dead letters no_birth: aliases, and more than half a window of messages before the births"
# Another one: what waited at the broker and has no time is dated within a moment, and what a fast charger's register
# rose by meanwhile looks like a step that it cannot have made.
AT_ONCE = "suspect energy: registers without a time that arrived at once after the daemon was away"
_MOST_EXAMPLES = 40


@dataclasses.dataclass(frozen=True)
class Events:
    """When what happened, aware.

    Attributes:
        began: from when on figures are compared: the daemon is connected, each device has reported since.
        ended: until when.
        down, up: without the daemon; equal where there was none.
    """

    began: dt.datetime
    ended: dt.datetime
    down: dt.datetime
    up: dt.datetime


@dataclasses.dataclass
class Found:
    """What a comparison found.

    Attributes:
        compared: values, by what the mixed device speaks and field.
        furthest: the largest difference, likewise.
        left_out: values that were not compared, by reason.
        wrong: sentences, at most 40.
        mistakes: how many there are.
    """

    compared: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    furthest: dict = dataclasses.field(default_factory=dict)
    left_out: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    wrong: list = dataclasses.field(default_factory=list)
    mistakes: int = 0

    def same(self, where, field, difference, most, said):
        """Counts a value that was compared; ``said`` makes the sentence if it is further off than ``most``."""
        key = (where.family or "voltd", field)
        self.compared[key] += 1
        self.furthest[key] = max(difference, self.furthest.get(key, 0.0))
        if difference > most:
            self.bad(f"{where.mixed_id} ({key[0]}) {field}: {said}, {difference:.6g} apart, allowed {most:.6g}")

    def bad(self, sentence):
        """Counts a mistake."""
        self.mistakes += 1
        if len(self.wrong) < _MOST_EXAMPLES:
            self.wrong.append(sentence)


class Comparison:
    """Of one run.

    Args:
        dsn: of the database that has both fleets.
        twins: the fleets.
        events: of the run.
    """

    def __init__(self, dsn, twins, events):
        self._dsn, self._twins, self._events = dsn, twins, events
        self._charging = Charging()
        self.found = Found()
        self._caught_up = events.up + max(dt.timedelta(seconds=30), 2 * twins.interval)
        self._unborn: set[str] = set()

    def all(self):
        """Everything, and the dead letters, of which there should be none."""
        for letter in databases.ask(self._dsn, "SELECT reason, detail, topic, received_at FROM volt.dead_letter"):
            if letter[0] == "no_birth" and self._events.down != self._events.up < letter[-1] < self._caught_up:
                self.found.left_out[BEHIND_BACKLOG] += 1
                self._unborn.add(letter[2].rpartition("/")[2])
            else:
                self.found.bad(f"dead letter: {letter}")
        for twin in self._twins.twins:
            self._device(twin)
        self._efficiency()
        return self.found

    # -- readings

    def _rows(self, kind, device_id):
        columns = ["recorded_at", "received_at", *fields(DeviceType(kind))]
        names = ", ".join(columns)
        rows = databases.ask(
            self._dsn,
            f"SELECT {names} FROM volt.{kind}_reading WHERE {kind}_id = %s ORDER BY recorded_at",
            [device_id],
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _device(self, twin):
        said = carried.format_of(twin)
        own, mixed = self._rows(twin.kind, twin.own_id), self._rows(twin.kind, twin.mixed_id)
        if own and not mixed and twin.mixed.speaks and twin.mixed.speaks.family.changes:
            self._readings(twin, said, own, mixed)  # it stands, so there was nothing to send
            return
        if not own or not mixed:
            self.found.bad(f"{twin.mixed_id} ({twin.family}): {len(own)} readings of one, {len(mixed)} of the other")
            return
        source = None if said.clock_s else "arrival"
        if wrong := {row["time_source"] for row in mixed} - {source}:
            self.found.bad(f"{twin.mixed_id} ({twin.family}): time_source {wrong}")
        self._readings(twin, said, own, mixed)
        self._current(twin, said, mixed)
        self._energy(twin, said, own, mixed)

    def _compared(self, twin, said, due, received_at):
        """Whether a report is compared, else the reason is counted."""
        events, interval = self._events, self._twins.interval
        unborn = twin.mixed_id in self._unborn and events.down - interval <= due <= self._caught_up
        if unborn or not events.began <= due <= events.ended:
            return False
        if twin.family is None:
            return True
        if self._twins.was_away(twin, due):
            self.found.left_out["the device was offline, and its family has no backlog"] += 1
            return False
        if not said.clock_s and received_at - due > _PROMPT * interval:
            self.found.left_out["it arrived late on this machine: what has no time is dated by its arrival"] += 1
            return False
        if not said.clock_s and events.down != events.up and events.down - interval <= due <= events.up + interval:
            self.found.left_out["the daemon was away: what has no time is dated by its arrival"] += 1
            return False
        return True

    def _readings(self, twin, said, own, mixed):
        newest, place, matched = {}, 0, 0
        late = dt.timedelta(seconds=said.clock_s if said.clock_s < 1 else 0) if said.clock_s else None
        for row in own:
            due = row["recorded_at"] - twin.skew
            until = row["recorded_at"] + late if late is not None else due + _LATEST * self._twins.interval
            last = None
            while place < len(mixed) and mixed[place]["recorded_at"] <= until:
                last = mixed[place]
                newest.update({name: value for name, value in last.items() if value is not None})
                place += 1
            if not self._compared(twin, said, due, row["received_at"]):
                continue
            if said.clock_s:
                matched += 1
                early_s = (row["recorded_at"] - last["recorded_at"]).total_seconds() if last else float("inf")
                self.found.same(twin, "recorded_at", abs(early_s), said.clock_s, f"nothing of {row['recorded_at']}")
            elif last is not None:
                late_s = (last["recorded_at"] - due).total_seconds()
                most_s = _LATEST * self._twins.interval.total_seconds()
                self.found.same(twin, "recorded_at", abs(late_s), most_s, f"of {due}")
            for field in (*said.steps, *(["charging_status"] if said.words else [])):
                self._value(twin, said, field, newest.get(field), row=row, first=own[0])
        if said.clock_s and not matched:
            self.found.bad(f"{twin.mixed_id} ({twin.family}): no reading was compared")

    def _value(self, twin, said, field, value, *, row, first):
        phases = twin.device.phases if twin.kind == "meter" else 1
        should = carried.expected(field, row[field], said, phases)
        if value is None:
            if twin.mixed.speaks and twin.mixed.speaks.family.changes and carried.alike(field, row, first, said):
                self.found.left_out["unchanged since voltd subscribed, so not sent yet"] += 1
            else:
                self.found.bad(f"{twin.mixed_id} ({twin.family}) has no {field} at {row['recorded_at']}")
        elif said.moves and field == "speed_kmh" and row[field] == 0:
            self.found.left_out["no speed is sent while parked: the last one stays"] += 1
        elif field == "charging_status":
            means = self._charging.means_charging
            same = value == should and means(value) == means(row[field])
            self.found.same(twin, field, 0.0 if same else 1.0, 0.0, f"{value!r} for {row[field]!r}")
        else:
            most = carried.tolerance(field, said, phases)
            said_of = f"{value} for {should} at {row['recorded_at']}"
            self.found.same(twin, field, abs(value - should), most, said_of)

    # -- current state

    def _current(self, twin, said, mixed):
        """The newest value of each field is the current one, with its time; so equal to the twin's as that is."""
        state = {name: field.at for name, field in fields(DeviceType(twin.kind)).items() if name in said.steps}
        columns = [*state, *dict.fromkeys(state.values())]
        rows = databases.ask(
            self._dsn,
            f"SELECT {', '.join(columns)} FROM volt.{twin.kind}_current WHERE {twin.kind}_id = %s",
            [twin.mixed_id],
        )
        if not rows:
            self.found.bad(f"{twin.mixed_id} ({twin.family}) has no current state")
            return
        current = dict(zip(columns, rows[0], strict=True))
        for field, at in state.items():
            # A position is one value: a reading with one half of it is none.
            whole = POSITION if field in POSITION else (field,)
            newest = next((row for row in reversed(mixed) if all(row[one] is not None for one in whole)), None)
            if newest is None:
                continue
            same = (current[field], current[at]) == (newest[field], newest["recorded_at"])
            where = f"{current[field]} at {current[at]}, newest {newest[field]} at {newest['recorded_at']}"
            self.found.same(twin, f"current {field}", 0.0 if same else 1.0, 0.0, where)

    # -- energy

    def _quarters(self, kind, device_id):
        statement = f"SELECT quarter_hour, energy_kwh, suspect FROM volt.{kind}_energy_quarters(%s, %s, %s)"
        rows = databases.ask(self._dsn, statement, [device_id, self._events.began, self._events.ended])
        return {at: (float(kwh), suspect) for at, kwh, suspect in rows}

    def _energy(self, twin, said, own, mixed):
        register = _REGISTER[twin.kind]
        one, other = self._quarters(twin.kind, twin.own_id), self._quarters(twin.kind, twin.mixed_id)
        for at, (_, suspect) in other.items():
            if not suspect or one.get(at, (0.0, False))[1]:
                continue
            if not said.clock_s and self._was_down(at, at + dt.timedelta(minutes=15)):
                self.found.left_out[AT_ONCE] += 1
            else:
                self.found.bad(f"{twin.mixed_id} ({twin.family}): the energy of {at} is suspect")
        step_kwh = said.steps[register] or 1e-6
        before_kwh = self._before(register, own, mixed)
        total, other_total = (sum(kwh for kwh, _ in quarters.values()) for quarters in (one, other))
        most = 2 * step_kwh + self._within(said, self._events.began, self._events.ended, total)
        difference = abs(total - before_kwh - other_total)
        self.found.same(twin, "energy", difference, most, f"{other_total:.4f} for {total - before_kwh:.4f} kWh")
        for at in one.keys() | other.keys():
            kwh, other_kwh = one.get(at, (0.0, False))[0], other.get(at, (0.0, False))[0]
            most = (
                2 * step_kwh + before_kwh + self._within(said, at, at + dt.timedelta(minutes=15), max(kwh, other_kwh))
            )
            self.found.same(twin, "quarter hour", abs(kwh - other_kwh), most, f"{other_kwh:.4f} for {kwh:.4f} at {at}")

    def _before(self, register, own, mixed):
        """What the twin had counted before the first register of the mixed device arrived."""
        first = next((row["recorded_at"] for row in mixed if row[register] is not None), None)
        if first is None:
            return 0.0
        until = first + 0.25 * self._twins.interval
        before = [
            row[register] for row in own if self._events.began - self._twins.interval <= row["recorded_at"] <= until
        ]
        return max(0.0, before[-1] - before[0]) if before else 0.0

    def _within(self, said, begins, ends, kwh):
        """How much energy may lie on the other side of a limit of time, kWh."""
        if kwh == 0:
            return 0.0
        seconds = _CLOCKS_S
        if not said.clock_s and self._was_down(begins, ends):
            seconds += (self._events.up - self._events.down + self._twins.interval).total_seconds()
        return min(kwh, _HIGHEST_KW * seconds / 3600)

    def _was_down(self, begins, ends):
        """Whether the daemon was away in a period."""
        return self._events.down != self._events.up and begins <= self._events.up and ends >= self._events.down

    # -- efficiency

    def _efficiency(self):
        """By device, over the whole time."""
        vehicles = [twin for twin in self._twins.twins if twin.kind == "vehicle"]
        meters = {twin.index: twin for twin in self._twins.twins if twin.kind == "meter"}
        for twin in vehicles:
            one, other = (self._ratio(name) for name in (twin.own_id, twin.mixed_id))
            if one is None or other is None:
                if (one is None) != (other is None):
                    self.found.left_out["efficiency: comparable in one format only"] += 1
                continue
            pair = (twin, meters[twin.index])
            step_kwh = sum(carried.format_of(one).steps[_REGISTER[one.kind]] for one in pair)
            # Where a side is known for a part of a quarter hour, at least 80 %, that stands for all of it: the register
            # of a family that sends changes only is known until the charge ends.
            least = min(self._coverage(twin.own_id), self._coverage(twin.mixed_id))
            most = 0.6 + 100 * 2 * step_kwh / one[0] + one[1] * (1 / least - 1 + self._apart(pair))
            where = f"{meters[twin.index].mixed_id} ({meters[twin.index].family}) {other[1]:.2f} for {one[1]:.2f} %"
            self.found.same(twin, "efficiency", abs(one[1] - other[1]), most, where)

    def _apart(self, pair):
        """Which share of the time may lie on the other side of a limit, for one of the two and not for the other."""
        events = self._events
        seconds = _CLOCKS_S
        if not all(carried.format_of(one).clock_s for one in pair):
            seconds += (events.up - events.down).total_seconds()
        return seconds / (events.ended - events.began).total_seconds()

    def _coverage(self, vehicle_id):
        """For how much of a quarter hour that is compared both sides are known, at least."""
        least = "min(least(dc_coverage, ac_coverage))"
        statement = f"SELECT {least} FROM volt.explain_efficiency(%s, %s, %s) WHERE remarks = ''"
        ((least,),) = databases.ask(self._dsn, statement, [vehicle_id, self._events.began, self._events.ended])
        return float(least or 1)

    def _ratio(self, vehicle_id):
        statement = "SELECT comparable_dc_kwh, efficiency_pct FROM volt.vehicle_efficiency(%s, %s, %s, 'period')"
        rows = databases.ask(self._dsn, statement, [vehicle_id, self._events.began, self._events.ended])
        known = [(float(dc_kwh), float(pct)) for dc_kwh, pct in rows if pct is not None]
        return known[0] if known else None
