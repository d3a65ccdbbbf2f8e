"""Follows the people, so that the network sees only them, at a larger size.

The network's input is small. A box around the people of the last mask uses it better than the
whole frame: more detail at the same cost. Whatever is outside the box counts as background, so a
wrong box blurs too much, never too little. The network runs on the whole frame

- at first, after a cut or an error, and while nobody is there; once someone is, it runs on their
  box in the same frame;
- when the mask touches the border of the box, or what was in the box has gone: in the same frame;
- in addition to the box, when something changes outside it, at most four times per second, and
  at least once per second. The box's mask is kept where the two agree, so that this does not show.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.imaging import Picture
from background_blur.matting.boxes import Box, mask_size, whole
from background_blur.matting.motion import has_changed_outside
from background_blur.matting.people import SPECK
from background_blur.matting.segmenter import INPUT_SIZES

MARGIN = 0.12  # share of the people's width and height, left free on each side of them
PERSON = 0.2  # a mask above it marks someone whom the box must contain
TOUCHING = 2  # pixels of the mask; anyone this near to the box's border may extend beyond it
GONE = 0.5  # share of the last area in the box; if less is left, they moved out of it
LEAST = 0.3  # share of the frame's width and height; enlarging a smaller box adds no detail
NEARLY_WHOLE = 0.85  # share of the frame; a box this large gains nothing
STEP = 4  # pixels of the mask that the box's edges move by, so that noise does not move them
SHRINKING = 1.0  # seconds in which a box that is too large loses 63 % of the surplus
RESHAPE = 1.2  # times the area that another shape would need, before the box takes that shape
WHOLE_INTERVAL = 1.0  # seconds between runs on the whole frame
RECHECK_INTERVAL = 0.25  # the same when something changes outside the box
MAX_WHOLE_AGE = 2.0  # seconds after such a run; later nothing is known about the people
MIN_AGREEMENT = 0.7  # IoU of the people in the box with those of the whole frame, to keep its mask
MAX_RECHECK = 2.0  # seconds of runs on the whole frame when boxes fail again and again

# A picture, uint8 [h,w,3], whole or in part -> its mask, float32 of any size; may raise.
Predict = Callable[[np.ndarray], np.ndarray]
Edges = np.ndarray  # float [4]: left, top, right, bottom
OUTWARD = np.array([-1, -1, 1, 1])


class PersonTracker:
    """Follows the people of one source, and shows the network the part of a frame where they are.

    `segment` makes the mask of a key frame from its `box`, and from the whole frame if the people
    are `lost` or it `needs_whole_frame`. `follow` takes every mask, propagated ones too, so that
    the box moves with the people.

    Thumbnails are uint8 [h,w], grey, of any one size; masks are of the whole frame, of one size.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.size: Size | None = None  # of the masks
        # Edges of the people, and with their margin, slow to shrink.
        self.edges: np.ndarray | None = None
        self.held: np.ndarray | None = None
        self.speed = np.zeros(4)  # of the edges, outwards, in pixels per second
        self.area, self.shape, self.time = 0, None, 0.0
        # Of the last run on the whole frame; before the first, infinitely long ago.
        self.whole_time, self.whole_thumbnail = -math.inf, np.zeros((1, 1), np.uint8)
        self.whole_until, self.recheck = 0.0, RECHECK_INTERVAL  # after a box that failed

    def segment(self, picture: Picture, time: float, predict: Predict) -> np.ndarray:
        """Makes the mask of a picture [H,W,3], float32 [H/2,W/2], by predicting its parts."""
        size = mask_size(picture.image)
        around, box = None, self.box(size, time)
        if box.covers(size):
            around = self._segment_whole(picture, size, time, predict)
            self.follow(around, time)
            box = self.box(size, time)
            if box.covers(size):
                return around
        mask = predict_box(picture.image, box, size, predict)
        is_lost = self.lost(mask, box, time)
        if around is None and (is_lost or self.needs_whole_frame(box, picture.thumbnail, time)):
            around = self._segment_whole(picture, size, time, predict)
        if around is None:
            return mask
        return around if is_lost else merge(mask, around, box)

    def _segment_whole(
        self, picture: Picture, size: Size, time: float, predict: Predict
    ) -> np.ndarray:
        self.saw_whole_frame(picture.thumbnail, time)
        return predict_box(picture.image, whole(size), size, predict)

    def box(self, size: Size, time: float) -> Box:
        """The part of the frame to run on at that time, for a mask of that (width, height)."""
        if size != self.size or self.held is None:
            return whole(size)
        if not 0 <= time - self.whole_time < MAX_WHOLE_AGE or time < self.whole_until:
            return whole(size)
        box = self._around_people(self.held, size, time)
        return whole(size) if box.area >= NEARLY_WHOLE * size[0] * size[1] else box

    def needs_whole_frame(self, box: Box, thumbnail: np.ndarray, time: float) -> bool:
        """Whether to run on the whole frame too, given its thumbnail."""
        if self.size is None or box.covers(self.size):
            return False
        since = time - self.whole_time
        if since >= WHOLE_INTERVAL:
            return True
        return since >= RECHECK_INTERVAL and has_changed_outside(
            thumbnail, self.whole_thumbnail, box, self.size
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
        """Takes a frame's mask, float32 [h,w], wherever it comes from."""
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


def merge(mask: np.ndarray, around: np.ndarray, box: Box) -> np.ndarray:
    """Merges float32 [h,w] masks: `mask` in the box, unless they disagree; `around` elsewhere."""
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    people = [each[inside] > 0.5 for each in (mask, around)]
    either = np.count_nonzero(people[0] | people[1])
    if np.count_nonzero(people[0] & people[1]) < MIN_AGREEMENT * either:
        return around
    around[inside] = mask[inside]
    return around


def predict_box(image: np.ndarray, box: Box, size: Size, predict: Predict) -> np.ndarray:
    """Predicts the mask, of that (width, height), of what can be seen in the box."""
    return box.place(predict(np.ascontiguousarray(box.of(image, size))), size)


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
    """Moves the edges apart to the shape of a (width, height), as far as the frame allows."""
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
    """How much a (width, height) is squashed to fit a shape; 0 if not at all."""
    return abs(np.log(size[0] / size[1] * shape[1] / shape[0]))
