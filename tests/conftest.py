"""What all tests share: the repository on the path, and pictures made at test time."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """NASA's portrait of Eileen Collins, in the public domain: uint8 [512,512,3] BGR."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[..., ::-1])
