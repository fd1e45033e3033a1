"""Nothing that a device publishes stops or slows the stream, and every input has exactly one fate."""

import datetime as dt
import json
import random
import secrets
import time

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import inputs, one_fate
from support import harness
from voltd import config, models, readings
from voltd.database import connections
from voltd.models import Reason
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store as write

STORED = frozenset[Reason]()
NUMBER = {Reason.OUT_OF_RANGE, Reason.NOT_JSON, Reason.WRONG_TYPE}
NOT_JSON = {Reason.NOT_JSON}
TIME = {Reason.BAD_TIME, Reason.TOO_OLD, Reason.IN_FUTURE}
_DEEP = 100_000


def reading(more, at="AT"):
    """A good reading's JSON with ``more`` in it; AT becomes the time of the test."""
    return f'{{"timestamp":"{at}",{more}}}'.encode("utf-8", "surrogatepass")


# name -> what is published, the reasons that fit its dead letter (none: it is stored), how many rows it makes
POISON = {
    "numeric_overflow": (reading('"soc":1e400'), NUMBER),
    "integer_of_400_digits": (reading('"soc":1' + "0" * 400), NUMBER),
    "integer_of_20000_digits": (reading('"soc":' + "9" * 20_000), NUMBER),
    "negative_zero": (reading('"soc":-0.0'), STORED),
    "denormal": (reading('"soc":1e-320'), STORED),
    "nan": (reading('"soc":NaN'), NUMBER),
    "infinity": (reading('"soc":-Infinity'), NUMBER),
    "boolean_for_a_number": (reading('"soc":true'), {Reason.WRONG_TYPE}),
    "text_for_a_number": (reading('"soc":"much"'), {Reason.WRONG_TYPE}),
    "number_as_text": (reading('"soc":"50"'), STORED),
    "nul_in_jsonb": (reading(r'"soc":1,"diagnostics":{"a":"\u0000"}'), {Reason.BAD_TEXT}),
    "nul_in_a_name_in_jsonb": (reading(r'"soc":1,"diagnostics":{"\u0000":1}'), {Reason.BAD_TEXT}),
    "nul_in_text": (reading(r'"chargingStatus":"a\u0000b"'), {Reason.BAD_TEXT}),
    "spelled_backslash_u0000": (reading(r'"chargingStatus":"\\u0000"'), STORED),
    "integer_of_5000_digits_in_jsonb": (reading('"soc":1,"diagnostics":{"a":' + "9" * 5000 + "}"), NUMBER),
    "overflow_in_jsonb": (reading('"soc":1,"diagnostics":{"a":1e400}'), NUMBER),
    "lone_surrogate_escaped": (reading(r'"chargingStatus":"\ud800"'), {Reason.NOT_JSON, Reason.BAD_TEXT}),
    "lone_surrogate_in_jsonb": (reading(r'"soc":1,"diagnostics":{"a":"\udc00"}'), {Reason.NOT_JSON, Reason.BAD_TEXT}),
    "lone_surrogate_raw": (reading('"chargingStatus":"\ud800"'), NOT_JSON),
    "truncated_utf8": (b'{"chargingStatus":"\xe2\x82"}', NOT_JSON),
    "byte_order_mark": (b"\xef\xbb\xbf" + reading('"soc":1'), STORED),
    "nul_at_the_end": (reading('"soc":1') + b"\0", STORED),
    "year_0": (reading('"soc":1', "0000-01-01T00:00:00Z"), TIME),
    "year_1_and_an_offset": (reading('"soc":1', "0001-01-01T00:00:00+23:59"), TIME),
    "year_9999_and_an_offset": (reading('"soc":1', "9999-12-31T23:59:59-23:59"), TIME),
    "year_294277": (reading('"soc":1', "294277-01-01T00:00:00Z"), TIME),
    "leap_second": (reading('"soc":1', "2016-12-31T23:59:60Z"), TIME),
    "hour_24": (reading('"soc":1', "2026-01-01T24:00:00Z"), TIME),
    "time_infinity": (reading('"soc":1', "infinity"), TIME),
    "fields_1600": (reading('"soc":1,' + ",".join(f'"f{n}":{n}' for n in range(1600))), STORED),
    "fields_1600_in_jsonb": (
        reading('"soc":1,"diagnostics":{' + ",".join(f'"f{n}":{n}' for n in range(1600)) + "}"), STORED),
    "arrays_100000_deep": (b"[" * _DEEP + b"]" * _DEEP, NOT_JSON | {Reason.NOT_AN_OBJECT}),
    "objects_40000_deep": (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, NOT_JSON),
    "jsonb_1000_deep": (reading('"soc":1,"diagnostics":' + '{"a":' * 1000 + "1" + "}" * 1000), NOT_JSON),
    "payload_of_10_mb": (b"[" + b"1," * (5 << 20) + b"1]", {Reason.TOO_LARGE}),
    "empty_payload": (b"", NOT_JSON),
    "name_twice_in_one_object": (reading('"soc":1,"soc":2'), STORED),
    "array_of_10001": (b"[" + b"{}," * 10_000 + b"{}]", {Reason.TOO_MANY}),
    "array_in_an_array": (b"[[]]", {Reason.NOT_AN_OBJECT}),
    "empty_array": (b"[]", {Reason.NO_MEASUREMENT}),
    "id_of_65_characters": (reading('"soc":1,"vehicleId":"' + "x" * 65 + '"'), {Reason.BAD_TEXT, Reason.ID_MISMATCH}),
    "empty_id": (reading('"soc":1,"vehicleId":""'), {Reason.BAD_TEXT, Reason.ID_MISMATCH}),
    "key_twice_in_one_array": (b"[" + reading('"soc":1') + b"," + reading('"soc":1') + b"]", STORED),
}  # fmt: skip


