"""The key of each advisory lock: what exactly one process does at a time in a database.

``daemon.leader`` holds ``LEADER`` and ``RULES`` as long as its connection lasts; ``migrate``, ``rollup`` and
``sessions`` take theirs for one run. The keys stand below the daemon, as ``voltd migrate`` needs no daemon.

Three more are taken in SQL and end with their transaction: ``(7381240, 1)``, shared by writers and exclusive to the
closing of hours (``70_rollup.sql``); the hash of a client id, while its dead letters are written
(``37_dead_letters.sql``); the hash of a channel's name, while its repeats are added (``alert_delivery.sql``).
"""

LEADER = 0x6C656164  # "lead": runs the jobs meant for one daemon
RULES = 0x72756C65  # "rule": evaluates the rules
ROLLUP = 0x726F6C6C7570  # "rollup": brings the Apache-2 edition's aggregates up to date
SESSIONS = 0x73657373  # "sess": looks for charging sessions
MIGRATE = 0x766F6C7464  # "voltd": changes the schema
