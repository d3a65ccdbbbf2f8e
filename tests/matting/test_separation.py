"""People who touch are told apart: by number, and in scenes with a network that sees them both."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.imaging import Picture
from background_blur.matting.people import SWITCH_AFTER
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.separation import PeopleSeparator, connected_components

SIZE = 640, 360  # of the pictures; masks are half as large
FIRST = 200  # column where the first person sits


def silhouette(x: float, height: float) -> np.ndarray:
    """float32 [360,640]: head and shoulders on the lower border, `height` of the frame tall."""
    alpha, tall = np.zeros(SIZE[::-1], np.uint8), height * SIZE[1]
    head, body = SIZE[1] - 0.72 * tall, SIZE[1] - 0.05 * tall
    for y, wide, high in ((head, 0.17, 0.26), (body, 0.36, 0.5)):
        axes = round(wide * tall), round(high * tall)
        cv2.ellipse(alpha, (round(x), round(y)), axes, 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 1)


class Stage:
    """A room, and people with the portrait's colours in it."""

    def __init__(self, portrait):
        rough = np.random.default_rng(3).integers(60, 200, (9, 16, 3), np.uint8)
        self.room = cv2.resize(rough, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        first = cv2.resize(portrait, SIZE).astype(np.float32)
        self.clothes = first, first[:, ::-1, ::-1]  # the second one's: mirrored, red for blue

    def picture(self, *people: tuple[float, float]):
        """(uint8 [360,640,3], what is seen of each person, float32 [360,640] each), nearest first;
        each is given as (column, height)."""
        image, seen = self.room, []
        for (x, height), clothes in list(zip(people, self.clothes, strict=False))[::-1]:
            alpha = silhouette(x, height)
            moved = np.roll(clothes, round(x) - SIZE[0] // 2, axis=1)
            image = image + alpha[..., None] * (moved - image)
            seen = [alpha, *(other * (1 - alpha) for other in seen)]
        noise = np.random.default_rng(0).normal(0, 2, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8), seen


@pytest.fixture
def stage(portrait) -> Stage:
    return Stage(portrait)


def alpha_of(refiner: MaskRefiner, picture, seen, who: str) -> np.ndarray:
    """The alpha, 0..1, of a network that sees everybody."""
    union = np.clip(sum(seen), 0, 1).astype(np.float32)
    mask = cv2.resize(union, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA)
    return refiner(Picture(picture), mask, who) / 255


def sharp(alpha, region) -> float:
    return float((alpha > 0.5)[region].mean())


def visit(near: float, frames: int = 60) -> list[float]:
    """Columns of somebody who comes in from the right as far as `near`, stays, and goes."""
    way = np.interp(np.arange(frames), [3, 22, 38, 57], [1, 0, 0, 1])
    return list(near + (780 - near) * way)


def second_person(stage: Stage, near: float, height: float, who: str):
    """The worst share (of the background, of the second person while touching, while apart) left
    sharp, and the least of the first person that is."""
    refiner = MaskRefiner()
    background, touching, apart, first = [0.0], [0.0], [0.0], [1.0]
    for x in visit(near):
        picture, seen = stage.picture((FIRST, 0.85), (x, height))
        alpha = alpha_of(refiner, picture, seen, who)
        background.append(sharp(alpha, seen[0] < 0.02))
        first.append(sharp(alpha, seen[0] > 0.98))
        if (second := seen[1] > 0.9).mean() > 0.005:
            touch = (cv2.dilate(seen[0], np.ones((9, 9))) * seen[1] > 0.25).any()
            (touching if touch else apart).append(sharp(alpha, second))
    assert len(touching) > 10 and len(apart) > 10
    return max(background), max(touching), max(apart), min(first)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["front", "main"])
@pytest.mark.parametrize("height", [0.5, 0.6])
def test_a_second_person_who_comes_up_behind_and_touches_stays_blurred(stage, who, height):
    background, _, apart, first = second_person(stage, 300, height, who)
    assert background <= 0.05
    assert apart <= 0.02
    assert first >= 0.95


@pytest.mark.slow
def test_somebody_nearly_as_large_who_touches_the_main_person_stays_blurred(stage):
    _, touching, apart, first = second_person(stage, 370, 0.8, "main")
    assert touching <= 1 / 3
    assert apart <= 0.02
    assert first >= 0.95


@pytest.mark.slow
def test_with_all_everybody_stays_touching_or_not(stage):
    refiner = MaskRefiner()
    for x in visit(300):
        picture, seen = stage.picture((FIRST, 0.85), (x, 0.6))
        alpha = alpha_of(refiner, picture, seen, "all")
        assert sharp(alpha, np.clip(sum(seen), 0, 1) > 0.98) > 0.98


def test_one_who_comes_and_stays_about_as_large_is_in_front_after_a_while(stage):
    refiner, shown = MaskRefiner(), []
    for x in [780] * 3 + list(np.linspace(780, 470, 15)) + [470] * (SWITCH_AFTER + 5):
        picture, seen = stage.picture((FIRST, 0.85), (x, 0.8))
        alpha = alpha_of(refiner, picture, seen, "front")
        shown.append(sharp(alpha, seen[1] > 0.9) if (seen[1] > 0.9).any() else 0.0)
    assert max(shown[:20]) < 0.05 and shown[-1] > 0.95


def test_two_who_are_there_from_the_start_are_both_in_front_together_and_apart(stage):
    refiner = MaskRefiner()
    for x in np.linspace(340, 500, 40):
        picture, seen = stage.picture((FIRST, 0.85), (x, 0.8))
        alpha = alpha_of(refiner, picture, seen, "front")
        assert min(sharp(alpha, each > 0.98) for each in seen) > 0.95


# --- The numbers


def mask(*ellipses) -> np.ndarray:
    """uint8 [90,160] of 0 and 1: ellipses, given as (x, y, half their width, half their height)."""
    mask = np.zeros((90, 160), np.uint8)
    for x, y, wide, high in ellipses:
        cv2.ellipse(mask, (round(x), round(y)), (wide, high), 0, 0, 360, 1, -1)
    return mask


GREY = np.full((90, 160, 3), 128, np.uint8)
BODY = (70, 80, 30, 45)


def numbers(separator, *ellipses) -> list[int]:
    """The numbers at the middles of the ellipses."""
    labels, _ = separator(GREY, mask(*ellipses))
    return [int(labels[min(89, y), x]) for x, y, *_ in ellipses]


def test_parts_keep_their_numbers_while_they_move_meet_and_part():
    separator = PeopleSeparator()
    path = (*range(145, 110, -2), *range(110, 145, 2))
    pairs = {tuple(numbers(separator, BODY, (x, 70, 12, 40))) for x in path}
    assert pairs in ({(1, 2)}, {(2, 1)})


@pytest.mark.parametrize("frames", [2, 60])
def test_a_hand_becomes_one_with_whom_it_touches_at_once(frames):
    separator = PeopleSeparator()
    for _ in range(frames):
        body, hand = numbers(separator, BODY, (120, 60, 8, 8))
        assert body != hand
    body, hand = numbers(separator, BODY, (106, 60, 8, 8))
    assert body == hand


def test_a_head_and_a_body_with_something_held_between_are_one_again_at_once():
    separator = PeopleSeparator()
    whole = (70, 45, 28, 40)
    for _ in range(10):
        separator(GREY, mask(whole))
    cut = mask(whole)
    cut[38:48] = 0
    for _ in range(30):
        labels, sizes = separator(GREY, cut)
        assert np.count_nonzero(sizes) == 2
    labels, sizes = separator(GREY, mask(whole))
    assert np.count_nonzero(sizes) == 1


def test_two_who_seemed_one_and_part_are_two_when_they_meet_again():
    separator = PeopleSeparator()
    for x in (*range(105, 145), *range(145, 105, -1)):
        pair = numbers(separator, BODY, (x, 70, 14, 42))
    assert pair[0] != pair[1]


ellipses = st.tuples(
    st.integers(0, 160), st.integers(0, 90), st.integers(3, 50), st.integers(3, 50)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ellipses, max_size=4), min_size=1, max_size=6))
def test_all_of_every_mask_is_numbered_but_specks(crowds):
    separator = PeopleSeparator()
    picture = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    for crowd in crowds:
        person = mask(*crowd)
        labels, sizes = separator(picture, person)
        assert labels.shape == person.shape
        assert not labels[person == 0].any()
        components, pixels = connected_components(person)
        for component in np.flatnonzero(pixels >= 0.006 * person.size):
            assert (labels[components == component] > 0).all()
        assert sizes[0] == 0 and sizes.sum() == np.count_nonzero(labels)
