"""Follows the people, so that the network sees only them, and larger.

The network's input is small. A box around the people of the last mask uses it better than the
whole frame: more detail at the same cost. Whatever is outside the box counts as background, so a
wrong box blurs too much, never too little. The network runs on the whole frame

- at first, after a cut or a fault, and while nobody is there; once somebody is, it runs on their
  box in the same frame;
- when the mask touches the border of the box, or what was in the box has gone: in the same frame;
- besides the box, when something changes outside it, at most four times per second, and at least
  once per second. The box's mask is kept where the two agree, so that nothing is seen of this.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.boxes import Box, mask_size, whole
from background_blur.matting.people import SPECK
from background_blur.matting.segmenter import INPUT_SIZES

MARGIN = 0.12  # share of the people's width and height, left free on each side of them
PERSON = 0.2  # a mask above it marks somebody whom the box must hold
TOUCHING = 2  # pixels of the mask; who is as near to the box's border may go on outside it
GONE = 0.5  # share of the last area in the box; less left means that they moved out of it
LEAST = 0.3  # share of the frame's width and height; enlarging a smaller box adds no detail
NEARLY_WHOLE = 0.85  # share of the frame; a box as large gains nothing
STEP = 4  # pixels of the mask that the box's edges move by, so that noise does not move them
SHRINKING = 1.0  # seconds in which a box that is too large loses 63 % of the surplus
RESHAPE = 1.2  # times the area that another shape would need, before the box takes that shape
WHOLE_INTERVAL = 1.0  # seconds between runs on the whole frame
RECHECK_INTERVAL = 0.25  # the same when something changes outside the box
MAX_WHOLE_AGE = 2.0  # seconds after such a run; later nothing is known of the people
MIN_AGREEMENT = 0.7  # IoU of the people in the box with those of the whole frame, to keep the box's
MAX_RECHECK = 2.0  # seconds of runs on the whole frame when boxes fail again and again
CHANGED = 5  # grey levels that a spot outside the box changes by, beyond the whole picture's change

# A picture, uint8 [h,w,3], whole or in part -> its mask, float32 of any size; or it raises.
Predict = Callable[[np.ndarray], np.ndarray]
Edges = np.ndarray  # float [4]: left, top, right, bottom
OUTWARD = np.array([-1, -1, 1, 1])


class TrackingSegmenter:
    """Masks of one source's frames, in order, each from the part where the people are."""

    def __init__(self):
        self.tracker = PersonTracker()

    def reset(self) -> None:
        self.tracker.reset()

    def follow(self, mask: np.ndarray, time: float) -> None:
        """Takes the mask of a frame, wherever it comes from."""
        self.tracker.follow(mask, time)

    def __call__(
        self, image: np.ndarray, thumbnail: np.ndarray, time: float, predict: Predict
    ) -> np.ndarray:
        """The mask of an image, uint8 [H,W,3], whose grey thumbnail is given: float32 [H/2,W/2]."""
        size = mask_size(image)

        def predict_whole() -> np.ndarray:
            self.tracker.saw_whole_frame(thumbnail, time)
            return predict_box(image, whole(size), size, predict)

        around, box = None, self.tracker.box(size, time)
        if box.covers(size):
            around = predict_whole()
            self.tracker.follow(around, time)
            box = self.tracker.box(size, time)
            if box.covers(size):
                return around
        mask = predict_box(image, box, size, predict)
        if self.tracker.lost(mask, box, time):
            return predict_whole() if around is None else around
        if around is None and self.tracker.needs_whole_frame(box, thumbnail, time):
            around = predict_whole()
        return mask if around is None else merged(mask, around, box)


def merged(mask: np.ndarray, around: np.ndarray, box: Box) -> np.ndarray:
    """Two masks float32 [h,w]: `around`, and in the box the other one, unless they contradict."""
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    people = [each[inside] > 0.5 for each in (mask, around)]
    either = np.count_nonzero(people[0] | people[1])
    if np.count_nonzero(people[0] & people[1]) < MIN_AGREEMENT * either:
        return around
    around[inside] = mask[inside]
    return around


def predict_box(image: np.ndarray, box: Box, size: Size, predict: Predict) -> np.ndarray:
    """The mask, of that (width, height), of what can be seen in the box."""
    return box.place(predict(np.ascontiguousarray(box.of(image, size))), size)


