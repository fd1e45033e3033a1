"""voltd: readings from an MQTT broker into TimescaleDB, nothing lost, nothing stored twice.

The data path, each step a folder of ``voltd.pipeline``:

    broker --QoS 1--> consume --Message--> decode --Reading--> flush --Batch--> write --COPY--> hypertable
       ^                                      |                                   |
       |                                      +----------- DeadLetter ------------+--> dead_letter
       +----------------------------- PUBACK, only after COMMIT --------------------+

While the database is away, ``spool`` keeps messages on disk between ``flush`` and ``write``; that is worth an ack, too.
"""

__version__ = "0.1.0"
