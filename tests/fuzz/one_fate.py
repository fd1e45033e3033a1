"""The data path of a batch from bytes to rows on a real store, and what it promises: exactly one fate for each input.

``run`` and ``test_poison`` send batches of ``inputs`` through a ``Rig``. Each broken promise is a ``Defect`` with
the input that broke it.
"""

import collections
import datetime as dt
import time

import psycopg

from voltd import config, models
from voltd.database import connections
from voltd.pipeline.consume import stream
from voltd.pipeline.current import state
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store

SETTINGS = config.Settings()
_OUR_DEFECT = "please report this"
_PING = b"\xd0\x00"
_SHOWN = 400


class Defect(AssertionError):
    """A promise that an input broke."""

    def __init__(self, what, source=None):
        shown = ""
        if source is not None:
            payload = repr(source.payload)
            payload = payload if len(payload) <= _SHOWN else f"{payload[:_SHOWN]}... ({len(source.payload)} bytes)"
            shown = f"\n  kind {source.kind}, topic {source.topic[:100]!r}\n  payload {payload}"
        super().__init__(what + shown)


def message_of(source, packet_id, received_at):
    """The message as ``PublishStream`` would make it."""
    topic = source.topic.decode("utf-8", "backslashreplace")
    size = len(source.payload)
    return models.Message(topic, source.payload, packet_id, received_at, 1, source.retained, connection=1, size=size)


def publish_packet(source, packet_id, *, qos=1):
    """The bytes of its PUBLISH packet (MQTT 5, 3.3)."""
    body = len(source.topic).to_bytes(2, "big") + source.topic
    body += packet_id.to_bytes(2, "big") if qos else b""
    body += b"\0" + source.payload
    length, head = len(body), bytearray([0x30 | qos << 1 | source.retained])
    while True:
        length, digit = length >> 7, length & 0x7F
        head.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(head) + body


def through_stream(rng, sources, received_at, first=1):
    """The sources as packets of one connection, cut at random places, with other packets between them."""
    data, pings = bytearray(), 0
    for packet_id, source in enumerate(sources, first):
        if rng.random() < 0.01:
            data += _PING
            pings += 1
        data += publish_packet(source, packet_id)
    reader = stream.PublishStream(1)
    messages, position = [], 0
    while position < len(data):
        piece = rng.choice((1, 7, 1500, 65_536, 262_144, 262_144))
        for item in reader.feed(bytes(data[position : position + piece]), received_at):
            if isinstance(item, list):
                messages += item
            elif item == _PING:
                pings -= 1
            else:
                raise Defect(f"the stream made a packet of {item[:40]!r}")
        position += piece
    expected = [message_of(source, packet_id, received_at) for packet_id, source in enumerate(sources, first)]
    for source, got, right in zip(sources, messages, expected, strict=False):
        if got != right:
            raise Defect("the stream delivers another message than was sent", source)
    if len(messages) != len(sources) or pings:
        raise Defect(f"of {len(sources)} messages the stream delivers {len(messages)}; {pings} pings missing")
    return messages


def check_letter(letter, source):
    """The dead letter is useful to people."""
    if _OUR_DEFECT in letter.detail:
        raise Defect(f"the decoder gave up: {letter.detail}", source)
    if not isinstance(letter.reason, models.Reason) or not letter.detail or len(letter.detail) > 2000:
        raise Defect(f"not a reason that people can use: {letter.reason!r} {letter.detail[:200]!r}", source)
    if letter.partial and not letter.field:
        raise Defect("a field's dead letter that names no field", source)


def fates_of(sources, batch):
    """By message, of each element whether it was stored; None: a sign of life."""
    fates = [[] for _ in batch.messages]
    readings = {*batch.vehicle_sources, *batch.meter_sources}
    if len(batch.vehicles) != len(batch.vehicle_sources) or len(batch.meters) != len(batch.meter_sources):
        raise Defect("readings and their sources differ in number")
    for index, element in [*batch.vehicle_sources, *batch.meter_sources]:
        fates[index].append((element, True))
    for index, element in batch.alive_sources:
        fates[index].append((element, None))
    index_of = {id(message): index for index, message in enumerate(batch.messages)}
    empty = set()
    for letter in batch.dead_letters:
        index = index_of[id(letter.message)]
        check_letter(letter, sources[index])
        if letter.nothing_left and (index, letter.element) in empty:
            continue
        if letter.nothing_left:
            empty.add((index, letter.element))
        if letter.nothing_left or not letter.partial:
            fates[index].append((letter.element, False))
        elif (index, letter.element) not in readings:
            raise Defect("a field refused of a reading that is not stored", sources[index])
    return fates


def check_fates(sources, batch):
    """Each message, and each element of an array, has exactly one fate; the decoder needed no excuse."""
    for source, fate in zip(sources, fates_of(sources, batch), strict=True):
        elements = [element for element, _ in fate]
        whole, parts = elements == [None], sorted(-1 if one is None else one for one in elements)
        if not fate or not (whole or parts == list(range(len(parts)))):
            raise Defect(f"not one fate each: {fate[:20]}", source)
        if source.elements is not None and len(fate) != source.elements:
            raise Defect(f"{source.elements} fates expected, there are {len(fate)}", source)
        if source.stored is not None and any(stored is (not source.stored) for _, stored in fate):
            why = [letter.detail for letter in batch.dead_letters if letter.message.payload == source.payload][:1]
            raise Defect(f"should {'' if source.stored else 'not '}be stored: {why}", source)


