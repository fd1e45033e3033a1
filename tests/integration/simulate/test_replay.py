"""``voltd replay`` as a person runs it, against a real broker: what it says first, how it ends, what it promises."""

import datetime as dt
import gzip
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support import commands

PATIENCE_S = 30


class _Received(list):
    """Messages with the time at which each arrived."""

    def __init__(self):
        super().__init__()
        self._more = threading.Condition()

    def add(self, message):
        with self._more:
            self.append((dt.datetime.now(dt.UTC), message))
            self._more.notify_all()

    def wait_for(self, count):
        with self._more:
            assert self._more.wait_for(lambda: len(self) >= count, PATIENCE_S), len(self)


@pytest.fixture
def ids():
    """A device id that no other test uses on the same broker."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def listen(broker):
    """A function that makes a subscriber to one vehicle's topic; a list of what it has received, with the times."""
    clients = []

    def listen_to(device, *, session=None):
        received = _Received()
        subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, session or "", protocol=paho.MQTTv5)
        client.on_message = lambda _client, _data, message: received.add(message)
        client.on_subscribe = lambda *_: subscribed.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 60 if session else 0
        client.connect(broker.host, broker.port, properties=properties)
        client.loop_start()
        client.subscribe(f"volt/vehicle/{device}/telemetry", qos=1)
        assert subscribed.wait(PATIENCE_S)
        clients.append(client)
        return received, client

    yield listen_to
    for client in clients:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def environment(broker):
    """A function: other variables of the command -> all of them."""
    address = {"VOLTD_MQTT__HOST": broker.host, "VOLTD_MQTT__PORT": str(broker.port)}
    return lambda others: {**os.environ, **address, "VOLTD_INSTANCE": "no-such-instance", **others}


@pytest.fixture
def start(environment):
    """A function that starts the command; what is still running at the end is killed."""
    processes = []

    def start_command(*words, **how):
        environ = environment(how.pop("env", {}))
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        code = "import sys; from voltd import cli; sys.exit(cli.main())"
        processes.append(subprocess.Popen([sys.executable, "-c", code, "replay", *words], env=environ, **how))
        return processes[-1]

    yield start_command
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def run(start, environment):
    """A function that runs the command to its end: exit code, stdout, stderr."""

    def run_command(*words, content=None, env=None):
        if content is None:
            done = commands.run(["replay", *words], environment(env or {}), PATIENCE_S)
            return done.returncode, done.stdout, done.stderr
        process = start(*words, stdin=subprocess.PIPE)
        out, err = process.communicate(content, timeout=PATIENCE_S)
        return process.returncode, out.decode(), err.decode()

    return run_command


def _csv(device, *rows):
    return "\n".join(["vehicleId,timestamp,soc", *(f"{device},{row}" for row in rows), ""])


def test_nobody_subscribes(run, ids, tmp_path):
    """The broker's answer is passed on: nobody stores this, and the command does not end as if it had succeeded."""
    path = tmp_path / "r.csv"
    path.write_text(_csv(ids, "2021-03-29T11:00:00Z,1", "2021-03-29T11:00:01Z,2"))
    code, out, err = run("--fast", "--now", str(path))
    assert code == 1
    assert "stored by nobody: 2 of these readings" in out
    assert f"no subscriber for volt/vehicle/{ids}/telemetry" in err
    assert err.count("no subscriber") == 1


def test_subscriber_is_away(run, listen, ids, tmp_path):
    """A session whose subscriber is away is a subscriber: the broker keeps the readings, and the command succeeds."""
    path = tmp_path / "r.csv"
    path.write_text(_csv(ids, "2021-03-29T11:00:00Z,1"))
    _, client = listen(ids, session=ids)
    client.disconnect()
    client.loop_stop()
    code, out, err = run("--fast", "--now", str(path))
    assert (code, "nobody" in out + err) == (0, False)
    assert "published 1 vehicle" in out


def test_daemon_that_says_it_is_offline(run, listen, ids, tmp_path):
    """Its retained status tells why nothing is stored yet; what is no status is not believed."""
    path = tmp_path / "r.csv"
    path.write_text(_csv(ids, "2021-03-29T11:00:00Z,1"))
    _, client = listen(ids)
    for status, said in ((b'{"status":"offline"}', True), (b'{"status":"online"}', False), (b"[]", False)):
        client.publish(f"voltd/{ids}/status", status, qos=1, retain=True).wait_for_publish(PATIENCE_S)
        code, _, err = run("--fast", "--now", str(path), env={"VOLTD_INSTANCE": ids})
        assert (code, f"voltd {ids} is offline" in err) == (0, said), err
    client.publish(f"voltd/{ids}/status", b"", qos=1, retain=True).wait_for_publish(PATIENCE_S)


