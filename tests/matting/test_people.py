"""Who stays sharp: in single masks, and steadily over time."""

import cv2
import numpy as np
import pytest

from background_blur.matting.people import SWITCH_AFTER, PeopleSelector, connected_components
from background_blur.settings import PEOPLE, Settings
from support.captures import detail
from support.segmenters import FakeBlur

SIZE = 80, 44  # of the masks, (width, height)
LEFT, MIDDLE, RIGHT = 16, 40, 64  # columns where people stand


def mask(*people: tuple[int, float]) -> np.ndarray:
    """float32 [44,80]: people as upright ellipses, given as (column, half their width)."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    for column, half in people:
        cv2.ellipse(mask, (column * 16, 26 * 16), (round(half * 16), round(1.5 * half * 16)),
                    0, 0, 360, 1, -1, shift=4)  # fmt: skip
    return mask.astype(np.float32)


def seen(people: PeopleSelector, who: str, *crowd) -> set[int]:
    """Which of a crowd's columns are kept."""
    labels, sizes = connected_components(mask(*crowd).astype(np.uint8))
    kept = people.select(who, labels, sizes)[labels]
    return {column for column, _ in crowd if kept[26, column]}


@pytest.mark.parametrize(
    "who, stay",
    [("front", {LEFT, MIDDLE, RIGHT}), ("main", {MIDDLE}), ("all", {LEFT, MIDDLE, RIGHT})],
)
def test_who_stays_of_three_and_a_speck(who, stay):
    assert who in PEOPLE
    crowd = (LEFT, 7), (MIDDLE, 9), (RIGHT, 3), (76, 1)
    assert seen(PeopleSelector(), who, *crowd) == stay


def test_the_main_person_is_large_and_central():
    assert seen(PeopleSelector(), "main", (LEFT, 9), (MIDDLE, 8.5)) == {MIDDLE}
    assert seen(PeopleSelector(), "main", (LEFT, 10), (MIDDLE, 5)) == {LEFT}
    assert seen(PeopleSelector(), "main") == set()


def test_two_of_about_one_size_never_take_turns():
    people, rng = PeopleSelector(), np.random.default_rng(0)
    sizes = lambda: 8 * rng.uniform(0.8, 1.2, 2)  # noqa: E731
    (first,) = seen(people, "main", (LEFT, 8), (RIGHT, 8))
    for _ in range(150):
        left, right = sizes()
        assert seen(people, "main", (LEFT, left), (RIGHT, right)) == {first}


def test_one_who_is_missed_for_a_moment_is_not_replaced():
    people = PeopleSelector()
    for other in (30, RIGHT):  # the first of them stands partly in that place
        assert seen(people, "main", (LEFT, 9)) == {LEFT}
        assert seen(people, "main", (other, 7)) == set()


def test_when_the_main_one_leaves_the_other_becomes_it():
    people = PeopleSelector()
    seen(people, "main", (LEFT, 9), (RIGHT, 7))
    waiting = [seen(people, "main", (RIGHT, 7)) for _ in range(SWITCH_AFTER + 1)]
    assert waiting == [set()] * SWITCH_AFTER + [{RIGHT}]
    assert seen(people, "main", (LEFT, 9), (RIGHT, 7)) == {RIGHT}


def test_one_clearly_larger_for_a_while_becomes_it():
    people = PeopleSelector()
    for _ in range(3):  # now and then does not count as a while
        seen(people, "main", (LEFT, 6))
        for _ in range(SWITCH_AFTER):
            assert seen(people, "main", (LEFT, 6), (RIGHT, 10)) == {LEFT}
    for _ in range(SWITCH_AFTER):
        last = seen(people, "main", (LEFT, 6), (RIGHT, 10))
    seen(people, "main", (LEFT, 6), (RIGHT, 10))
    assert seen(people, "main", (LEFT, 6), (RIGHT, 10)) == {RIGHT}, last


def test_one_who_crosses_the_picture_before_another_is_followed():
    people = PeopleSelector()
    for column in range(8, 73, 3):  # in less than a second
        assert column in seen(people, "main", (column, 8))
    assert seen(people, "main", (LEFT, 8), (71, 8)) == {71}


def test_those_who_touch_for_a_moment_are_told_apart_again():
    people = PeopleSelector()
    for _ in range(20):
        assert seen(people, "main", (28, 7), (46, 7.1)) == {46}
    for _ in range(5):
        assert len(seen(people, "main", (30, 8.5), (45, 8.5))) == 2
    for _ in range(SWITCH_AFTER):
        assert seen(people, "main", (28, 7.3), (46, 7)) == {46}


def test_another_size_of_the_mask_is_another_scene():
    people = PeopleSelector()
    seen(people, "main", (LEFT, 9))
    labels, sizes = connected_components(np.ones((30, 30), np.uint8))
    assert people.select("main", labels, sizes).tolist() == [False, True]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (352, 640, 3), np.uint8)


def around(column: int) -> tuple[slice, slice]:
    """Where one of the people is, in the picture."""
    return np.s_[180:230, column * 8 - 24 : column * 8 + 24]


def test_the_second_person_is_blurred_while_one_is_main(picture):
    crowd = mask((LEFT, 8), (RIGHT, 8.4))
    for who, sharp in (("main", 1), ("front", 2), ("all", 2)):
        out = FakeBlur(lambda small: crowd, Settings(people=who))(picture).image
        shares = [detail(out[around(c)]) / detail(picture[around(c)]) for c in (LEFT, RIGHT)]
        assert sorted(share > 0.9 for share in shares) == [sharp == 2, True]
        assert sharp == 2 or min(shares) < 0.01


@pytest.mark.parametrize("between", ["nothing", "cut", "fault"])
def test_a_cut_and_a_fault_forget_who_was_main(picture, between):
    both = mask((LEFT, 10), (RIGHT, 8))
    masks = [mask((RIGHT, 8)), both, *[None] * (between == "fault"), 0.99 * both]
    blur = FakeBlur(lambda small: masks.pop(0), Settings(people="main"))
    while len(masks) > 1:
        blur(picture)
    last = picture // 2 if between == "cut" else picture
    main = RIGHT if between == "nothing" else LEFT
    out = blur(last).image
    assert np.array_equal(out[around(main)], last[around(main)])
    assert detail(out[around(LEFT + RIGHT - main)]) < 0.1 * detail(last)


def test_unrelated_pictures_choose_each_for_itself(picture):
    crowds = [mask((RIGHT, 9)), mask((LEFT, 10), (RIGHT, 8))]
    blur = FakeBlur(lambda small: crowds.pop(0), Settings(people="main"), is_sequence=False)
    blur(picture)
    assert np.array_equal(blur(picture).image[around(LEFT)], picture[around(LEFT)])
