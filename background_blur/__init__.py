"""Blurs the background behind people, live."""

__version__ = "0.1.0"
