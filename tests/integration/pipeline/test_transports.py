"""The daemon's side of the broker over plain TCP, TLS and websockets: each reads, acks and reconnects alike."""

import datetime as dt
import pathlib
import shutil
import tempfile
import threading

import pytest
import trustme

from support import harness
from voltd import config, errors, local, metrics
from voltd.host import identity
from voltd.local import process
from voltd.pipeline.consume import consumer as consume
from voltd.pipeline.consume.client_id import presence
from voltd.pipeline.consume.window import Window

COUNT = 3000


@pytest.fixture(scope="module")
def listeners(servers):
    """A broker with three listeners, and where they are: transport -> mqtt settings."""
    if not servers.broker.controllable or "Docker" in servers.source:
        pytest.skip("the broker's listeners are not ours to set up")
    home = pathlib.Path(tempfile.mkdtemp(prefix="voltd-test-transports-"))
    home.chmod(0o755)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(home / "ca.pem")
    certificate.private_key_pem.write_to_path(home / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(home / "cert.pem")
    for name in ("ca.pem", "key.pem", "cert.pem"):
        (home / name).chmod(0o644)
    tls, websockets = process.free_port(), process.free_port()
    conf = [
        f"listener {tls} 127.0.0.1", f"cafile {home}/ca.pem", f"certfile {home}/cert.pem", f"keyfile {home}/key.pem",
        f"listener {websockets} 127.0.0.1", "protocol websockets",
    ]  # fmt: skip
    started = local.start(home / "servers", progress=lambda _line: None, broker_conf=conf)
    yield {
        "tcp": {"host": "127.0.0.1", "port": started.broker.port},
        "tls": {"host": "localhost", "port": tls, "tls": True, "ca_file": str(home / "ca.pem")},
        "websockets": {"host": "127.0.0.1", "port": websockets, "transport": "websockets"},
    }
    started.stop()
    shutil.rmtree(home)


@pytest.mark.parametrize("transport", ["tcp", "tls", "websockets"])
def test_messages_and_acks(listeners, transport):
    """All messages arrive in order, a 256 KiB payload among them; after a reconnect only what was not acked comes."""
    plain = listeners["tcp"]
    topics = {"vehicle": [transport], "meter": [], "ingest": []}
    wanted = config.Settings(instance=transport, mqtt={**listeners[transport], "topics": topics})
    publisher = harness.Publisher(plain["host"], plain["port"])
    consumer, window, thread = _connect(wanted)
    payloads = [str(number).encode() for number in range(COUNT)]
    payloads[COUNT // 2] = b"z" * (256 << 10)
    publisher.flush([publisher.publish(transport, payload) for payload in payloads])
    taken = _take(window, COUNT)
    assert [message.payload for message in taken] == payloads
    window.release(taken[: COUNT - 10])
    consumer.ack(taken[: COUNT - 10])
    consumer.close()
    thread.join(10)

    consumer, window, thread = _connect(wanted)
    again = _take(window, 10)
    assert [message.payload for message in again] == payloads[-10:]
    assert all(message.redelivered for message in again)
    consumer.close()
    thread.join(10)
    publisher.close()


@pytest.mark.parametrize("transport", ["tcp", "tls", "websockets"])
def test_questions_about_the_client_id(listeners, transport):
    """They go the same way: the first daemon holds the client id, the second one learns that."""
    wanted = config.Settings(instance=f"ask-{transport}", mqtt=listeners[transport])
    first = presence.Presence(wanted, _process("first"))
    thread = threading.Thread(target=first.run, daemon=True)
    thread.start()
    harness.wait_for(lambda: first.may_connect(0.1))
    with pytest.raises(errors.ClientIdTaken, match="host first, pid 1"):
        presence.Presence(wanted, _process("second")).run()
    assert first.may_connect(0.0)
    first.close()
    thread.join(10)


def _process(name):
    return identity.Identity(name, name, 1, dt.datetime.now(dt.UTC))


def _connect(wanted):
    window = Window(64 << 20)
    consumer = consume.Consumer(wanted, window, metrics.Metrics())
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    harness.wait_for(consumer.subscribed.is_set)
    return consumer, window, thread


def _take(window, count):
    taken = []
    harness.wait_for(lambda: taken.extend(window.take(count, 1 << 30, 0.0, 0.0)) or len(taken) >= count)
    return taken
