"""One daemon per client id: ``presence`` asks and answers, ``claim`` decides, ``closes`` detects, ``probe`` tests."""
