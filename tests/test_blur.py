"""One frame in, one finished frame out; and nothing sharp out without a trusted mask."""

import itertools

import cv2
import numpy as np
import pytest

from background_blur.errors import SourceError
from background_blur.frames import Frame
from background_blur.matting.quality import LEVELS, QualityLevel
from background_blur.matting.segmenter import Masks, nearest_input_size
from background_blur.settings import HIDDEN, Settings
from support.captures import detail
from support.segmenters import FakeBlur, fails, left_half


def test_person_sharp_background_blurred(picture):
    out = FakeBlur(left_half, Settings())(picture).image
    assert np.array_equal(out[:, :130], picture[:, :130])
    assert detail(out[:, 190:]) < 0.01 * detail(picture[:, 190:])


def test_input_stays_as_it_was(picture):
    before = picture.copy()
    FakeBlur(left_half, Settings(mirror=True))(picture)
    assert np.array_equal(picture, before)


def test_views(picture):
    alpha = FakeBlur(left_half, Settings(view="alpha"))(picture).image
    assert alpha.shape == picture.shape
    assert (alpha[:, :130] == 255).all()
    assert (alpha[:, 190:] == 0).all()
    split, alone = (FakeBlur(left_half, Settings(view=it))(picture) for it in ("split", "result"))
    assert np.array_equal(split.image, np.hstack([picture, alone.image]))
    assert np.array_equal(split.alpha, alone.alpha) and split.alpha.shape == picture.shape[:2]


def test_strength_0_leaves_the_picture_as_it_is():
    large = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    out = FakeBlur(left_half, Settings(strength=0))(large).image
    assert np.abs(out.astype(int) - large).max() <= 1


def test_mirror_flips_the_picture_before_anything_else(picture):
    mirrored = FakeBlur(left_half, Settings(mirror=True))(picture).image
    assert np.array_equal(mirrored, FakeBlur(left_half, Settings())(picture[:, ::-1].copy()).image)


def mask_of(value):
    return lambda small: np.full((30, 40), value, np.float32)


@pytest.mark.parametrize(
    "segmenter",
    [
        fails,
        lambda small: None,
        lambda small: np.zeros((0, 0), np.float32),
        lambda small: np.ones((30, 40, 2), np.float32),
        lambda small: left_half(small)[::10, ::10],
        lambda small: left_half(small).astype(int),
        mask_of(np.nan),
        mask_of(np.inf),
    ],
    ids=["raises", "none", "empty", "shape", "tiny", "whole numbers", "nan", "inf"],
)
@pytest.mark.parametrize("view", ["result", "split", "alpha"])
def test_without_a_valid_mask_the_whole_frame_is_blurred(picture, segmenter, view):
    blur = FakeBlur(segmenter, Settings(view=view, strength=0.0))
    out = blur(picture).image[:, -320:]
    assert detail(out) < 0.01 * detail(picture)
    assert blur.last_result.fully_blurred_because


