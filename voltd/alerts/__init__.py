"""Alerts: from the rows that the evaluation cycle puts into the outbox to notifications of people and programs.

1. ``rules/cycle/persistence.py`` asks each of ``channels`` whether it wants a transition, and inserts a row into
   ``volt.alert_delivery`` in the transaction of the episode; ``rules/cycle/cycle.py`` then wakes ``deliver``.
2. ``deliver`` has a ``worker`` for each channel: one thread, so that no channel waits for another.
3. ``outbox`` drops rows that need not be sent, asks ``pacing`` what is due, and commits the claim of one notification.
4. ``notifications`` writes its text, one of ``senders`` sends it, and ``outbox`` records the result.
5. While the database is away the cycle puts transitions into ``urgent`` instead; the same worker sends them first.

``service`` joins rules and channels for the daemon. Nothing here opens or resolves an episode.
"""
