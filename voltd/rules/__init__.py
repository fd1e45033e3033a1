"""Rules and alerts, the scheduler's side of voltd: readings in, transitions of episodes out.

The pure half, without I/O and without a clock: ``model`` (a rule), ``load`` (rules.toml), ``step`` and ``silence`` (one
rule, one device), ``evaluate`` (all rules, all devices), ``replay`` (stored history), ``message`` (a line for people).
What reads the database, keeps the states and delivers is built on ``evaluate`` and knows nothing of thresholds.
"""
