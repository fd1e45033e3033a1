"""The fake and the real store, the fake and the real broker: each contract test runs on both."""

import re
import secrets
import threading

import psycopg
import pytest

from support import fakes, harness, proxies
from voltd import config, metrics
from voltd.database import connections
from voltd.pipeline.consume import consumer, window
from voltd.pipeline.write import store

CLIENT_ID = "contract"


class FakeStoreRig:
    """The fake, asked like the real one."""

    def __init__(self):
        self.store = fakes.FakeStore()

    def vehicles(self):
        return {(key[0], row.soc_pct) for key, row in self.store.vehicles.items()}

    def whole_vehicles(self):
        rows = self.store.vehicles.values()
        return [(row.soc_pct, row.dc_register_kwh, row.latitude, row.longitude) for row in rows]

    def whole_meters(self):
        return [(row.ac_register_kwh, row.voltage_v, row.power_kw) for row in self.store.meters.values()]

    def dead_letters(self):
        return sorted(str(letter.reason) for letter in self.store.dead_letters)

    def lose_next_reply(self):
        self.store.fail("unanswered")

    def away(self):
        self.store.fail("unavailable")

    def close(self):
        """Nothing to give back."""


class PostgresStoreRig:
    """The real store on a database of its own, behind a proxy that can lose the reply of a COMMIT."""

    def __init__(self, dsn):
        self._dsn = dsn
        info = psycopg.conninfo.conninfo_to_dict(dsn)
        self._proxy = proxies.CommitLosingProxy(str(info["host"]), int(info["port"]))
        host, port = self._proxy.address
        through = psycopg.conninfo.make_conninfo(dsn, host=host, port=port)
        self.store = store.PostgresStore(connections.connector(config.Settings(database={"dsn": through})), CLIENT_ID)

    def vehicles(self):
        with psycopg.connect(self._dsn) as connection:
            return set(connection.execute("SELECT vehicle_id, soc_pct FROM volt.vehicle_reading").fetchall())

    def whole_vehicles(self):
        with psycopg.connect(self._dsn) as connection:
            columns = "soc_pct, dc_register_kwh, latitude, longitude"
            return connection.execute(f"SELECT {columns} FROM volt.vehicle_reading").fetchall()

    def whole_meters(self):
        with psycopg.connect(self._dsn) as connection:
            return connection.execute("SELECT ac_register_kwh, voltage_v, power_kw FROM volt.meter_reading").fetchall()

    def dead_letters(self):
        with psycopg.connect(self._dsn) as connection:
            return [row[0] for row in connection.execute("SELECT reason FROM volt.dead_letter ORDER BY 1")]

    def lose_next_reply(self):
        self._proxy.lose_reply_of_commit()

    def away(self):
        self._proxy.cut()
        self.store.close()
        self._proxy.refuse_once()

    def close(self):
        self.store.close()
        self._proxy.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.servers)])
def store_rig(request):
    if request.param == "fake":
        rig: FakeStoreRig | PostgresStoreRig = FakeStoreRig()
    else:
        dsn = request.getfixturevalue("migrated_database")
        rig = PostgresStoreRig(dsn)
    yield rig
    rig.close()


class FakeBrokerRig:
    """The fake broker with the window it delivers into."""

    receive_maximum = 10
    keeps_to_the_window = True

    def __init__(self):
        self.window = window.Window(1 << 20)
        self._broker = fakes.FakeBroker(self.receive_maximum)
        self.ack = self._broker.ack

    def connect(self):
        self._broker.connect(self.window)

    def disconnect(self):
        self._broker.disconnect()

    def publish(self, payloads):
        for payload in payloads:
            self._broker.publish("t", payload)

    def close(self):
        """Nothing to give back."""


class RealBrokerRig:
    """A real broker; ``Consumer`` in a thread delivers into the window."""

    receive_maximum = 10

    def __init__(self, broker):
        self._topic = f"contract{secrets.token_hex(4)}"
        self._settings = config.Settings(
            instance=self._topic,
            mqtt={
                "host": broker.host,
                "port": broker.port,
                "receive_maximum": self.receive_maximum,
                "topics": {"vehicle": [self._topic], "meter": [], "ingest": []},
            },
        )
        self.window = window.Window(1 << 20)
        self.counters = metrics.Metrics()
        self._publisher = harness.Publisher(broker.host, broker.port)
        self._consumer = None
        self._proxy = proxies.Proxy(broker.host, broker.port)
        host, port = self._proxy.address
        self._settings = self._settings.model_copy(
            update={"mqtt": self._settings.mqtt.model_copy(update={"host": host, "port": port, "reconnect_max_s": 0.1})}
        )

    @property
    def keeps_to_the_window(self):
        """False for Mosquitto before 2.0.13, whose change log of that release says: fixes around inflight quota."""
        version = re.fullmatch(
            r"mosquitto version (\d+)\.(\d+)\.(\d+)", self._publisher.retained("$SYS/broker/version")
        )
        return version is None or tuple(map(int, version.groups())) >= (2, 0, 13)

    def connect(self):
        if self._consumer is None:
            self._consumer = consumer.Consumer(self._settings, self.window, self.counters)
            self._thread = threading.Thread(target=self._consumer.run)
            self._thread.start()
        self._proxy.admit()
        harness.wait_for(self._consumer.subscribed.is_set)

    def disconnect(self):
        self._proxy.shut_out()
        self._proxy.cut()
        harness.wait_for(lambda: not self._consumer.subscribed.is_set())

    def ack(self, messages):
        self._consumer.ack(messages)

    def publish(self, payloads):
        self._publisher.flush([self._publisher.publish(self._topic, payload) for payload in payloads])

    def close(self):
        if self._consumer:
            self._proxy.admit()
            self._consumer.close()
            self._thread.join(10)
            assert not self._thread.is_alive()
        self._publisher.close()
        self._proxy.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.servers)])
def broker_rig(request):
    rig = FakeBrokerRig() if request.param == "fake" else RealBrokerRig(request.getfixturevalue("broker"))
    yield rig
    rig.close()