def test_strict(run, listen, ids, tmp_path):
    """--strict publishes nothing where anything is odd, says what, and publishes what is clean."""
    path = tmp_path / "r.csv"
    received, _ = listen(ids)
    path.write_text(_csv(ids, "2021-03-29 11:00:00,63", "2021-03-29T11:00:01Z,NA"))
    code, out, err = run("--fast", "--now", "--strict", str(path))
    assert (code, out) == (1, "")
    assert f"{path}:2: timestamp: 2021-03-29 11:00:00 has no offset" in err
    assert f"{path}:3: soc: NA" in err
    assert "nothing was published" in err
    path.write_text(_csv(ids, "2021-03-29T11:00:00Z,63"))
    assert run("--fast", "--now", "--strict", str(path))[0] == 0
    received.wait_for(1)
    assert [json.loads(message.payload)["soc"] for _, message in received] == [63]


@pytest.mark.parametrize(
    "content", [b"vehicleId,timestamp,soc\n", b"vehicleId,timestamp,soc\nbroken\n", b'{"soc":1}\n']
)
def test_nothing_to_publish(run, content):
    """A recording without a reading that can be published is no success."""
    code, out, err = run("--fast", "-", content=content)
    assert code == 1
    assert "published 0 vehicle" in out
    assert "nothing was published" in err


def test_empty_input(run):
    """An empty recording is a mistake of whoever calls."""
    code, out, err = run("-", content=b"")
    assert (code, out) == (2, "")
    assert "standard input is empty" in err


@pytest.mark.parametrize("words", [[], ["--fast"], ["--now"], ["--strict", "--fast", "--now"]])
def test_standard_input(run, listen, ids, words):
    """Gzip through a pipe: buffered where times or all of it must be known first, else published as it comes."""
    received, _ = listen(ids)
    content = gzip.compress(_csv(ids, "2021-03-29T11:00:00Z,1", "2021-03-29T11:00:01Z,2").encode())
    code, out, err = run(*words, "-", content=content)
    assert code == 0, err
    assert "published 2 vehicle" in out
    received.wait_for(2)
    assert [json.loads(message.payload)["soc"] for _, message in received] == [1, 2]
    assert ("as they come" in err) == (words == ["--fast"])


def test_pipe_that_never_ends(start, listen, ids):
    """Each row goes out as it comes, mistakes are named as they pass, and Ctrl-C ends it with 1 and the tally."""
    received, _ = listen(ids)
    process = start("--fast", "-", stdin=subprocess.PIPE)
    now = dt.datetime.now(dt.UTC).isoformat()
    for row in (f"{now},1", f"{now},NA", f"{now},NA"):
        process.stdin.write(_csv(ids, row).encode() if row.endswith(",1") else f"{ids},{row}\n".encode())
        process.stdin.flush()
    lines = [process.stderr.readline().decode() for _ in range(2)]
    assert "standard input:3: soc: NA" in lines[1]
    received.wait_for(3)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1  # before communicate ends the pipe
    out, err = process.communicate(timeout=PATIENCE_S)
    assert b"published 3 vehicle" in out
    assert b"(2 rows)" in err
    assert b"ended before" in err


def test_from_now_at_the_recorded_pace(run, listen, ids, tmp_path):
    """Each reading arrives when its time comes, although one clock was years ahead."""
    path = tmp_path / "r.csv"
    rows = [f"2021-03-29T11:00:0{second}Z,{second}" for second in range(3)]
    path.write_text(_csv(ids, *rows[:2], "2032-01-01T00:00:00Z,9", *rows[2:]))
    received, _ = listen(ids)
    code, _, err = run("--from-now", str(path))
    assert code == 0, err
    assert f"{path}:4: 2032-01-01T00:00:00Z is far from all others" in err
    received.wait_for(4)
    payloads = [(at, json.loads(message.payload)) for at, message in received]
    assert [payload["soc"] for _, payload in payloads] == [0, 1, 9, 2]
    late = [at - dt.datetime.fromisoformat(payload["timestamp"]) for at, payload in payloads if payload["soc"] != 9]
    assert all(dt.timedelta() <= age < dt.timedelta(seconds=PATIENCE_S) for age in late)
    assert max(late) - min(late) < dt.timedelta(seconds=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal(start, listen, ids, tmp_path, number):
    """Ctrl-C and SIGTERM end it at once with the tally and exit 1; the progress has total, share and end."""
    path = tmp_path / "r.csv"
    path.write_text(_csv(ids, *(f"2021-03-29T1{hour}:00:00Z,1" for hour in range(4))))
    listen(ids)
    ours, theirs = pty.openpty()
    process = start("--from-now", str(path), stderr=theirs)
    os.close(theirs)
    shown = ""
    while "ends in" not in shown:
        shown += os.read(ours, 4096).decode()
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert process.returncode == 1
    assert b"published 1 vehicle" in out
    assert "of 4 readings (" in shown
    assert "ends in 2 h 59 min" in shown or "ends in 3 h" in shown


@pytest.mark.parametrize(
    "words", [["--connections", "0"], ["--shift", "nan"], ["--shift", "inf"], ["--speed", "nan"], ["--zone", "Nowhere"]]
)
def test_options_that_make_no_sense(run, tmp_path, words):
    """They are usage errors before anything is read."""
    code, out, err = run(*words, str(tmp_path / "absent.csv"))
    assert (code, out) == (2, "")
    assert words[0] in err
