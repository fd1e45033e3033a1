"""Clock guard: is it the fleet's clocks that are wrong, or this host's?

``flush`` asks it about each batch before it is written, as it asks ``flush.circuit_breaker``. Where readings would be
refused for their time (``in_future``, ``too_old``) although most devices agree on it, and a second witness
(``host_clock``) says that this host's clock is the wrong one, the batch waits, unacked, until the clock is right; then
it is decoded again with a time of receipt that can be true. No I/O of its own; a batch in which no time is refused
costs next to nothing.
"""

from __future__ import annotations

import collections
import datetime as dt
import itertools
import statistics
from collections.abc import Iterable, Iterator

from voltd import config, models
from voltd.host import host_clock
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families

_MOST_CACHED = 500  # readings
_OF_A_BATCH = 50  # the last ones, vehicles and meters each
_LOOKED_AT = 500  # of a batch in which times were refused
_ANY_DAYS = 36_500
_TIMES = frozenset({models.Reason.IN_FUTURE, models.Reason.TOO_OLD})
_LIVE_S = 60.0  # on its way for no longer, and dated by a clock that agrees with this host's
_BELIEVED_AFTER_S = 60.0
_LOOK_EVERY_S = 10.0

_Device = tuple[bool, str]  # whether a vehicle, id
_Ahead = tuple[_Device, dt.timedelta]


class Retimer:
    """Decodes messages anew whose times of receipt were taken by a clock that was wrong.

    Args:
        topics: which filter carries what.
        limits: how far ahead a reading may be.
        max_age_days: and how old.
        timestamps: which forms of time are taken.
        others: device families with formats of their own.
    """

    def __init__(
        self,
        topics: config.Topics,
        limits: config.Limits,
        max_age_days: int,
        timestamps: config.Timestamps | None = None,
        others: families.Families | None = None,
    ) -> None:
        self.decoder = decoder.Decoder(topics, limits, max_age_days, timestamps, others)
        any_time = limits.model_copy(update={"max_future_s": _ANY_DAYS * 86400})
        self._any_time = decoder.Decoder(topics, any_time, _ANY_DAYS, timestamps, others)

    def dated(self, batch: models.Batch, most: int) -> models.Batch:
        """The last messages that were refused for their time, as readings."""
        return self._any_time.decode(_refused(batch)[-most:])

    def received_when_dated(self, batch: models.Batch, now: dt.datetime) -> models.Batch:
        """The batch, in which only that is ``in_future`` which is so even at ``now``.

        A reading that was ahead of its receipt, and is dated before ``now``, may have been received at the time that
        it is dated by.
        """
        ahead = {id(one.message) for one in batch.dead_letters if one.reason is models.Reason.IN_FUTURE}
        if not ahead:
            return batch
        return self.decoder.decode([self._later(one, now) if id(one) in ahead else one for one in batch.messages])

    def _later(self, message: models.Message, now: dt.datetime) -> models.Message:
        found = self._any_time.decode([message])
        readings: list[models.Reading] = [*found.vehicles, *found.meters]
        dated = [one.recorded_at for one in readings if one.recorded_at <= now]
        return message._replace(received_at=max(message.received_at, *dated)) if dated else message


