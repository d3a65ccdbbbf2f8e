"""The person's own colours along the outline: right, local, and never the room's."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import data

from background_blur.rendering.foreground import (
    apply_correction,
    foreground_correction,
)

GREEN = np.float32([64, 177, 0])  # BGR of #00b140


def colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [h,w,3], the picture with the person's own colours along the outline."""
    return apply_correction(image, foreground_correction(image, alpha))


def over(colour, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / np.float32(255)
    return share * image + (1 - share) * colour


def mixed(person: np.ndarray, room: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.rint(over(room, person, alpha)).astype(np.uint8)


def textured(seed: int, shape, mean) -> np.ndarray:
    """Colours that change slowly around one mean."""
    rng = np.random.default_rng(seed)
    waves = cv2.GaussianBlur(rng.normal(0, 255, (*shape, 3)), (0, 0), 6)
    return np.clip(np.float32(mean) + waves, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def hairy() -> np.ndarray:
    """uint8 [360,640], the soft alpha of a head with locks of hair, on shoulders."""
    alpha = np.zeros((360, 640), np.uint8)
    cv2.circle(alpha, (320, 150), 80, 255, -1)
    cv2.ellipse(alpha, (320, 380), (180, 130), 0, 180, 360, 255, -1)
    rng = np.random.default_rng(3)
    for angle in rng.uniform(0, 2 * np.pi, 150):
        tip = 320 + 115 * np.cos(angle), 150 + 115 * np.sin(angle)
        cv2.line(alpha, (320, 150), tuple(np.int32(tip).tolist()), 190, 1, cv2.LINE_AA)
    return cv2.GaussianBlur(alpha, (0, 0), 1.5)


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    """The public-domain portrait, its head where `hairy` has one."""
    image = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return cv2.warpAffine(
        image, np.float64([[1, 0, 96], [0, 1, 20]]), (640, 360), borderMode=cv2.BORDER_REFLECT
    )


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, (24, 32, 3)), arrays(np.bool_, (24, 32)))
def test_a_hard_mask_changes_nothing(image, mask):
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    assert (foreground_correction(image, alpha) == 0).all()
    assert (colours(image, alpha) == image).all()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
        lambda size: st.tuples(arrays(np.uint8, (*size, 3)), arrays(np.uint8, size))
    )
)
def test_only_the_outline_changes_whatever_the_picture(pair):
    image, alpha = pair
    correction = foreground_correction(image, alpha)
    assert correction.shape == image.shape
    assert (correction[(alpha == 0) | (alpha == 255)] == 0).all()
    new = correction + image.astype(int)
    assert new.min() >= 0 and new.max() <= 255


def test_16_bits_are_corrected_like_8(person, hairy):
    correction = foreground_correction(person, hairy)
    deep = apply_correction(257 * person.astype(np.uint16), correction)
    assert deep.dtype == np.uint16
    assert np.array_equal(deep, 257 * apply_correction(person, correction).astype(np.uint16))


@pytest.mark.parametrize("light", [20, 235])
def test_half_the_colour_error_at_most_of_the_frames_own_colours(person, hairy, light):
    room = textured(0, hairy.shape, [light] * 3)
    image = mixed(person, room, hairy)
    outline = (hairy > 0) & (hairy < 255)
    truth = over(GREEN, person, hairy)
    raw = np.abs(over(GREEN, image, hairy) - truth)[outline].mean()
    ours = np.abs(over(GREEN, colours(image, hairy), hairy) - truth)[outline].mean()
    assert ours <= raw / 2