class PersonTracker:
    """Says which part of each frame of one source the network should see.

    For every frame that the network runs on: `box`, then a run on that part; if the people are
    `lost` or it `needs_whole_frame`, another on the whole frame, reported to `saw_whole_frame`.
    `follow` takes every mask, propagated ones too, so that the box moves with the people.

    Thumbnails are uint8 [h,w], grey, of any one size; masks are of the whole frame, of one size.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.size: Size | None = None  # of the masks
        # Edges of the people; with their margin, slow to shrink.
        self.edges: np.ndarray | None = None
        self.held: np.ndarray | None = None
        self.speed = np.zeros(4)  # of the edges, outwards, in pixels per second
        self.area, self.shape, self.time = 0, None, 0.0
        # Of the last run on the whole frame; before the first, infinitely long ago.
        self.whole_time, self.whole_thumbnail = -math.inf, np.zeros((1, 1), np.uint8)
        self.whole_until, self.recheck = 0.0, RECHECK_INTERVAL  # after a box that failed

    def box(self, size: Size, time: float) -> Box:
        """The part of the frame at that second to run on, for a mask of that (width, height)."""
        if size != self.size or self.held is None:
            return whole(size)
        if not 0 <= time - self.whole_time < MAX_WHOLE_AGE or time < self.whole_until:
            return whole(size)
        box = self._around_people(self.held, size, time)
        return whole(size) if box.area >= NEARLY_WHOLE * size[0] * size[1] else box

    def needs_whole_frame(self, box: Box, thumbnail: np.ndarray, time: float) -> bool:
        """Whether to run on the whole frame too, whose thumbnail is given."""
        if self.size is None or box.covers(self.size):
            return False
        since = time - self.whole_time
        if since >= WHOLE_INTERVAL:
            return True
        return since >= RECHECK_INTERVAL and changes_outside(
            self.whole_thumbnail, thumbnail, box, self.size
        )

    def _around_people(self, held: np.ndarray, size: Size, time: float) -> Box:
        reach = np.minimum(self.speed * (time - self.time), np.tile(size, 2) / 4)
        edges = limited(held + OUTWARD * np.maximum(reach, 0), size)
        fits = {shape: rounded(shaped(edges, shape, size), size) for shape in INPUT_SIZES}
        best = min(fits, key=lambda shape: unlike(fits[shape].size, shape))
        if self.shape is None or fits[self.shape].area > RESHAPE * fits[best].area:
            self.shape = best
        return fits[self.shape]

    def lost(self, mask: np.ndarray, box: Box, time: float) -> bool:
        """Whether the mask of what is in the box shows that the people may be outside it."""
        size = (mask.shape[1], mask.shape[0])
        if box.covers(size):
            return False
        edges, area = extent(mask)
        failed = edges is None or area < GONE * self.area or touches(edges, box, size)
        if failed:
            self.recheck = min(2 * self.recheck, MAX_RECHECK)
            self.whole_until = time + self.recheck / 2
        elif time - self.whole_until > WHOLE_INTERVAL:
            self.recheck = RECHECK_INTERVAL
        return failed

    def saw_whole_frame(self, thumbnail: np.ndarray, time: float) -> None:
        """Notes that the network has just seen the whole of this frame."""
        self.whole_time, self.whole_thumbnail = time, thumbnail

    def follow(self, mask: np.ndarray, time: float) -> None:
        """Takes a frame's mask, float32 [h,w], of whatever origin."""
        size = mask.shape[::-1]
        if size != self.size:
            self.edges = self.held = None
            self.size = size
        edges, self.area = extent(mask)
        passed = time - self.time
        self.time = time
        if edges is None:
            self.edges = self.held = None
            return
        wanted = edges + OUTWARD * MARGIN * np.tile(edges[2:] - edges[:2], 2)
        if self.held is None or not passed > 0:
            self.speed, self.held = np.zeros(4), wanted if self.held is None else self.held
        else:
            self.speed = OUTWARD * (edges - self.edges) / passed
        surplus = OUTWARD * (self.held - wanted)  # below 0: must grow
        kept = np.exp(-max(passed, 0) / SHRINKING)
        self.held = wanted + OUTWARD * np.where(surplus > 0, kept * surplus, 0)
        self.edges = edges


def extent(mask: np.ndarray) -> tuple[Edges | None, float]:
    """(the edges of the people in a mask, or None; their area in pixels)."""
    person = (mask > PERSON).astype(np.uint8)
    outlines, _ = cv2.findContours(person, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = np.array([cv2.contourArea(outline) for outline in outlines])
    least = SPECK * mask.size
    boxes = [cv2.boundingRect(o) for o, area in zip(outlines, areas, strict=True) if area >= least]
    if not boxes:
        return None, 0.0
    left, top, width, height = np.transpose(boxes)
    edges = left.min(), top.min(), (left + width).max(), (top + height).max()
    return np.array(edges, float), float(areas[areas >= least].sum())


def touches(edges: Edges, box: Box, size: Size) -> bool:
    """Whether the people reach a border of the box that is not the frame's."""
    borders = np.array([box.left, box.top, box.right, box.bottom])
    inner = borders != [0, 0, *size]
    return bool((inner & (OUTWARD * (borders - edges) < TOUCHING)).any())


def shaped(edges: Edges, shape: Size, size: Size) -> Edges:
    """The edges, moved apart until they have the shape of a (width, height), as far as they can."""
    width, height = np.maximum(edges[2:] - edges[:2], np.multiply(LEAST, size))
    aspect = shape[0] / shape[1]
    new = np.minimum([max(width, height * aspect), max(height, width / aspect)], size)
    start = (edges[:2] + edges[2:] - new) / 2
    start = np.clip(start, 0, np.subtract(size, new))  # pushed back into the frame
    return np.concatenate([start, start + new])


def limited(edges: Edges, size: Size) -> Edges:
    return np.clip(edges, 0, np.tile(size, 2))


def rounded(edges: Edges, size: Size) -> Box:
    start = np.floor(edges[:2] / STEP + 1e-6) * STEP
    end = np.minimum(np.ceil(edges[2:] / STEP - 1e-6) * STEP, size)
    return Box(*map(int, start), *map(int, end))


def unlike(size: Size, shape: Size) -> float:
    """How much a (width, height) is squashed to have a shape; 0 not at all."""
    return abs(np.log(size[0] / size[1] * shape[1] / shape[0]))


def changes_outside(last: np.ndarray, thumbnail: np.ndarray, box: Box, size: Size) -> bool:
    """Whether some spot outside the box changed more than the whole picture did."""
    if last.shape != thumbnail.shape:
        return True
    change = cv2.subtract(thumbnail, last, dtype=cv2.CV_16S)
    outside = np.ones(thumbnail.shape, bool)
    across, down = thumbnail.shape[1] / size[0], thumbnail.shape[0] / size[1]
    left, right = int(box.left * across), int(np.ceil(box.right * across))
    top, bottom = int(box.top * down), int(np.ceil(box.bottom * down))
    outside[top:bottom, left:right] = False
    if not outside.any():
        return False
    change = change[outside]
    return bool(np.abs(change - np.median(change)).max() > CHANGED)