def test_a_person_who_comes_close_slowly_is_believed(picture):
    shares = np.linspace(0.5, 1, 60)
    shares = [*shares, *[1] * 40]  # the picture stands still, so the alpha follows slowly
    masks = [np.tile(np.arange(40) < 40 * s, (30, 1)).astype(np.float32) for s in shares]
    blur = FakeBlur(lambda small: masks.pop(0), Settings())
    for _ in shares:
        out = blur(picture).image
    assert blur.last_result.fully_blurred_because is None
    assert np.array_equal(out, picture)
    blur.network.mask_of = mask_of(0.99)
    blur(picture // 2)  # a cut, which nothing led up to
    assert blur.last_result.fully_blurred_because == "the mask suddenly covers everything"


def test_a_close_up_is_believed_within_half_a_second(portrait):
    """A face fills the picture from the first frame on; the network recognises skin."""
    face = cv2.resize(portrait[60:220, 150:310], (320, 240))
    skin = lambda small: (small.astype(int).std(2) > 0).astype(np.float32)  # noqa: E731
    blur = FakeBlur(skin, Settings(view="alpha"))
    shown = [blur(Frame(face + index % 2, index / 30)).alpha.mean() for index in range(30)]
    assert shown[0] == 0 and min(shown[15:]) > 200
    blur(Frame(255 - face[:, ::-1], 1.0))  # a cut
    assert blur.last_result.fully_blurred_because == "the mask suddenly covers everything"


def test_unrelated_pictures_do_not_influence_each_other(picture):
    other = cv2.flip(picture, 0)
    right_half = lambda small: left_half(small)[:, ::-1].copy()  # noqa: E731
    blur = FakeBlur(left_half, Settings(), is_sequence=False)
    blur(picture)
    blur.network.mask_of = right_half
    assert np.array_equal(
        blur(other).image, FakeBlur(right_half, Settings(), is_sequence=False)(other).image
    )


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (641, 361), (3840, 2160)])
def test_odd_and_extreme_sizes(size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = FakeBlur(left_half, Settings())(picture).image
    assert out.shape == picture.shape
    assert out.dtype == np.uint8


def box(small: np.ndarray) -> np.ndarray:
    """The mask of a white box."""
    return cv2.resize((small.min(2) > 250).astype(np.float32), (80, 60))


def room_with_box(x: int) -> np.ndarray:
    """A box, its left edge at `x`, in front of soft blobs."""
    rough = np.random.default_rng(1).integers(0, 200, (12, 16, 3), np.uint8)
    picture = cv2.resize(rough, (320, 240), interpolation=cv2.INTER_CUBIC).clip(0, 200)
    picture[80:, x : x + 90] = 255
    return picture


class LiveBlur(FakeBlur):
    """Runs at one quality level, as live sources do."""

    def __init__(self, number: int, mask_of=box):
        super().__init__(mask_of, Settings(view="alpha"))
        self.level = LEVELS[number]

    def __call__(self, image: np.ndarray, time: float, level: QualityLevel | None = None):
        return super().__call__(Frame(image, time), level or self.level)


def edges(alpha: np.ndarray) -> tuple[int, int]:
    person = np.flatnonzero(alpha[200, :, 0] > 127)
    return person[0], person[-1]


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_whatever_the_step_the_alpha_is_of_this_very_frame(number):
    blur, sources = LiveBlur(number), []
    for index in range(24):
        left = 60 + 2 * index
        result = blur(room_with_box(left), index / 30)
        alpha = result.image
        sources.append(result.mask_from)
        assert np.abs(np.subtract(edges(alpha), (left, left + 89))).max() <= 3
    least = 24 // LEVELS[number].every
    assert least <= blur.network.looks <= 1.5 * least
    assert sources.count("propagated") == 24 - blur.network.looks
    assert blur.network.scales == {LEVELS[number].scale}


def test_while_nothing_moves_the_network_rests_and_wakes_with_the_first_motion():
    blur = LiveBlur(0)
    for index in range(30):
        blur(room_with_box(100), index / 30)
    assert 5 <= blur.network.looks <= 10
    looks = blur.network.looks
    for index in range(30, 40):
        left = 100 + 6 * (index - 29)
        alpha = blur(room_with_box(left), index / 30).image
        assert np.abs(np.subtract(edges(alpha), (left, left + 89))).max() <= 4
    assert blur.network.looks == looks + 10


def test_without_a_quality_level_the_network_runs_at_every_frame():
    looked = []
    blur = FakeBlur(lambda small: looked.append(1) or left_half(small), Settings())
    for index in range(9):
        blur(Frame(room_with_box(100), index / 30))
    assert len(looked) == 9


half = room_with_box(115)[:, :160]
SYMMETRIC = np.hstack([half, half[:, ::-1]])  # nothing but the fault tells two frames apart


def mirrors(blur) -> float:
    blur.settings.mirror = True
    return 0.033


def hides(blur) -> float:
    blur.settings.hide = True
    blur(SYMMETRIC, 0.066)
    blur.settings.hide = False
    return 0.066


def breaks(blur) -> float:
    blur.network.mask_of = fails
    blur(SYMMETRIC, 0.3)  # the network is due
    blur.network.mask_of = box
    return 0.3


@pytest.mark.parametrize("fault", [mirrors, hides, breaks])
def test_no_mask_is_carried_over(fault):
    blur = LiveBlur(2)
    blur(SYMMETRIC, 0.0)
    blur(SYMMETRIC, 0.033)
    assert blur.network.looks == 1
    blur(SYMMETRIC, fault(blur) + 0.033)
    assert blur.network.looks == 2


def test_no_mask_is_carried_over_a_cut():
    blur = LiveBlur(2)
    blur(SYMMETRIC, 0.0)
    blur(cv2.subtract(SYMMETRIC, (12, 12, 12, 0)), 0.033)  # the motion would be believed
    assert blur.network.looks == 2


def test_a_carried_mask_is_distrusted_like_any_other():
    blur = LiveBlur(1)
    blur(room_with_box(100), 0.0)
    for wrong in (np.nan, 7.0, -0.5):
        blur.masks.propagator.mask[:] = wrong
        alpha = blur(room_with_box(100), 0.033).image
        assert not alpha.any() and blur.last_result.fully_blurred_because
        blur(room_with_box(100), 0.0)


def test_a_network_that_is_stuck_is_found_out_between_carried_frames():
    stuck = box(room_with_box(20))
    blur = LiveBlur(1, lambda small: stuck)
    hidden = []
    for index in range(40):
        blur(room_with_box(20 + 4 * index), index / 30)
        hidden.append(blur.last_result.fully_blurred_because)
    assert all("old mask" in (because or "") for because in hidden[-10:])


def test_a_live_source_gives_the_same_again():
    first, again = (
        [live(room_with_box(60 + 3 * index), index / 30).image for index in range(9)]
        for live in (LiveBlur(2), LiveBlur(2))
    )
    assert np.array_equal(first, again)


# --- The network sees the part of the frame where the people are


def boxes(part: np.ndarray) -> np.ndarray:
    """Finds white boxes in any part of a picture."""
    found = (part.min(2) > 250).astype(np.float32)
    width, height = nearest_input_size((part.shape[1], part.shape[0]))
    return cv2.resize(found, (width // 4, height // 4), interpolation=cv2.INTER_AREA)


def tracked(segmenter, frames=10, **kwargs) -> FakeBlur:
    blur = FakeBlur(segmenter, Settings(view="alpha"), track=True, **kwargs)
    for _ in range(frames):
        blur(room_with_box(100))
    return blur


def test_the_network_sees_the_people_alone_and_the_alpha_stays_in_place():
    blur = tracked(boxes, 1)
    whole_frame, part = blur.last_result.seen
    assert whole_frame == 1 and part < 0.85
    for index in range(1, 25):
        result = blur(room_with_box(100 + index))
        assert np.abs(np.subtract(edges(result.image), (100 + index, 189 + index))).max() <= 3
        assert len(result.seen) == 1 and result.seen[0] < 0.85


def test_unrelated_pictures_are_seen_whole():
    blur = tracked(boxes, is_sequence=False)
    assert blur(room_with_box(100) // 2).seen == (1.0,)


WRONG = {
    "the network gave no mask": lambda part: None,
    "the network gave a mask of another shape": lambda part: np.ones((80, 20), np.float32),
    "the network gave numbers outside 0 to 1": lambda part: np.full((60, 80), 7, np.float32),
    "the network failed: no such tensor": fails,
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_is_wrong_in_a_part_is_wrong_in_the_frame(reason):
    blur = tracked(boxes)
    assert blur.last_result.fully_blurred_because is None
    blur.network.mask_of = WRONG[reason]
    assert blur(room_with_box(101)).fully_blurred_because == reason
    assert not blur.last_result.alpha.any()


def test_a_network_that_gives_the_same_mask_for_every_part_is_found_out():
    blur = tracked(boxes)
    stuck = boxes(room_with_box(100)[60:, 60:240])
    blur.network.mask_of = lambda part: stuck
    blur(room_with_box(100))
    for index in range(1, 40):
        assert "old mask" in blur(room_with_box(100 + 3 * index)).fully_blurred_because


@pytest.mark.slow
def test_a_change_outside_the_part_that_is_seen_makes_no_mask_an_old_one():
    """The network's mask of the same part is the same, bit for bit; a screen elsewhere changes."""
    blur = tracked(boxes)
    for index in range(60):
        picture = room_with_box(100)
        picture[5:45, 5:45] = 3 * index
        assert blur(picture).fully_blurred_because is None


def test_images_without_a_time_come_30_a_second():
    blur = tracked(boxes, 40)
    assert blur.last_result.time == pytest.approx(39 / 30)


def moving_box(count: int = 12) -> list[Frame]:
    return [Frame(room_with_box(60 + 5 * index), index / 30) for index in range(count)]


def test_frames_processed_ahead_come_out_as_they_do_one_by_one():
    ahead, one_by_one = (FakeBlur(boxes, Settings(), track=True) for _ in range(2))
    results = list(ahead.process(moving_box()))
    for result, frame in zip(results, moving_box(), strict=True):
        alone = one_by_one(frame, LEVELS[0])
        assert np.array_equal(result.image, alone.image) and result.time == alone.time
        assert (result.mask_from, result.seen) == (alone.mask_from, alone.seen)


def test_every_frame_before_an_error_comes_out():
    def frames():
        yield from moving_box(3)
        raise SourceError("the camera has gone")

    times = []
    with pytest.raises(SourceError, match="gone"):
        times.extend(result.time for result in FakeBlur(boxes).process(frames()))
    assert times == [0, 1 / 30, 2 / 30]


def test_hiding_takes_effect_at_once_though_masks_are_found_ahead():
    blur = FakeBlur(boxes)
    coming = blur.process(moving_box(4))
    assert next(coming).fully_blurred_because is None
    blur.settings.hide = True
    assert [result.fully_blurred_because for result in coming] == [HIDDEN] * 3


def test_recordings_keep_the_mask_while_nothing_moves():
    blur = FakeBlur(boxes)
    rng = np.random.default_rng(0)
    noisy = [
        cv2.add(room_with_box(100), rng.integers(0, 3, (240, 320, 3), np.uint8)) for _ in "x" * 30
    ]
    results = list(blur.process(Frame(image, index / 30) for index, image in enumerate(noisy)))
    assert 6 <= blur.network.looks <= 10
    assert {result.mask_from for result in results} == {"network", "reused"}
    for last, result in itertools.pairwise(results):  # and the edges, which noise would move
        if result.mask_from == "reused":
            assert np.array_equal(result.alpha, last.alpha)


def patch_goes(frame_count: int, reused: bool) -> int:
    """Returns after how many frames a patch that the network no longer marks is gone."""
    marked = True

    def patches(part):
        mask = boxes(part)
        mask[2:8, 2:8] = marked
        return mask

    blur, rng = FakeBlur(patches, Settings(view="alpha")), np.random.default_rng(0)
    noise = rng.integers(0, 3, (frame_count, 240, 320, 3), np.uint8)
    for index, each in enumerate(noise):
        frame = Frame(cv2.add(room_with_box(150), each), index / 30)
        alpha = blur(frame, LEVELS[0] if reused else None).image
        marked = index < 40
        if not marked and not alpha[16:64, 16:64].any():
            return index - 40
    return frame_count


def test_what_is_no_longer_marked_goes_as_soon_where_masks_are_reused():
    assert patch_goes(150, reused=True) <= patch_goes(150, reused=False) + 6


def test_who_is_not_to_stay_goes_at_once(monkeypatch):
    def two(frame, scale):
        everybody = boxes(frame)
        everybody[2:12, 2:12] = 1
        return Masks(everybody, boxes(frame))

    blur = FakeBlur(boxes, Settings(people="all"))
    monkeypatch.setattr(blur.network, "segment", two)
    for index in range(10):
        result = blur(Frame(room_with_box(150), index / 30), LEVELS[1])
    assert result.mask_from == "reused" and result.alpha[15:50, 15:50].all()
    blur.settings.people = "front"
    assert not blur(Frame(room_with_box(150), 10 / 30), LEVELS[1]).alpha[:70, :100].any()


def test_no_mask_outlives_an_error_of_the_refiner(monkeypatch):
    blur = FakeBlur(boxes)
    frames = [Frame(room_with_box(100), index / 30) for index in range(3)]
    assert blur(frames[0], LEVELS[0]).mask_from == "network"
    with monkeypatch.context() as patch:
        patch.setattr(blur.refiner, "refine", fails)
        assert "failed" in str(blur(frames[1], LEVELS[0]).fully_blurred_because)
    assert blur(frames[2], LEVELS[0]).mask_from == "network"


@pytest.mark.parametrize("error", [SourceError, OSError, ValueError])
def test_what_a_background_raises_leaves_no_gap(error):
    blur = FakeBlur(boxes)
    results = []
    with pytest.raises(error):
        for result in blur.process(moving_box(6)):
            results.append(result.time)
            if len(results) == 2:
                blur.settings.background = lambda size, time: (_ for _ in ()).throw(error("gone"))
    assert results == [0, 1 / 30]


def test_a_photo_is_whole_as_it_was_found():
    blur = FakeBlur(left_half, is_sequence=False)
    deep = np.random.default_rng(0).integers(0, 65536, (240, 320, 3), np.uint16)
    shallow = (deep // 257).astype(np.uint8)
    coming = blur.process(Frame(shallow, whole=deep) for _ in range(2))
    next(coming)
    blur.settings.mirror = True  # its mask has already been found
    whole = next(coming).whole
    assert whole is not None and np.array_equal(whole[:, :130], deep[:, :130])
