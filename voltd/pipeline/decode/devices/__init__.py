"""Device families: what devices and gateways of other makers publish, translated into voltd's readings.

One TOML file a family describes its topics and payloads (``description``); ``catalogue`` finds the files and the
settings ``[devices.<family>]``; ``families`` says of a topic which description reads its messages.
"""
