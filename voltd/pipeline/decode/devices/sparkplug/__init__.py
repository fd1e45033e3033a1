"""Sparkplug B: protobuf payloads whose metrics may be named by numbers (aliases) that only a birth explains.

``nodes`` caches births and puts the names into what arrives; ``reader`` reads messages that name their metrics. So
what is spooled, decoded again or a dead letter needs no birth any more. ``layout`` is the quick way of both, for
messages that are written like an earlier one of their device.
"""
