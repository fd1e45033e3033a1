"""What the broker's side promises to ``flush``: order, the window, redelivery, and whose acks count."""

from support import harness


def held(rig, count):
    return harness.wait_for(lambda: rig.window.in_flight == count, what=f"{count} held messages")


def take(rig, count=100):
    return rig.window.take(count, 1 << 20, 0.0, 0.0)


def payloads(count, first=0):
    return [str(number).encode() for number in range(first, first + count)]


def test_messages_arrive_in_the_order_published(broker_rig):
    broker_rig.connect()
    broker_rig.publish(payloads(5))
    held(broker_rig, 5)
    taken = take(broker_rig)
    assert [message.payload for message in taken] == payloads(5)
    assert not any(message.redelivered for message in taken)
    assert len({message.packet_id for message in taken}) == 5


def test_withheld_acks_close_the_window(broker_rig):
    """Invariant 2: never more than Receive Maximum; an ack lets the next one come.

    Mosquitto before 2.0.13 counts only what it had sent before the acked message: each ack in order lets a whole window
    follow. There the daemon's bound is ``limits.max_held_bytes``.
    """
    broker_rig.connect()
    broker_rig.publish(payloads(25))
    held(broker_rig, 10)
    broker_rig.publish(payloads(5, first=25))
    assert broker_rig.window.in_flight == 10
    first = take(broker_rig, 4)
    broker_rig.window.release(first)
    broker_rig.ack(first)
    following = 10 if broker_rig.keeps_to_the_window else 26
    held(broker_rig, following)
    assert [message.payload for message in take(broker_rig)] == payloads(following, first=4)


def test_what_is_not_acked_comes_again_after_a_reconnect(broker_rig):
    """With DUP, in order, on the new connection; what was acked does not."""
    broker_rig.connect()
    broker_rig.publish(payloads(12))
    held(broker_rig, 10)
    done = take(broker_rig, 2)
    broker_rig.window.release(done)
    broker_rig.ack(done)
    held(broker_rig, 10)  # the last two could only come because the broker has both acks
    broker_rig.disconnect()
    broker_rig.connect()
    again = []
    harness.wait_for(lambda: again.extend(take(broker_rig)) or len(again) >= 10)
    assert [message.payload for message in again] == payloads(10, first=2)
    assert all(message.redelivered for message in again)
    assert broker_rig.window.in_flight == 10


def test_acks_of_an_earlier_connection_are_void(broker_rig):
    """Invariant 5: such an ack must not hit a message that has the same packet id now."""
    broker_rig.connect()
    broker_rig.publish(payloads(3))
    held(broker_rig, 3)
    old = take(broker_rig)
    broker_rig.window.release(old)
    broker_rig.disconnect()
    broker_rig.connect()
    held(broker_rig, 3)
    broker_rig.ack(old)
    broker_rig.disconnect()
    broker_rig.connect()
    again = []
    harness.wait_for(lambda: again.extend(take(broker_rig)) or len(again) == 3)
    assert [message.payload for message in again] == payloads(3)


def test_what_is_published_while_away_is_queued(broker_rig):
    broker_rig.connect()
    broker_rig.disconnect()
    broker_rig.publish(payloads(5))
    broker_rig.connect()
    held(broker_rig, 5)
