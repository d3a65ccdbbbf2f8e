"""Which part of the frame the network sees: by property, and so that nobody gets out of sight."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.imaging import Picture
from background_blur.matting.boxes import Box
from background_blur.matting.segmenter import INPUT_SIZES
from background_blur.matting.tracking import (
    PersonTracker,
    extent,
    unlike,
)

SIZE = 320, 180  # of masks, (width, height)
FRAME = 1 / 30  # seconds
BLANK = np.zeros((18, 32), np.uint8)


def mask(*people: tuple[float, float, float, float], size=SIZE) -> np.ndarray:
    """float32 [h,w]: 1 in rectangles, given as (left, top, right, bottom) in shares of the mask."""
    mask = np.zeros(size[::-1], np.float32)
    for left, top, right, bottom in people:
        rows, columns = np.s_[round(top * size[1]) : round(bottom * size[1])], None
        columns = np.s_[round(left * size[0]) : round(right * size[0])]
        mask[rows, columns] = 1
    return mask


def followed(*masks: np.ndarray) -> PersonTracker:
    """A tracker that saw a whole frame a moment ago, and then these masks, one per frame."""
    tracker = PersonTracker()
    for index, each in enumerate(masks):
        if not index:
            tracker.saw_whole_frame(BLANK, 0.0)
        tracker.follow(each, index * FRAME)
    return tracker


sides = st.tuples(st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.1, 1), st.floats(0.1, 1))
rectangles = sides.map(lambda s: (s[0], s[1], min(1, s[0] + s[2]), min(1, s[1] + s[3])))
sizes = st.sampled_from([SIZE, (320, 240), (180, 320), (240, 240), (320, 256), (88, 72)])


@settings(max_examples=100, deadline=None)
@given(st.lists(rectangles, min_size=1, max_size=5), sizes)
def test_the_box_is_in_the_frame_holds_the_people_and_squashes_nothing(people, size):
    tracker = followed(*(mask(person, size=size) for person in people))
    last = mask(people[-1], size=size)
    box = tracker.box(size, len(people) * FRAME)
    assert 0 <= box.left < box.right <= size[0] and 0 <= box.top < box.bottom <= size[1]
    assert np.array_equal(box.place(box.of(last, size), size), last)
    squashed = min(unlike(box.size, shape) for shape in INPUT_SIZES)
    of_frame = min(unlike(size, shape) for shape in INPUT_SIZES)
    assert squashed < max(np.log(1.15), of_frame + 0.05)


@settings(max_examples=100, deadline=None)
@given(rectangles)
def test_people_keep_a_margin_but_at_the_frames_own_border(person):
    tracker = followed(mask(person))
    box = tracker.box(SIZE, FRAME)
    extent_of_person = extent(mask(person))[0]
    assert extent_of_person is not None
    left, top, right, bottom = extent_of_person
    wide, high = 0.1 * (right - left), 0.1 * (bottom - top)
    assert box.left <= max(0, left - wide) and box.right >= min(SIZE[0], right + wide)
    assert box.top <= max(0, top - high) and box.bottom >= min(SIZE[1], bottom + high)


def test_it_grows_at_once_and_shrinks_slowly():
    small, large = mask((0.4, 0.4, 0.6, 0.9)), mask((0.25, 0.2, 0.6, 0.9))
    assert followed(small, large).box(SIZE, FRAME).left <= 0.25 * SIZE[0] - 4
    tracker = followed(large)
    areas = []
    for index in range(1, 90):
        tracker.follow(small, index * FRAME)
        tracker.saw_whole_frame(BLANK, index * FRAME)
        areas.append(tracker.box(SIZE, index * FRAME).area)
    assert areas == sorted(areas, reverse=True)
    assert areas[2] > 0.9 * areas[0] and areas[-1] < 0.7 * areas[0]


def test_a_person_who_moves_is_awaited_where_they_go():
    """Their box holds them two frames on; one that ignored the motion would not always do so."""
    lost = {True: 0, False: 0}
    for wide in np.arange(0.1, 0.4, 0.02):
        for heeded in lost:
            tracker = followed(*(mask((x, 0, x + wide, 1)) for x in (0, 0.05, 0.1)))
            tracker.speed *= heeded
            box, there = tracker.box(SIZE, 4 * FRAME), mask((0.2, 0, 0.2 + wide, 1))
            lost[heeded] += tracker.lost(box.place(box.of(there, SIZE), SIZE), box, 0.1)
    assert lost[True] == 0 and lost[False] > 0


def test_a_wavering_outline_does_not_move_the_box():
    rng, boxes = np.random.default_rng(0), set()
    tracker = followed(mask((0.4, 0.3, 0.6, 1)))
    for index in range(1, 60):
        edges = np.array([0.4, 0.3, 0.6, 1]) + rng.uniform(-0.004, 0.004, 4)
        tracker.follow(mask(tuple(np.clip(edges, 0, 1))), index * FRAME)
        tracker.saw_whole_frame(BLANK, index * FRAME)
        boxes.add(tracker.box(SIZE, (index + 1) * FRAME))
    assert len(boxes) <= 4


@pytest.mark.parametrize("time", [99.0, -0.1, float("nan")])
def test_when_time_jumps_nothing_is_known_any_more(time):
    tracker = followed(mask((0.4, 0.4, 0.6, 1)))
    assert not tracker.box(SIZE, FRAME).covers(SIZE)
    assert tracker.box(SIZE, time).covers(SIZE)


def test_the_whole_frame_is_looked_at_at_first_when_empty_when_forgotten_and_at_another_size():
    assert PersonTracker().box(SIZE, 0.0).covers(SIZE)
    assert followed(mask()).box(SIZE, FRAME).covers(SIZE)
    tracker = followed(mask((0.4, 0.4, 0.6, 1)))
    assert tracker.box((240, 240), FRAME).covers((240, 240))
    tracker.reset()
    assert tracker.box(SIZE, FRAME).covers(SIZE)


@settings(max_examples=50, deadline=None)
@given(rectangles)
def test_a_part_of_a_mask_is_placed_where_it_came_from(person):
    """Nothing is outside the box, and what is inside is where it was."""
    image = mask(person)
    box = Box(40, 20, 280, 160)
    placed = box.place(box.of(image, SIZE), SIZE)
    inside = np.zeros_like(image)
    inside[20:160, 40:280] = 1
    assert np.array_equal(placed, image * inside)


# --- Scenes, with a network that sees what is green


class Greens:
    """A network that recognises people by their green, in any part of a picture it is shown."""

    def __init__(self):
        self.shown = []  # widths of the parts

    def __call__(self, part: np.ndarray) -> np.ndarray:
        self.shown.append(part.shape[1])
        green = (part[..., 1] > 200).astype(np.float32)
        return cv2.resize(green, (80, 44), interpolation=cv2.INTER_AREA)


def picture(*people) -> np.ndarray:
    """uint8 [360,640,3]: a textured grey room with green people in it."""
    room = np.random.default_rng(0).integers(40, 120, (18, 32, 1), np.uint8)
    image = cv2.resize(room, (640, 360), interpolation=cv2.INTER_NEAREST)
    image = np.repeat(image[..., None], 3, axis=2)
    image[mask(*people, size=(640, 360)) > 0] = (30, 255, 30)
    return image


def run(tracker: PersonTracker, network, pictures, start=0) -> list[np.ndarray]:
    masks = []
    for index, image in enumerate(pictures, start):
        masks.append(tracker.segment(Picture(image), index * FRAME, network))
        tracker.follow(masks[-1], index * FRAME)
    return masks


def overlap(found: np.ndarray, *people) -> float:
    true = mask(*people) > 0.5
    return float(((found > 0.5) & true).sum() / ((found > 0.5) | true).sum())


SITTING = (0.4, 0.3, 0.6, 1.0)


def test_the_person_is_seen_larger_in_the_same_place():
    network = Greens()
    masks = run(PersonTracker(), network, [picture(SITTING)] * 20)
    assert network.shown[0] == 640 and set(network.shown[1:]) == {network.shown[1]}
    assert network.shown[1] < 400
    assert all(overlap(each, SITTING) > 0.9 for each in masks)


def test_a_person_who_jumps_across_the_frame_is_never_cut():
    network = Greens()
    tracking = PersonTracker()
    places = [(x, 0.3, x + 0.2, 1.0) for x in (0.1, 0.1, 0.7, 0.7, 0.1, 0.75, 0.4, 0.0)]
    for place, found in zip(places, run(tracking, network, map(picture, places)), strict=True):
        assert overlap(found, place) > 0.85


@pytest.mark.parametrize("speed", [0.01, 0.02, 0.04, 0.08])  # frame widths per frame
def test_a_person_who_runs_is_never_cut(speed):
    places = [(x, 0.3, x + 0.2, 1.0) for x in np.arange(0, 0.8, speed)]
    masks = run(PersonTracker(), Greens(), map(picture, places))
    assert min(overlap(found, place) for found, place in zip(masks, places, strict=True)) > 0.85


def test_a_newcomer_is_seen_within_0_3_seconds():
    tracking = PersonTracker()
    run(tracking, Greens(), [picture(SITTING)] * 10)
    newcomer = (0.85, 0.3, 1.0, 1.0)
    masks = run(tracking, Greens(), [picture(SITTING, newcomer)] * 9, start=10)
    assert overlap(masks[-1], SITTING, newcomer) > 0.85


def test_a_newcomer_too_slow_to_be_noticed_frame_by_frame_is_seen_all_the_same():
    tracking = PersonTracker()
    run(tracking, Greens(), [picture(SITTING)] * 10)
    for index in range(40):
        newcomer = (0.9 - 0.002 * index, 0.3, 1.0, 1.0)
        (found,) = run(tracking, Greens(), [picture(SITTING, newcomer)], start=10 + index)
        if index > 9:
            assert overlap(found, SITTING, newcomer) > 0.85


def test_an_empty_room_stays_empty_and_is_looked_at_whole():
    network = Greens()
    masks = run(PersonTracker(), network, [picture()] * 40)
    assert set(network.shown) == {640} and len(network.shown) == 40
    assert not any(found.any() for found in masks)


LIES = {"everything": 1.0, "nothing": 0.0}


@pytest.mark.parametrize("lie", LIES)
def test_a_box_that_lies_is_not_believed(lie):
    """A network that is right about whole frames, and always wrong about boxes."""

    class Lying(Greens):
        def __call__(self, part):
            return super().__call__(part) if part.shape[1] == 640 else np.full_like(
                super().__call__(part), LIES[lie])  # fmt: skip

    network = Lying()
    masks = run(PersonTracker(), network, [picture(SITTING)] * 90)
    assert min(overlap(found, SITTING) for found in masks) > 0.85
    assert len(network.shown) < 1.2 * len(masks)  # it is not asked twice each time


def test_a_plausible_lie_lasts_no_longer_than_a_second():
    """A box stuck on a thing taken for a person only inside boxes; outside it nothing leaks."""
    thing = (0.7, 0.3, 0.8, 0.8)

    class Misled(Greens):
        def __call__(self, part):
            if part.shape[1] == 640:
                return super().__call__(part)
            ellipse = np.zeros((44, 80), np.float32)
            cv2.ellipse(ellipse, (40, 22), (20, 14), 0, 0, 360, 1, -1)
            return ellipse

    masks = run(PersonTracker(), Misled(), [picture(thing)] * 90)
    truth = [overlap(found, thing) > 0.85 for found in masks]
    assert max(np.diff(np.flatnonzero([*truth, True]))) <= 31  # frames
