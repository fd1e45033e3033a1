"""What voltd knows of each edge node: the names behind its aliases, and whether a message of it was missed.

Each message is heard once, in the order of arrival, by the thread that decodes the stream. It comes out with its names
and data types in it. Where a birth is missing, the node is asked for a rebirth (NCMD ``Node Control/Rebirth``), at most
once a minute, and ever more rarely if it does not answer; what it sends in the next moments waits. Time is that of the
messages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from voltd import models
from voltd.pipeline import room
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import taken
from voltd.pipeline.decode.devices.sparkplug import layout, node_state
from voltd.pipeline.decode.devices.sparkplug import payload as protobuf

_MOST_NODES = 50_000
_MOST_TOPICS = 200_000
_MOST_ALIASES = 500_000  # of all nodes
_MOST_BYTES = 128 << 20  # of all nodes: names and devices, with what is around them
_ENTRY_BYTES = 150
_LONGEST_TOPIC = 1024  # characters; no id is made of a longer one
_MOST_OF_A_NODE = 50_000
_LONGEST_NAME = 256  # bytes; a long one, put in for each of many aliases, would fill the memory
_ASK_EVERY = dt.timedelta(seconds=60)
_MOST_SECOND_ASKS = 6  # from then on an hour apart
_ANSWERED_WITHIN = dt.timedelta(seconds=10)
_BOOLEAN = 11
_SIGNED = range(1, 5)
_BIRTHS = frozenset({"NBIRTH", "DBIRTH"})
_SEQUENCE = 256
_MOST_LAYOUT_BYTES = 64 << 20  # of all nodes, about
_LAYOUT_BYTES = 1500  # and five times the message's: as it is and with names
_MOST_LAYOUTS = 16  # of a topic, one a length


def _rebirth() -> bytes:
    command = protobuf.Payload()
    command.metrics.add(name=b"Node Control/Rebirth", datatype=_BOOLEAN, boolean_value=True)
    return bytes(command.SerializeToString())


class Nodes:
    """The edge nodes of one device family; for one thread.

    Args:
        ask: publishes a message of voltd's own: topic, payload. Must not block.
    """

    def __init__(self, ask: Callable[[str, bytes], None]) -> None:
        self._ask = ask
        self._rebirth = _rebirth()
        self._nodes: dict[str, node_state.Node] = {}
        self._addresses: dict[str, tuple[str, str, str]] = {}
        self._room = room.Room(_MOST_TOPICS, _MOST_BYTES)
        self._aliases = self._held = 0
        self._layout_bytes = 0

    def listener(self, kind: str) -> taken.Listener:
        """Who hears the messages of one kind."""
        return _Listener(self, kind)

    def hear(self, kind: str, message: models.Message) -> models.Message | taken.Heard:
        """What a message becomes, with the names of its metrics in it. Never raises for a payload."""
        key, command, device = self._addresses.get(message.topic) or self._address(kind, message.topic)
        try:
            payload, metrics = parsed = protobuf.parse(message.payload)
        except fields.Invalid:
            return message
        if message.retained:  # it says nothing of the node as it is now
            return message
        node = self._nodes.get(key) or self._node(key)
        if kind == "NDEATH":
            return taken.Heard(message, key, died=self._died(node, metrics))
        if kind == "NBIRTH":
            self._born(node, payload, metrics)
        else:
            self._count(node, payload, redelivered=message.redelivered)
        if not node.born:
            self._ask_rebirth(node, command, message.received_at)
        is_birth = kind in _BIRTHS
        if is_birth:
            self._learn(key, device, metrics)
        elif metrics and metrics[0].is_historical and all(metric.is_historical for metric in metrics):
            message = message._replace(retained=True)  # history that fires nothing, like the broker's
        named = node.put_names(device, metrics)
        if named is None:
            self._ask_rebirth(node, command, message.received_at)
            until = node.asked + _ANSWERED_WITHIN if node.asked else message.received_at
            waits = message.received_at < until
            return taken.Heard(None if waits else message, key, until=until)
        original = message.payload
        if named:
            message = models.Message._make((message.topic, payload.SerializeToString(), *message[2:]))
        protobuf.keep(message.payload, parsed)
        return taken.Heard(message, key, born=True) if is_birth else self._with_layout(node, message, original)

    def quick(self, message: models.Message) -> models.Message | None:
        """A message that is written like an earlier one, with its names; None: it has to be heard thoroughly."""
        address = self._addresses.get(message.topic)
        node = self._nodes.get(address[0]) if address is not None else None
        if node is None or message.retained or message.redelivered:
            return None
        known = node.layouts.get(message.topic)
        found = known.get(len(message.payload)) if known is not None else None
        filled = found.fill(message.payload) if found is not None else None
        if filled is None:
            return None
        if filled.seq is not None:
            if node.seq is not None and filled.seq not in (node.seq, (node.seq + 1) % _SEQUENCE):
                return None
            node.seq = filled.seq
        if filled.payload is not message.payload:
            message = models.Message._make((message.topic, filled.payload, *message[2:]))
        protobuf.keep(filled.payload, filled)
        return message

    def _with_layout(self, node: node_state.Node, message: models.Message, original: bytes) -> models.Message:
        """The same message, after its layout was learned where it has one, and there is room for it."""
        size = len(original)
        if not node.born or message.retained or message.redelivered or size > layout.LONGEST:
            return message
        known = node.layouts.setdefault(message.topic, {})
        if size in known:
            there = known[size]
            if there is None or there.patience > 0:
                return message
        elif len(known) >= _MOST_LAYOUTS or self._layout_bytes > _MOST_LAYOUT_BYTES:
            return message
        else:
            node.layout_bytes += _LAYOUT_BYTES + 5 * size
            self._layout_bytes += _LAYOUT_BYTES + 5 * size
        known[size] = layout.learn(original, message.payload)
        return message

    def again(self, kind: str, message: models.Message) -> models.Message | None:
        """A message that has waited, with its names; None: the birth that has come does not have them all."""
        key, _, device = self._address(kind, message.topic)
        payload, metrics = protobuf.parse(message.payload)
        named = self._node(key).put_names(device, metrics)
        return None if named is None else message._replace(payload=payload.SerializeToString())

    def _address(self, kind: str, topic: str) -> tuple[str, str, str]:
        """The node's key, the topic of commands to it, and the device, empty where it is the node itself."""
        prefix, _, name, device = topic.rsplit("/", 3) if kind.startswith("D") else (*topic.rsplit("/", 2), "")
        found = (f"{prefix}/{name}", f"{prefix}/NCMD/{name}", device)
        if self._room.take(self._addresses, 4 * len(topic)):
            self._addresses[topic] = found
        return found

    def _node(self, key: str) -> node_state.Node:
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= _MOST_NODES:  # a stream of invented nodes must not fill the memory
                self._drop(next(iter(self._nodes)))
            node = self._nodes[key] = node_state.Node()
        return node

    def _drop(self, key: str) -> None:
        self._forget(self._nodes.pop(key))

    def _forget(self, node: node_state.Node) -> None:
        self._aliases -= node.size
        self._held -= node.held
        node.forget()
        self._drop_layouts(node)

    def _drop_layouts(self, node: node_state.Node) -> None:
        self._layout_bytes -= node.layout_bytes
        node.layouts, node.layout_bytes = {}, 0

    def _born(self, node: node_state.Node, payload: Any, metrics: list[Any]) -> None:
        self._forget(node)
        node.born, node.asks = True, 0
        node.seq = payload.seq if payload.HasField("seq") else None
        node.session = node_state.session_of(metrics)

    def _died(self, node: node_state.Node, metrics: list[Any]) -> bool:
        """Forgets the node, unless it is the death of a session that ended before the current birth."""
        session = node_state.session_of(metrics)
        if None not in (session, node.session) and session != node.session:
            return False
        self._forget(node)
        node.seq = node.session = None
        return True

    def _count(self, node: node_state.Node, payload: Any, *, redelivered: bool) -> None:
        """After a gap a birth may have been missed, and aliases may mean something else.

        The number of a redelivered message may have been counted already.
        """
        seq = payload.seq
        if redelivered:
            return
        if not seq and not payload.HasField("seq"):
            return
        if node.seq is not None and seq not in (node.seq, (node.seq + 1) % _SEQUENCE):
            self._forget(node)
        node.seq = seq

    def _ask_rebirth(self, node: node_state.Node, topic: str, at: dt.datetime) -> None:
        pause = _ASK_EVERY * 2 ** max(0, min(node.asks - 1, _MOST_SECOND_ASKS))
        if node.asked is None or abs(at - node.asked) >= pause:
            node.asked, node.asks = at, node.asks + 1
            self._ask(topic, self._rebirth)

    def _learn(self, key: str, device: str, metrics: list[Any]) -> None:
        node = self._nodes[key] = self._nodes.pop(key)  # the last one to be dropped
        before, held = node.size, node.held
        self._drop_layouts(node)  # names and data types may be others now
        for metric in metrics:
            if not metric.name or node.size >= _MOST_OF_A_NODE:
                continue
            signed = metric.datatype if metric.datatype in _SIGNED else 0
            name = metric.name[:_LONGEST_NAME]
            if signed:
                if (device, name) not in node.types:
                    node.held += _ENTRY_BYTES + len(device) + len(name)
                node.types[device, name] = signed
            if metric.HasField("alias"):
                there = node.aliases.get(metric.alias)
                node.held += len(name) - len(there[0]) if there else _ENTRY_BYTES + len(name)
                node.aliases[metric.alias] = (name, signed)
        self._aliases += node.size - before
        self._held += node.held - held
        while self._aliases > _MOST_ALIASES or self._held > _MOST_BYTES:
            self._drop(next(iter(self._nodes)))


class _Listener:
    def __init__(self, nodes: Nodes, kind: str) -> None:
        self._nodes, self._kind = nodes, kind

    def hear(self, message: models.Message) -> models.Message | taken.Heard:
        """See ``taken.Listener``."""
        quick = self._nodes.quick(message)
        if quick is not None or len(message.topic) > _LONGEST_TOPIC:
            return quick or message
        return self._nodes.hear(self._kind, message)

    def again(self, message: models.Message) -> models.Message | None:
        """See ``taken.Listener``."""
        return self._nodes.again(self._kind, message)