class Rig:
    """Decoder, store and current state on a migrated database.

    Args:
        dsn: of the database, as superuser.
        received_at: when everything arrives; devices' times are compared with it.
        bound_s: a batch that takes longer counts as a stall.
    """

    def __init__(self, dsn, received_at, bound_s):
        self.received_at = received_at
        self.fates = collections.Counter()
        self.inputs = self.elements = self.batches = 0
        self.slowest_s = 0.0
        self._bound_s = bound_s
        self._dead_letters = self._bad_fields = 0  # in the table now
        self._admin = psycopg.connect(dsn, autocommit=True)
        connect = connections.connector(config.Settings(database={"dsn": dsn}))
        self._decoder = decoder.Decoder(SETTINGS.mqtt.topics, SETTINGS.limits, SETTINGS.max_age_days)
        self._store = store.PostgresStore(connect, "fuzz")
        self._current = state.CurrentState(connect, "fuzz", 1.0)

    def close(self):
        self._store.close()
        self._current.close()
        self._admin.close()

    def run(self, rng, sources):
        """One batch from bytes to rows; a part of them arrives as a byte stream, and a part arrives twice."""
        started = time.monotonic()
        # All batches arrive at once: with the same packet id, too, equal payloads would be one delivery.
        first = 1 + self.batches * len(sources) % 60_000
        if rng.random() < 0.3:
            messages = through_stream(rng, sources, self.received_at, first)
        else:
            messages = [message_of(source, number, self.received_at) for number, source in enumerate(sources, first)]
        streamed_s = time.monotonic() - started
        result = self._write(messages, sources, streamed_s)
        self.inputs += len(sources)
        self.batches += 1
        self.fates["written"] += result.vehicles_written + result.meters_written
        self.fates["duplicate"] += result.duplicates
        self.fates["filled"] += result.filled
        for letter in result.dead_letters:
            self.fates[f"{'field' if letter.partial else 'dead letter'}: {letter.reason}"] += 1
        self._dead_letters += sum(not letter.partial for letter in result.dead_letters)
        self._bad_fields += sum(letter.partial for letter in result.dead_letters)
        if rng.random() < 0.04:
            again = [message._replace(redelivered=True) for message in messages]
            second = self._write(again, sources, 0.0)
            if second.vehicles_written + second.meters_written or len(second.dead_letters) != len(result.dead_letters):
                raise Defect(f"a redelivery changes fates: {second.vehicles_written + second.meters_written} written")
            self.check_rows()

    def _write(self, messages, sources, streamed_s):
        started = time.monotonic()
        try:
            batch = self._decoder.decode(messages)
        except Exception as error:
            raise Defect(f"the decoder raised {error!r}", self._culprit(messages, sources)) from error
        decoded_s = time.monotonic() - started
        check_fates(sources, batch)
        started = time.monotonic()
        try:
            result = self._store.write(batch)
            self._current.note(batch, result)
            if self.batches % 10 == 0:
                self._current.merge()
        except Exception as error:
            raise Defect(f"the store raised {error!r}") from error
        took_s = streamed_s + decoded_s + time.monotonic() - started
        stored = result.vehicles_written + result.meters_written + result.filled + result.duplicates
        found = len(result.dead_letters) - len(batch.dead_letters)
        if stored + result.conflicting + len(result.refused) != batch.readings or found < result.conflicting:
            raise Defect(f"of {batch.readings} readings and {len(batch.dead_letters)} dead letters came {result}")
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > self._bound_s:
            raise Defect(f"a batch of {len(messages)} messages took {took_s:.1f} s, decoding {decoded_s:.1f} s")
        self.elements += batch.readings + len(batch.dead_letters)
        return result

    def _culprit(self, messages, sources):
        for message, source in zip(messages, sources, strict=True):
            try:
                self._decoder.decode([message])
            except Exception:  # noqa: BLE001 whatever it is, this is the one
                return source
        return None

    def check_rows(self, *, empty_dead_letters=False):
        """The tables hold what the results said, no more and no less."""
        rows = self._count("vehicle_reading") + self._count("meter_reading")
        if rows != self.fates["written"]:
            raise Defect(f"{self.fates['written']} readings written, {rows} rows")
        letters = self._count("dead_letter WHERE repeat_key IS NULL")
        if letters != self._dead_letters:
            raise Defect(f"{self._dead_letters} dead letters written, {letters} rows")
        repeats = self._admin.execute(
            "SELECT coalesce(sum(repeats), 0) FROM volt.dead_letter WHERE field IS NOT NULL AND repeat_key IS NOT NULL"
        ).fetchone()[0]
        if repeats != self._bad_fields:
            raise Defect(f"{self._bad_fields} bad fields written, {repeats} counted")
        if empty_dead_letters:  # they are large; what was counted need not be kept
            self._admin.execute("TRUNCATE volt.dead_letter")
            self._dead_letters = self._bad_fields = 0

    def check_current(self):
        """Each device's current state is as new as its newest reading."""
        self._current.merge()
        for kind in ("vehicle", "meter"):
            differing = self._admin.execute(
                f"""SELECT count(*) FROM volt.{kind}_current FULL JOIN
                      (SELECT {kind}_id, max(recorded_at) AS newest FROM volt.{kind}_reading GROUP BY 1) AS r
                    USING ({kind}_id) WHERE recorded_at IS DISTINCT FROM newest"""
            ).fetchone()[0]
            if differing:
                raise Defect(f"the current state of {differing} {kind}s is not their newest reading")

    def _count(self, table):
        return self._admin.execute(f"SELECT count(*) FROM volt.{table}").fetchone()[0]

    def tally(self):
        """Lines for people: every fate with its count."""
        lines = [f"{count:>12,}  {name}" for name, count in self.fates.most_common()]
        return "\n".join([*lines, f"{sum(self.fates.values()):>12,}  fates of {self.inputs:,} inputs"])


def now():
    """The time of arrival of a run, on a whole second, so that it can be named again."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
