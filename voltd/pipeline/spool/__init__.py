"""Readings on this machine's disk while the database is away, and their way out."""
