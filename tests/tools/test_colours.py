"""The measure of the outline's colours knows right from wrong."""

import cv2
import numpy as np
import pytest

from tools import colours

SHAPE = (720, 1280)


@pytest.fixture
def alpha() -> np.ndarray:
    alpha = np.zeros(SHAPE, np.float32)
    cv2.ellipse(alpha, (640, 720), (300, 500), 0, 180, 360, 1, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 4)


def plain(value: int) -> np.ndarray:
    return np.full((*SHAPE, 3), value, np.float32)


def test_known_colours_have_no_error_and_the_rooms_show(alpha, monkeypatch):
    known = {"raw": lambda image, alpha: image, "known": lambda image, alpha: plain(150)}
    monkeypatch.setattr(colours, "methods", lambda: known)
    truth = np.rint(255 * alpha).astype(np.uint8)
    rows = colours.figures(plain(150), plain(30), alpha, plain(240), lambda image: truth)
    assert rows["true", "known"] == (0.0, 0.0)
    error, bleed = rows["true", "raw"]
    share = alpha[(truth > 0) & (truth < 255)]
    assert error == pytest.approx(120 * (share * (1 - share)).mean(), abs=0.3)
    assert bleed == pytest.approx(210 * (share * (1 - share)).mean(), abs=0.3)
    assert rows["ours", "raw"] == rows["true", "raw"]


def test_ours_halve_the_error(alpha):
    truth = np.rint(255 * alpha).astype(np.uint8)
    rows = colours.figures(plain(150), plain(30), alpha, plain(240), lambda image: truth)
    assert rows["true", "ours"][0] < rows["true", "raw"][0] / 2


def test_the_outline_takes_the_colour_of_the_nearest_solid_pixel():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, :10], image[:, 20:] = 50, 200
    matte = np.full((20, 30), 255, np.uint8)
    matte[:, 10:20] = 128
    found = colours.solid(image, matte)
    assert (found[:, :15] == 50).all() and (found[:, 16:] == 200).all()


def test_a_folder_without_rooms_is_one_line(tmp_path, capsys):
    assert colours.main(["--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
