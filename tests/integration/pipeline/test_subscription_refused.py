"""A broker that lets the daemon in and refuses its subscription."""

import contextlib
import secrets
import threading

import pytest

from support import harness, proxies
from voltd import config, errors, metrics
from voltd.pipeline.consume import consumer as consume
from voltd.pipeline.consume import window

SUBACK = b"\x90"


class Refusing(proxies.Proxy):
    """Puts a reason code of its own into every SUBACK (MQTT 5, 3.9), where it has one."""

    code = None
    refused = 0

    def transfer(self, data, sink, *, from_client):
        if not from_client and data[:1] == SUBACK and self.code is not None:
            end = 2 + data[1]
            data = data[: end - 1] + bytes([self.code]) + data[end:]
            self.refused += 1
        sink.sendall(data)


@pytest.fixture
def proxy(broker):
    made = Refusing(broker.host, broker.port)
    yield made
    made.close()


@pytest.fixture
def start(proxy):
    """A function: the consumer, running in a thread of its own, with the list of what has ended it."""
    with contextlib.ExitStack() as started:

        def make():
            host, port = proxy.address
            topic = f"refused{secrets.token_hex(4)}"
            mqtt = {"host": host, "port": port, "reconnect_max_s": 0.1}
            mqtt["topics"] = {"vehicle": [topic], "meter": [], "ingest": []}
            settings = config.Settings(instance=topic, mqtt=mqtt)
            consumer = consume.Consumer(settings, window.Window(1 << 20), metrics.Metrics())
            ended = []

            def run():
                try:
                    consumer.run()
                except errors.VoltdError as error:
                    ended.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            started.callback(thread.join, 10)
            started.callback(consumer.close)
            return consumer, ended

        yield make


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
def test_on_a_reconnect(start, proxy, code):
    """It was allowed before: an access list that is away comes back, and so does the daemon."""
    consumer, ended = start()
    harness.wait_for(consumer.subscribed.is_set)
    proxy.code = code
    proxy.cut()
    harness.wait_for(lambda: proxy.refused >= 2, what="two refusals")
    assert not consumer.subscribed.is_set()
    proxy.code = None
    harness.wait_for(consumer.subscribed.is_set, what="the subscription")
    assert not ended


@pytest.mark.parametrize("code", [0x80, 0x83, 0x97])
def test_for_a_reason_that_passes(start, proxy, code):
    """An unspecified error or a quota is no mistake in the settings."""
    proxy.code = code
    consumer, ended = start()
    harness.wait_for(lambda: proxy.refused >= 2 or ended, what="two refusals")
    proxy.code = None
    harness.wait_for(lambda: consumer.subscribed.is_set() or ended, what="the subscription")
    assert not ended


@pytest.mark.parametrize("code", [0x87, 0x8F, 0x9E, 0xA2])
def test_for_good(start, proxy, code):
    """Never allowed, or no such thing at this broker: it ends, and says which filter."""
    proxy.code = code
    consumer, ended = start()
    harness.wait_for(lambda: ended, what="the end")
    assert isinstance(ended[0], errors.BrokerRefused)
    assert consumer._settings.mqtt.topics.vehicle[0] in str(ended[0])
    assert ended[0].exit_code == 78
