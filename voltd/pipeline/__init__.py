"""The data path, a folder each step: consume -> decode -> flush (-> spool) -> write -> current.

Invariants; tests name the one they hold in their docstrings (``Invariant N``):

1. One batch, one transaction, one ack: readings and dead letters of a batch commit together; only then are its
   messages acked, in the order received (MQTT 5, 4.6.0-2).
2. Nothing is unbounded: the MQTT 5 Receive Maximum bounds the messages in flight, withheld acks are the
   backpressure, and ``limits.max_held_bytes`` stops reading from the socket.
3. Every message has exactly one fate: stored, dead-lettered with a reason from a bounded list, or kept and retried.
4. At least once outside, exactly once in the table: the natural key makes a redelivery a no-op.
5. Acks belong to the connection that delivered the message: after a reconnect they are dropped.
6. Group commit: what has arrived is written as soon as the previous COMMIT returned; no flush timer in the way.
"""
