"""Recordings: read (``source``, ``recording``), checked (``checks``), timed (``plan``) and published (``run``)."""
