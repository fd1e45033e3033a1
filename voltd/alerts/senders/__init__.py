"""Senders, one file for each kind of service."""
