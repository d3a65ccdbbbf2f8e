"""What several tests share."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]


def skip_or_fail(reason: str) -> NoReturn:
    """Skips the test if this machine lacks something; fails in CI on Linux, which installs it."""
    if os.environ.get("CI") and sys.platform.startswith("linux"):
        pytest.fail(reason)
    pytest.skip(reason)
