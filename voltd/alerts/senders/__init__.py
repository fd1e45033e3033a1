"""The ways out: one file a kind of service."""
