"""What all tests share: the repository on the path, and pictures made at test time."""

from importlib.util import find_spec

import numpy as np
import pytest

pytest_plugins = ["support.display", "support.virtual_camera"]

NEED_KERAS = ["tools", "test_model.py", "test_golden.py"]
collect_ignore = [] if find_spec("keras") else NEED_KERAS


def pytest_report_header() -> str:
    return f"Keras is not installed: left out: {', '.join(NEED_KERAS)}" if collect_ignore else ""


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """NASA's portrait of Eileen Collins, in the public domain: uint8 [512,512,3] BGR."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[..., ::-1])