class ClockGuard:
    """Looks at the times of what has arrived; for one thread.

    Args:
        topics: which filter carries what.
        limits: how far ahead a reading may be.
        max_age_days: and how old.
        clock: this host's.
        timestamps: which forms of time are taken.
        others: device families with formats of their own.
    """

    def __init__(
        self,
        topics: config.Topics,
        limits: config.Limits,
        max_age_days: int,
        clock: host_clock.HostClock,
        timestamps: config.Timestamps | None = None,
        *,
        others: families.Families | None = None,
    ) -> None:
        self._clock = clock
        self._retimer = Retimer(topics, limits, max_age_days, timestamps, others)
        self._newest_s, self._oldest_s = float(limits.max_future_s), -86400.0 * max_age_days
        self._recent: collections.deque[list[_Ahead]] = collections.deque()
        self._readings = self._steps = 0
        self._live_since: dt.datetime | None = None
        self._look_at = clock.now()

    def evaluate(self, batch: models.Batch) -> host_clock.Suspicion | None:
        """Takes the batch into account: why it has to wait until this host's clock is right; None: it has not."""
        if (steps := self._clock.look()) != self._steps:  # what was seen before is in another frame
            self._steps = steps
            self._recent.clear()
            self._readings, self._live_since, self._look_at = 0, None, self._clock.now()
        if not _refused(batch):
            self._cache(_ahead(batch, most=_OF_A_BATCH), batch.messages[-1].received_at)
            return None
        seen = self._in(batch)
        shown = self._agreed(_offsets([*self._recent, *seen]))
        # Too old is a recording, too: the kernel's doubts do not distinguish it from a host that is ahead.
        witness = self._clock.wrong(shown[0], shown[2], by_database=shown[0] < 0) if shown is not None else ""
        if shown is not None and witness:
            return host_clock.Suspicion(*shown, witness)
        for one in seen:
            self._cache(one[-_OF_A_BATCH:], batch.messages[-1].received_at)
        return None

    def again(
        self, batch: models.Batch, suspicion: host_clock.Suspicion
    ) -> tuple[models.Batch, host_clock.Suspicion | None]:
        """A batch that waits, looked at once more: decoded anew, with None, once this host's clock is right."""
        stepped = self._clock.look() != self._steps
        if not stepped and not self._clock.vouched():  # a witness that is away has not changed its mind
            return batch, suspicion
        fresh = self.corrected(batch)
        found = self.evaluate(fresh)
        if found is None and not stepped:  # set right without a step that could be seen
            fresh = self._retimer.received_when_dated(fresh, self._clock.now())
        return fresh, found

    def accept(self) -> None:
        """An admin takes the clock for right, until it steps."""
        self._clock.accepted = True

    def corrected(self, batch: models.Batch) -> models.Batch:
        """The batch; where times are refused and the clock has stepped since they were taken, with those corrected."""
        if not _refused(batch):
            return batch
        self._clock.look()
        moved = {at: self._clock.corrected(at) for at in {one.received_at for one in batch.messages}}
        if all(before == after for before, after in moved.items()):
            return batch
        return self._retimer.decoder.decode([self._moved(one, moved[one.received_at]) for one in batch.messages])

    def _moved(self, message: models.Message, received_at: dt.datetime) -> models.Message:
        spooling = message.spooling
        if spooling is not None:
            spooling = spooling._replace(at=self._clock.corrected(spooling.at))
        return message._replace(received_at=received_at, spooling=spooling)

    def spooled(self, batch: models.Batch, *, earlier: bool) -> models.Batch:
        """What the spool held, with times of receipt that can be true.

        How the clock stood in an earlier run nobody knows any more, and the steps of this one say nothing about it:
        where most devices then were ahead by the same amount, the clock was behind.

        Args:
            batch: messages that were all received by one run.
            earlier: whether by an earlier one than this.
        """
        if not earlier:
            return self.corrected(batch)
        if not _refused(batch):
            return batch
        shown = self._agreed(_offsets(self._in(batch)))
        return (
            self._retimer.received_when_dated(batch, self._clock.now()) if shown is not None and shown[0] > 0 else batch
        )

    def _in(self, batch: models.Batch) -> list[list[_Ahead]]:
        """The last that was taken, and the last that was refused."""
        return [_ahead(one, most=_LOOKED_AT) for one in (batch, self._retimer.dated(batch, most=_LOOKED_AT))]

    def _agreed(self, offsets: list[float]) -> tuple[float, int, int] | None:
        live = [one for one in offsets if one >= -_LIVE_S]  # others were late on their way, which says nothing
        if live and statistics.median_low(live) > self._newest_s:
            return _most(live)
        return _most(offsets) if offsets and statistics.median_low(offsets) < self._oldest_s else None

    def _cache(self, seen: list[_Ahead], received_at: dt.datetime) -> None:
        self._recent.append(seen)
        self._readings += len(seen)
        while self._readings - len(self._recent[0]) >= _MOST_CACHED or len(self._recent) > _MOST_CACHED:
            self._readings -= len(self._recent.popleft())
        if not self._clock.confirmed and received_at >= self._look_at:
            self._believe(received_at)

    def _believe(self, now: dt.datetime) -> None:
        """Most devices agree with this host's clock, and did a minute ago: they vouch for it, until it steps."""
        self._look_at = now + dt.timedelta(seconds=_LOOK_EVERY_S)
        offsets = _offsets(self._recent)
        if 2 * sum(abs(one) <= host_clock.OFF_S for one in offsets) > len(offsets):
            self._live_since = self._live_since or now
            self._clock.confirmed = (now - self._live_since).total_seconds() >= _BELIEVED_AFTER_S


def _refused(batch: models.Batch) -> list[models.Message]:
    """Messages of which a time was refused."""
    return list({id(one.message): one.message for one in batch.dead_letters if one.reason in _TIMES}.values())


def _ahead(batch: models.Batch, most: int | None = None) -> list[_Ahead]:
    """How far the last readings are ahead of their receipt."""
    return [(device, recorded_at - received_at) for device, recorded_at, received_at in _seen(batch, most)]


def _seen(batch: models.Batch, most: int | None = None) -> Iterator[tuple[_Device, dt.datetime, dt.datetime]]:
    """Device, time and receipt of the last readings that their device has dated; retained ones are of another time."""
    for vehicle, readings, sources in (
        (True, batch.vehicles, batch.vehicle_sources),
        (False, batch.meters, batch.meter_sources),
    ):
        first = max(0, len(readings) - most) if most else 0
        for position in range(first, len(readings)):
            one: models.Reading = readings[position]
            if one.time_source is None and not (batch.retained and batch.messages[sources[position][0]].retained):
                yield (vehicle, one[0]), one.recorded_at, one.received_at


def _offsets(seen: Iterable[list[_Ahead]]) -> list[float]:
    """How far each device is ahead, s: the most of its readings, as any may have been late."""
    most: dict[_Device, dt.timedelta] = {}
    for device, ahead in itertools.chain.from_iterable(seen):
        if device not in most or ahead > most[device]:
            most[device] = ahead
    return [one.total_seconds() for one in most.values()]


def _most(offsets: list[float]) -> tuple[float, int, int] | None:
    """The middle one, where more than half are near it."""
    middle = statistics.median_low(offsets)
    near_s = max(_LIVE_S, 0.02 * abs(middle))
    agree = sum(abs(one - middle) <= near_s for one in offsets)
    return (middle, agree, len(offsets)) if 2 * agree > len(offsets) else None
