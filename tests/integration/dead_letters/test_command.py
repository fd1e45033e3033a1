"""Dead letters that people can use: found by filters, shown, discarded, and closed to whoever may not see payloads."""

import datetime as dt
import json
import os
import pty
from concurrent import futures

import pytest
from psycopg import conninfo

from support import dead_letters, harness
from support.dead_letters import NOW, reading


@pytest.fixture
def rig(migrated_database, tmp_path):
    return dead_letters.Rig(migrated_database, tmp_path)


def test_the_same_filters_everywhere(rig):
    """Reason, topic with MQTT's wildcards, time and numbers choose what is listed, replayed and discarded."""
    rig.receive(("volt/vehicle/V1/telemetry", b"old"), at=NOW - dt.timedelta(days=2))
    rig.receive(
        ("volt/vehicle/V2/telemetry", b"malformed"),
        ("volt/vehicle/V.3/telemetry", b"malformed"),
        ("volt/meter/M/telemetry", []),
        ("volt/vehicle", b"malformed"),
    )
    numbers = {topic: str(number) for number, topic in rig.rows("SELECT id, topic FROM volt.dead_letter")}
    old, second, third, meter, above = (str(number) for number in range(1, 6))
    assert list(numbers.values()) == [old, second, third, meter, above]
    cases = [
        (["--reason", "no_measurement"], {meter}),
        (["--topic", "volt/vehicle/V2/+"], {second}),
        (["--topic", "volt/+/V.3/telemetry"], {third}),
        (["--topic", "volt/vehicle/V3/telemetry"], set()),
        (["--topic", "volt/vehicle/V?3/telemetry"], set()),
        (["--topic", "volt/vehicle/#"], {old, second, third, above}),
        (["--topic", "#"], {old, second, third, meter, above}),
        (["--since", "1d"], {second, third, meter, above}),
        (["--until", "1d"], {old}),
        (["--until", (NOW - dt.timedelta(days=1)).isoformat()], {old}),
        (["--since", "3d", "--until", "1d", "--reason", "not_json"], {old}),
        ([second, meter, "77"], {second, meter}),
        ([second, "--reason", "no_measurement"], set()),
    ]

    def compare(case):
        words, expected = case
        listed = [json.loads(line) for line in rig.voltd("list", "--json", *words).splitlines()]
        assert {str(row["id"]) for row in listed} == expected, words
        text = rig.voltd("replay", "--dry-run", *words, code=1 if expected else 0)
        assert (f"{len(expected)} dead letter" if expected else "nothing to replay") in text, words
        assert f"{len(expected)} dead letter" in rig.voltd("discard", *words, code=2), words

    with futures.ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(compare, cases))) == len(cases)
    assert harness.count(rig.dsn, "dead_letter") == 5
    assert "1 dead letter deleted" in rig.voltd("discard", "--yes", "--until", "1d")
    assert "2 dead letters deleted" in rig.voltd("discard", "--yes", second, above)
    assert rig.rows("SELECT id FROM volt.dead_letter ORDER BY id") == [(int(third),), (int(meter),)]


@pytest.mark.parametrize(
    "words",
    [["--topic", ""], ["--topic", "volt/#/x"], ["--topic", "volt/V+"], ["--since", "monday"], ["--since", ""],
     ["--since", "99999999999d"], ["--since", "²d"], ["0"], ["99999999999999999999"], ["--reason", "bad"]],
)  # fmt: skip
def test_a_filter_that_says_nothing_is_not_all(rig, words):
    """An empty or impossible filter is a mistake: nothing is deleted for it."""
    rig.receive(("volt/vehicle/V1/telemetry", b"malformed"))
    assert words[-1] in rig.voltd("discard", "--yes", *words, code=2)
    assert harness.count(rig.dsn, "dead_letter") == 1


def test_discarding_has_to_be_confirmed(rig):
    """Without --yes nobody is asked where there is no terminal, and nothing is deleted."""
    rig.receive(("volt/vehicle/V1/telemetry", b"malformed"))
    text = rig.voltd("discard", code=2)
    assert "1 dead letter would be deleted" in text
    assert "--yes" in text
    assert harness.count(rig.dsn, "dead_letter") == 1