# Poison in one field beside a good one.
BESIDE = {kind for kind in POISON if kind.endswith("in_jsonb") and POISON[kind][1]}


@pytest.fixture(scope="module")
def fates(module_database, broker, tmp_path_factory):
    """Each poison published to a running daemon, a good reading after each: device -> (rows, reasons)."""
    name = f"t{secrets.token_hex(4)}"
    log = tmp_path_factory.mktemp("poison") / "daemon.log"
    daemon = harness.Daemon(dsn=module_database, mqtt=(broker.host, broker.port), name=name, log=log)
    publisher = harness.Publisher(broker.host, broker.port)
    started = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=5)
    sent = []
    try:
        daemon.start()
        for number, (kind, (payload, _)) in enumerate(POISON.items()):
            at = (started + dt.timedelta(seconds=number)).isoformat()
            topic = daemon.topics["vehicle"]
            sent.append(publisher.publish(f"{topic}/{kind}", payload.replace(b"AT", at.encode())))
            sent.append(publisher.publish(f"{topic}/good", {"timestamp": at, "soc": 1}))
        publisher.flush(sent)
        harness.wait_for(
            lambda: harness.count(module_database, "vehicle_reading", "vehicle_id = 'good'") == len(POISON),
            what="that every good reading between the poison is stored",
        )
        assert daemon.process.poll() is None
        assert daemon.terminate() == 0, daemon.log()
        assert daemon.events("message.decode_failed") == 0
    finally:
        publisher.close()
        daemon.close()
    with psycopg.connect(module_database) as connection:
        rows = dict(connection.execute("SELECT vehicle_id, count(*) FROM volt.vehicle_reading GROUP BY 1").fetchall())
        letters = connection.execute("SELECT topic, reason FROM volt.dead_letter").fetchall()
    return {
        kind: (rows.get(kind, 0), [reason for topic, reason in letters if topic.endswith(f"/{kind}")])
        for kind in POISON
    }


@pytest.mark.parametrize("kind", POISON)
def test_poison_has_one_fate_in_a_running_daemon(fates, kind):
    """It is one row or one dead letter with a fitting reason, and the readings around it are stored."""
    rows, reasons = fates[kind]
    fitting = POISON[kind][1]
    beside = kind in BESIDE and not set(reasons) & NOT_JSON  # the bad field alone is refused
    assert (rows, len(reasons)) == ((1, 1) if beside else (0, 1) if fitting else (1, 0)), reasons
    assert set(reasons) <= fitting


def test_20000_generated_inputs_each_have_one_fate(migrated_database):
    """From bytes to rows: what goes in is written, a duplicate or a dead letter, and the tables say the same."""
    rig = one_fate.Rig(migrated_database, one_fate.now(), bound_s=15.0)
    try:
        for number in range(20):
            sources = inputs.Generator(f"test:{number}", rig.received_at).messages(1000)
            rig.run(random.Random(number), sources)
        rig.check_rows()
        rig.check_current()
    finally:
        rig.close()
    assert rig.inputs == 20_000
    assert rig.fates["written"] > 10_000


