"""Rules and alerts, the scheduler's side of voltd: readings in, transitions of episodes out.

The pure half, without I/O beyond reading rules.toml and without a clock: ``model`` (a rule), ``load`` (rules.toml),
``step`` and ``silence`` (one rule, one device), ``state`` (what is remembered and told), ``evaluate`` (all rules, all
devices), ``message`` (a line for people). What reads the database, keeps the states and delivers is built on
``evaluate`` and knows nothing of thresholds.
"""
