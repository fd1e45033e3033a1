"""Alerts on their way to people and programs: from rows of the outbox to messages.

``rules`` puts rows into ``volt.alert_delivery`` and wakes ``deliver``; per channel one ``worker`` thread asks
``pacing`` what to do now, ``outbox`` freezes the rows of one message, a sender (``channels``) sends it, and ``outbox``
puts down what came of it. Nothing here opens or ends an episode, and no channel waits for another.
"""
