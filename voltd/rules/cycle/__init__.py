"""One evaluation cycle: what is new is read, evaluated and written, in one transaction.

- ``cycle`` is the order of its steps; ``interfaces`` is what it needs from the daemon.
- ``inputs`` reads: ``telemetry`` of vehicles in ``pieces``, with what is ``preceding`` them; ``hourly_figures``;
  ``daemon_health``; ``unit_looks``. ``registered`` is what the registry has of the devices.
- ``persistence`` writes ``alert_rows`` and the outbox; ``past_episodes`` corrects what late readings change.
- ``state_cache`` holds the states until the next cycle; ``feedback`` informs the writers of readings.
- ``offline`` evaluates this daemon itself while the database is away.
"""
