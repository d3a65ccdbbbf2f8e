"""Programs for those who work on the network."""

import importlib.util

if importlib.util.find_spec("keras") is None:
    raise SystemExit("tools: Keras is missing; run: pip install -r requirements.txt")
