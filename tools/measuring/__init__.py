"""Measures masks and speed; needs no Keras."""
