"""Trains and exports the network's weights; needs Keras."""

import importlib.util

if importlib.util.find_spec("keras") is None:
    raise SystemExit("tools.training: Keras is missing; run: pip install -r requirements.txt")
