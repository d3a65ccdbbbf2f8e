"""The whole path to an alpha, against stored ones; `python -m tools.assets.golden` renews them."""

import cv2
import numpy as np
import pytest

from tools.assets.golden import GOLDEN, alphas


@pytest.fixture(scope="module")
def made():
    return alphas()


@pytest.mark.parametrize("name", ["portrait", "demo"])
def test_alpha_equals_the_stored_one(made, name, tmp_path):
    expected = cv2.imread(str(GOLDEN / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    actual = made[name]
    assert actual.shape == expected.shape
    overlap = np.minimum(actual, expected).sum() / np.maximum(actual, expected).sum()
    if overlap < 0.99:
        difference = cv2.absdiff(actual, expected)
        pictures = {"expected": expected, "actual": actual, "difference": difference}
        for kind, picture in pictures.items():
            cv2.imwrite(str(tmp_path / f"{name}_{kind}.png"), picture)
    assert overlap >= 0.99, f"IoU {overlap:.3f}; expected, actual and difference in {tmp_path}"
