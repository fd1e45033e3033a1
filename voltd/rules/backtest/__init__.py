"""Rules over stored history: what a daemon would have raised."""
