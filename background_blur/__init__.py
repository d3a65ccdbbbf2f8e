"""Blurs the background behind people, live."""
