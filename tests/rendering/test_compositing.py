"""Backdrops and the composite, by property and against plain versions."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.rendering.compositing import SIGMA_OF_STRENGTH, blur_background, compose

sides = st.integers(1, 70)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(sides, sides, st.integers(0, 99))
def test_composite_equals_the_plain_formula_within_rounding(height, width, seed):
    frame, backdrop = noise(seed, height, width, 3), noise(seed + 1, height, width, 3)
    alpha = noise(seed + 2, height, width)
    share = alpha[..., None] / 255
    plain = share * frame + (1 - share) * backdrop
    assert np.abs(compose(frame, backdrop, alpha) - plain).max() <= 1


@given(sides, st.lists(st.sampled_from((0, 90, 255)), min_size=1, max_size=6), st.integers(0, 99))
def test_composite_of_solid_and_soft_columns_equals_the_plain_formula(height, columns, seed):
    alpha = np.repeat(np.uint8([columns] * height), 9, 1)
    frame, backdrop = noise(seed, *alpha.shape, 3), noise(seed + 1, *alpha.shape, 3)
    plain = np.where(alpha[..., None] == 255, frame, backdrop).astype(float)
    soft = alpha == 90
    plain[soft] = (frame[soft] * 90.0 + backdrop[soft] * 165.0) / 255
    out = compose(frame, backdrop, alpha)
    assert np.abs(out - plain).max() <= 1
    assert np.array_equal(out[~soft], plain[~soft])


def test_composite_leaves_its_inputs_alone():
    frame, backdrop, alpha = noise(0, 90, 80, 3), noise(1, 90, 80, 3), noise(2, 90, 80)
    before = frame.copy(), backdrop.copy(), alpha.copy()
    compose(frame, backdrop, alpha)
    for old, new in zip(before, (frame, backdrop, alpha), strict=True):
        assert np.array_equal(old, new)


@settings(max_examples=50, deadline=None)
@given(sides, sides, st.floats(0, 1), st.integers(0, 255), st.integers(0, 99))
def test_a_constant_picture_stays_constant(height, width, strength, value, seed):
    picture = np.full((height, width, 3), value, np.uint8)
    backdrop = blur_background(picture, noise(seed, height, width), strength)
    assert np.abs(backdrop.astype(int) - value).max() <= 1


@pytest.mark.parametrize("height", [180, 720])
@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_the_blur_is_a_gaussian_of_the_promised_width_at_every_size(height, strength):
    """A step edge, blurred, crosses 16 % and 84 % one sigma from its middle."""
    width = 2 * height
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 255
    backdrop = blur_background(picture, np.zeros((height, width), np.uint8), strength)
    ramp = compose(picture, backdrop, np.zeros((height, width), np.uint8))[height // 2, :, 0] / 255
    sigma = strength * SIGMA_OF_STRENGTH * height
    measured = (np.searchsorted(ramp, 0.841) - np.searchsorted(ramp, 0.159)) / 2
    assert measured == pytest.approx(sigma, rel=0.12, abs=1)


def test_no_halo_a_saturated_person_leaves_no_colour_in_the_backdrop():
    """A pure red person over a grey wall: the wall stays grey up to the outline."""
    picture = np.full((360, 640, 3), 128, np.uint8)
    alpha = np.zeros((360, 640), np.uint8)
    alpha[100:, 220:420] = 255
    picture[alpha == 255] = (0, 0, 255)
    backdrop = compose(picture, blur_background(picture, alpha, 0.5), np.zeros_like(alpha))
    visible = backdrop[alpha == 0].astype(int)
    assert np.abs(visible - 128).max() <= 3


@pytest.mark.parametrize("person, wall", [(30, 200), (200, 30)])
@pytest.mark.parametrize("outside", [0, 3])
def test_no_rim_from_wall_to_person_the_grey_only_rises_or_only_falls(person, wall, outside):
    """An outline as soft as a camera's, with an alpha that ends right at it, or outside it."""
    shape = np.zeros((360, 640), np.uint8)
    shape[100:, 220:420] = 255
    share = cv2.GaussianBlur(shape, (0, 0), 2)[..., None] / 255
    picture = np.uint8(np.round(share * person + (1 - share) * wall)) * np.ones(3, np.uint8)
    alpha = cv2.dilate(shape, np.ones((2 * outside + 1, 2 * outside + 1), np.uint8))
    alpha = cv2.GaussianBlur(alpha, (0, 0), 2)
    out = compose(picture, blur_background(picture, alpha, 0.5), alpha)
    across = out[250, :320, 0].astype(int)  # from the wall into the person
    steps = np.diff(across) * np.sign(person - wall)
    assert abs(across[0] - wall) <= 3 and across[-1] == person
    assert -steps[steps < 0].sum() <= 6


def test_where_the_person_hides_everything_the_backdrop_is_still_a_picture():
    picture = noise(3, 90, 160, 3)
    backdrop = blur_background(picture, np.full((90, 160), 255, np.uint8), 0.5)
    assert 100 < backdrop.mean() < 155
    assert backdrop.std() < picture.std() / 3


def soft_disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y / height - 0.5, x / width - 0.5)
    return np.clip((0.35 - distance) * 2000, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(720, 1280), (361, 643), (75, 100)])
@pytest.mark.parametrize("small", [(360, 640), (25, 50)])
def test_a_correction_changes_the_outline_alone_by_alpha_times_itself(size, small):
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 190, (*size, 3), np.uint8)
    backdrop = rng.integers(0, 256, (*size, 3), np.uint8)
    alpha = soft_disc(*small)
    fades = np.where(alpha == 0, 0, 255 - alpha.astype(int))  # as the room does in the person
    correction = np.repeat(fades[..., None] // 5, 3, axis=2).astype(np.int16)
    plain = compose(frame, backdrop, alpha)
    out = compose(frame, backdrop, alpha, correction=correction)
    large = cv2.resize(alpha, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(out[large == 255], frame[large == 255])
    assert np.array_equal(out[large == 0], plain[large == 0])
    wanted = cv2.resize(correction, size[::-1]) * (large[..., None] / 255)
    change = np.abs(out.astype(float) - plain - wanted)
    assert change.mean() < 0.5
    assert np.quantile(change, 0.999) <= 8  # at the borders of the strips it is a little off


@pytest.mark.parametrize("factor", [2, 5])
def test_the_strips_that_a_composite_is_made_in_do_not_show(factor):
    """Small copies enlarged strip by strip give what they give enlarged as a whole."""
    alpha = cv2.GaussianBlur(noise(0, 150, 160), (0, 0), 2)
    alpha[40:100, 50:120], alpha[:30], alpha[:, 140:] = 255, 0, 0
    correction = noise(1, 150, 160, 3).astype(np.int16) - 128
    correction[cv2.dilate(alpha, np.ones((5, 5))) == 255] = 0  # none where all is person
    frame, backdrop = noise(2, factor * 150, factor * 160, 3), noise(3, 40, 50, 3)
    size = frame.shape[1::-1]
    whole = compose(
        frame, backdrop, cv2.resize(alpha, size), correction=cv2.resize(correction, size)
    )
    assert np.array_equal(compose(frame, backdrop, alpha, correction=correction), whole)