_text = st.text(st.characters(exclude_categories=()), max_size=70)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text | st.integers(-(10**500), 10**500),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_BESIDE = ("timestamp", "createdAt", "vehicleId", "meterId", "type", "payload")
_names = st.sampled_from(_BESIDE) | st.sampled_from(sorted(readings.names()))
_objects = st.dictionaries(_names | _text, _values | st.just("2026-05-01T12:00:00Z"), max_size=8)
_topics = st.sampled_from([b"volt/vehicle/V1/telemetry", b"volt/meter/M1/telemetry", b"volt/ingest"])


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(_topics, _objects | st.lists(_objects | _values, max_size=5) | _values, st.booleans(), st.booleans())
def test_any_json_has_one_fate(topic, value, escaped, envelope):
    """Whatever JSON a device writes, well-formed Unicode or not: each message and element has one fate."""
    if envelope:
        value = {"type": "VEHICLE", "payload": value}
    payload = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    source = inputs.Input("hypothesis", topic, payload)
    now = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([one_fate.message_of(source, 1, now)])
    one_fate.check_fates([source], batch)


@pytest.mark.parametrize("refused_every", [100, 2, 1])
def test_rows_that_only_the_database_refuses_do_not_slow_the_stream(migrated_database, refused_every):
    """A constraint of the house refuses 1 %, half or all of 10,000 rows: a bounded number of statements finds them."""
    with psycopg.connect(migrated_database, autocommit=True) as admin:
        admin.execute("ALTER TABLE volt.vehicle_reading ADD CONSTRAINT house_rule CHECK (soc_pct <> 66)")
    statements = []

    class Counting(psycopg.Cursor):
        def execute(self, query, *args, **options):
            statements.append(query)
            return super().execute(query, *args, **options)

        def copy(self, statement, *args, **options):
            statements.append(statement)
            return super().copy(statement, *args, **options)

    connect = connections.connector(config.Settings(database={"dsn": migrated_database}))

    def as_writer():
        connection = connect()
        connection.execute("SET ROLE volt_writer")
        connection.cursor_factory = Counting
        return connection

    now, count = dt.datetime.now(dt.UTC), 10_000
    messages = []
    for number in range(count):
        at = (now - dt.timedelta(seconds=number)).isoformat()
        soc = 66 if number % refused_every == 0 else 1
        payload = json.dumps({"timestamp": at, "soc": soc}).encode()
        messages.append(models.Message(f"volt/vehicle/V{number % 500}/telemetry", payload, number + 1, now))
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)
    store = write.PostgresStore(as_writer, "poison")
    try:
        started = time.monotonic()
        result = store.write(batch)
        took_s = time.monotonic() - started
    finally:
        store.close()
    refused = -(-count // refused_every)
    assert (result.vehicles_written, result.duplicates, len(result.dead_letters)) == (count - refused, 0, refused)
    assert {letter.reason for letter in result.dead_letters} == {Reason.REJECTED}
    assert all("house_rule" in letter.detail for letter in result.dead_letters)
    assert [getattr(reading, "soc_pct", None) for reading in result.refused] == [66.0] * refused
    assert harness.count(migrated_database, "vehicle_reading") == count - refused
    assert harness.count(migrated_database, "dead_letter") == refused
    assert len(statements) < 40
    assert took_s < 15 * harness.contention(), f"{took_s:.1f} s"


def test_the_same_key_in_refused_and_good_rows(migrated_database):
    """Of a key four times, two are refused, one is stored, and one contradicts it: each is known by its place."""
    with psycopg.connect(migrated_database, autocommit=True) as admin:
        admin.execute("ALTER TABLE volt.meter_reading ADD CONSTRAINT house_rule CHECK (power_kw <> 66)")
    now = dt.datetime.now(dt.UTC)
    payload = json.dumps([{"timestamp": now.isoformat(), "power": power} for power in (66, 1, 2, 66)]).encode()
    message = models.Message("volt/meter/M1/telemetry", payload, 1, now)
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message])
    store = write.PostgresStore(connections.connector(config.Settings(database={"dsn": migrated_database})), "poison")
    try:
        result = store.write(batch)
    finally:
        store.close()
    assert (result.meters_written, result.duplicates, result.conflicting) == (1, 0, 1)
    fates = {letter.element: letter.reason for letter in result.dead_letters}
    assert fates == {0: Reason.REJECTED, 2: Reason.CONFLICT, 3: Reason.REJECTED}
    assert harness.count(migrated_database, "meter_reading", "power_kw = 1") == 1