@pytest.mark.parametrize(("answer", "left"), [(b"\n", 1), (b"n\n", 1), (b"\x04", 1), (b"y\n", 0)])
def test_discard_asks_on_a_terminal(rig, answer, left, tmp_path):
    """Only a yes deletes; no answer, a no and the end of input do not."""
    rig.receive(("volt/vehicle/V1/telemetry", b"malformed"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"VOLTD_DATABASE__DSN": rig.dsn, "VOLTD_SPOOL__DIRECTORY": str(tmp_path)}
        os.execv(dead_letters.VOLTD, ["voltd", "dead-letters", "discard"])  # noqa: S606 a child of this test
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 1024)
    assert b"delete 1 dead letter for good" in said
    os.write(terminal, answer)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert harness.count(rig.dsn, "dead_letter") == left


def test_what_a_device_sent_cannot_steer_the_terminal(rig):
    """Control characters are written out; --raw gives the payload byte by byte."""
    body = b'{"timestamp": "\x1b]0;owned\x07", \xff'
    rig.receive(("volt/vehicle/V1/telemetry", body), ("volt/vehicle/V\x1b[2J/telemetry", b'"\x9b"'))
    shown = rig.voltd("show", "1")
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07" in shown
    assert "\x1b" not in rig.voltd("list")
    process = rig.start("show", "1", "--raw")
    assert process.communicate()[0] == body


def test_the_list_says_when_there_is_more(rig):
    """The newest are shown, and how many there are."""
    rig.receive(*((f"volt/vehicle/V{number}/telemetry", b"malformed") for number in range(5)))
    text = rig.voltd("list", "--limit", "2")
    assert "V4" in text
    assert "V2" not in text
    assert "the newest 2 of 5 dead letters" in text
    assert "newest" not in rig.voltd("list", "--limit", "5")


def test_payloads_are_the_owners(rig):
    """The daemon's role can list, but neither show, replay nor discard, and learns which role can."""
    rig.receive(("volt/vehicle/V1/telemetry", b"secret"))
    options = {"database__dsn": f"{rig.dsn} options='-c role=volt_writer'"}
    assert "secret" not in rig.voltd("list", **options)
    for words in (("show", "1"), ("replay",), ("replay", "--dry-run"), ("discard", "--yes")):
        text = rig.voltd(*words, code=78, **options)
        assert "volt_owner" in text
        assert "database.migrate_dsn" in text
        assert "secret" not in text
    owner = {"database__migrate_dsn": f"{rig.dsn} options='-c role=volt_owner'"}
    assert "secret" in rig.voltd("show", "1", **options, **owner)
    assert "1 not_json" in rig.voltd("replay", code=1, **options, **owner)
    assert "1 dead letter deleted" in rig.voltd("discard", "--yes", **options, **owner)


def test_a_user_without_any_role_and_a_database_without_schema(rig, migrated_database):
    """Each learns what is missing, with the exit code of a configuration error."""
    nobody = {"database__dsn": f"{rig.dsn} options='-c role=pg_read_all_settings'"}
    assert "volt_reader" in rig.voltd("list", code=78, **nobody)
    assert "replay and discard, set database.migrate_dsn" in rig.voltd("replay", code=78, **nobody)
    empty = {"database__dsn": conninfo.make_conninfo(migrated_database, dbname="postgres")}
    for words in (("list",), ("show", "1"), ("replay",), ("discard", "--yes")):
        assert "voltd migrate" in rig.voltd(*words, code=78, **empty)


def test_a_database_that_does_not_answer(rig):
    """Runtime failure, said in a sentence."""
    for words in (("list",), ("show", "1"), ("replay",), ("discard", "--yes")):
        assert "database" in rig.voltd(*words, code=1, database__dsn="host=127.0.0.1 port=1 dbname=x")


def test_show_of_what_is_not_there(rig):
    """Exit code 1, and where to look."""
    assert "voltd dead-letters list" in rig.voltd("show", "5", code=1)
    rig.receive(("volt/vehicle/V1/telemetry", [reading(1), reading(2, soc=500)]))
    assert "soc" in rig.voltd("show", "1")
