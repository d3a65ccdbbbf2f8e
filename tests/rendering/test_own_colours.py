"""Over any background but the blur lie the person's own colours, and nothing of the room."""

import cv2
import numpy as np
import pytest

from background_blur.matting.refinement import MaskRefiner
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import TRANSPARENT, Settings
from support.segmenters import FakeBlur

GREEN = (64, 177, 0)  # BGR of #00b140
SIZE = (360, 640)


@pytest.fixture
def green() -> StillBackground:
    return StillBackground(np.full((1, 1, 3), GREEN, np.uint8))


def soft_alpha() -> np.ndarray:
    alpha = np.zeros(SIZE, np.uint8)
    cv2.circle(alpha, (320, 160), 90, 255, -1)
    cv2.ellipse(alpha, (320, 400), (200, 150), 0, 180, 360, 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 3)


def scene(room) -> np.ndarray:
    """uint8 [360,640,3]: someone of one colour, with some noise, in front of a room of another."""
    rng = np.random.default_rng(0)
    share = soft_alpha()[..., None] / 255
    image = share * np.float64([90, 110, 180]) + (1 - share) * np.float64(room)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def mask(small: np.ndarray) -> np.ndarray:
    return cv2.resize(soft_alpha(), (80, 44), interpolation=cv2.INTER_AREA) / np.float32(255)


@pytest.fixture(autouse=True)
def true_alpha(monkeypatch):
    monkeypatch.setattr(MaskRefiner, "refine", lambda self, *_: soft_alpha())


def result(image: np.ndarray, **settings) -> np.ndarray:
    return FakeBlur(mask, Settings(**settings), is_sequence=False)(image).image


def test_the_old_room_does_not_show_along_the_outline(green):
    alpha = soft_alpha()
    outline = (alpha > 20) & (alpha < 235)
    bright, dark = (result(scene(room), background=green) for room in (230, 20))
    mixed = [alpha[..., None] / 255 * scene(room) for room in (230, 20)]
    difference = np.abs(bright.astype(int) - dark)[outline].mean()
    assert difference < 0.2 * np.abs(mixed[0] - mixed[1])[outline].mean()


def test_outside_the_mask_there_is_the_background_alone_and_inside_the_frame(green):
    image, alpha = scene(230), soft_alpha()
    out = result(image, background=green)
    assert (out[alpha == 0] == GREEN).all()
    assert np.array_equal(out[alpha == 255], image[alpha == 255])


def test_what_is_transparent_holds_no_colour_and_the_alpha_is_as_it_was():
    image, alpha = scene(230), soft_alpha()
    out = result(image, background=TRANSPARENT)
    assert np.array_equal(out[..., 3], alpha)
    assert not out[alpha == 0].any()
    outline = (alpha > 40) & (alpha < 215)
    assert np.abs(out[outline][:, :3].astype(int) - [90, 110, 180]).mean() < 15
