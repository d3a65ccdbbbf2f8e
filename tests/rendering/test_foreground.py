"""The person's own colours along the outline: right, local, and never the room's."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from scipy.sparse.linalg import spsolve
from skimage import data

from background_blur.rendering.foreground import (
    apply_correction,
    foreground_correction,
    separate,
    weighted_means,
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
    """Colours that change slowly, about one mean."""
    rng = np.random.default_rng(seed)
    waves = cv2.GaussianBlur(rng.normal(0, 255, (*shape, 3)), (0, 0), 6)
    return np.clip(np.float32(mean) + waves, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def hairy() -> np.ndarray:
    """uint8 [360,640], the alpha of a head with locks, soft, on shoulders."""
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


# --- Where nothing is mixed


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


def test_pixels_of_the_person_alone_stay_exact_when_enlarged(person, hairy):
    image = cv2.resize(person, (1280, 720), interpolation=cv2.INTER_CUBIC)
    out = apply_correction(image, foreground_correction(person, hairy))
    alpha = cv2.resize(hairy, (1280, 720), interpolation=cv2.INTER_LINEAR)
    assert (out == image)[alpha == 255].all()
    assert (out != image).any()


def test_16_bits_are_corrected_like_8(person, hairy):
    correction = foreground_correction(person, hairy)
    deep = apply_correction(257 * person.astype(np.uint16), correction)
    assert deep.dtype == np.uint16
    assert np.array_equal(deep, 257 * apply_correction(person, correction).astype(np.uint16))


# --- How right it is


def test_two_plain_colours_are_told_apart(hairy):
    shape = hairy.shape
    red, blue = np.full((*shape, 3), (40, 60, 200), np.uint8), np.full((*shape, 3), 230, np.uint8)
    out = colours(mixed(red, blue, hairy), hairy)
    outline = (hairy > 25) & (hairy < 255)  # below a tenth, rounding is worth ten grey levels
    apart = np.abs(blue.astype(float) - red).mean()
    assert np.abs(out.astype(float) - red)[outline].mean() < apart / 20


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("light", [20, 235])
def test_half_the_colour_error_at_most_of_the_frames_own_colours(person, hairy, seed, light):
    room = textured(seed, hairy.shape, [light] * 3)
    image = mixed(person, room, hairy)
    outline = (hairy > 0) & (hairy < 255)
    truth = over(GREEN, person, hairy)
    raw = np.abs(over(GREEN, image, hairy) - truth)[outline].mean()
    ours = np.abs(over(GREEN, colours(image, hairy), hairy) - truth)[outline].mean()
    assert ours <= raw / 2


def test_another_room_hardly_changes_the_outline(person, hairy):
    outline = (hairy > 0) & (hairy < 255)
    dark, bright = (mixed(person, textured(1, hairy.shape, [m] * 3), hairy) for m in (30, 220))
    raw = np.abs(over(GREEN, dark, hairy) - over(GREEN, bright, hairy))[outline].mean()
    dark, bright = colours(dark, hairy), colours(bright, hairy)
    ours = np.abs(over(GREEN, dark, hairy) - over(GREEN, bright, hairy))[outline].mean()
    assert ours <= raw / 3


def test_it_is_near_the_exact_solution():
    """Closed-form foreground estimation (Levin et al. 2008), solved exactly on a small picture."""
    alpha = np.zeros((48, 64), np.uint8)
    cv2.circle(alpha, (32, 28), 15, 255, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 2)
    person = textured(5, alpha.shape, (60, 90, 180))
    image = mixed(person, textured(6, alpha.shape, (220, 200, 190)), alpha)
    outline = (alpha > 12) & (alpha < 243)
    truth, weights = person[outline].astype(float), alpha[outline][:, None] / 255

    def error(found):
        return (np.abs(found[outline] - truth) * weights).mean()

    exact, raw = error(closed_form(image, alpha)), error(image.astype(float))
    assert exact < raw / 3  # the reference is one
    assert error(colours(image, alpha)) < 1.5 * exact + 2


def closed_form(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """argmin over F, B of Σ (αF + (1-α)B - I)² + Σ (|∂α| + ε)·((∂F)² + (∂B)²), float [h,w,3]."""
    height, width = alpha.shape
    count = alpha.size
    a = alpha.ravel() / 255
    pixels = np.arange(count).reshape(height, width)
    pairs = [(pixels[:, :-1], pixels[:, 1:]), (pixels[:-1], pixels[1:])]
    first, second = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    rows = np.arange(len(first))
    weight = np.sqrt(np.abs(a[first] - a[second]) + 1e-4)
    slope = sparse.csr_matrix((weight, (rows, first)), (len(rows), count)) - sparse.csr_matrix(
        (weight, (rows, second)), (len(rows), count)
    )
    mix = sparse.hstack([sparse.diags(a), sparse.diags(1 - a)])
    system = mix.T @ mix + sparse.block_diag([slope.T @ slope] * 2)
    right = mix.T @ image.reshape(-1, 3).astype(float)
    return np.asarray(spsolve(system.tocsc(), right))[:count].reshape(image.shape)


# --- Its parts


def test_the_weighted_means_are_those_of_each_box():
    rng = np.random.default_rng(0)
    person, room = rng.uniform(0, 255, (2, 9, 11, 3)).astype(np.float32)
    share = np.repeat(rng.uniform(0, 1, (9, 11, 1)), 3, axis=2).astype(np.float32)
    means = weighted_means(person, room, share, 2)
    for y, x in ((4, 5), (2, 2), (6, 8)):
        box = slice(y - 2, y + 3), slice(x - 2, x + 3)
        for image, weights, found in zip((person, room), (share, 1 - share), means, strict=True):
            expected = (image[box] * weights[box]).sum((0, 1)) / weights[box].sum((0, 1))
            assert found[y, x] == pytest.approx(expected, rel=1e-4)


def test_where_nobody_is_no_colour_is_a_person():
    person, _ = separate(np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.uint8))
    assert (person == 0).all()
