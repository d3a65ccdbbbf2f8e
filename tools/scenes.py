"""Pictures and clips whose alpha is known: people cut out of photographs, put before rooms.

A frame is lit and noisy like a camera's, its truth exact. Everything follows from the photographs
and a number, so that two runs measure the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tools.cutouts import foreground, keyed, match_light
from tools.dataset import UNKNOWN, Photo

SIZE = (1280, 720)
CLIPS = 4  # of each kind
MOVING_FRAMES, STATIC_FRAMES = 44, 24
NOISE = 3.0  # grey levels (standard deviation) of a clip's camera
TALKER_FRAMES = 40
PAIRS, PAIR_FRAMES, SETTLE = 6, 36, 6  # clips of two people, their frames, those not scored
STILL = 3.0  # grey levels; smaller changes, blurred, are a real camera's noise


@dataclass
class Frame:
    image: np.ndarray  # uint8 [h,w,3] BGR
    truth: np.ndarray | None  # float32 [h,w], the alpha, where it is known
    still: np.ndarray | None  # bool [h,w]: where the picture is as in the frame before, if any


@dataclass
class PairFrame:
    """Two people: where the first is, where the second is seen beside or behind the first."""

    image: np.ndarray  # uint8 [h,w,3] BGR
    first: np.ndarray  # bool [h,w]
    second: np.ndarray  # bool [h,w]
    touching: bool


def darken(image: np.ndarray, seed: int) -> np.ndarray:
    """A badly lit room: 18 % of the light and noise of 2 % of full scale, clipped to uint8."""
    noise = np.random.default_rng(seed).normal(0, 0.02, image.shape)
    return to_uint8(255 * (image / 255 * 0.18 + noise))


def people_and_rooms(photos: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """The photographs that composites are made of."""
    people = [p for p in photos if p.prefix in ("selfie", "ccp", "matte") and cuts_out_whole(p)]
    return people, [p for p in photos if p.prefix == "room"]


def cuts_out_whole(photo: Photo) -> bool:
    """Whether the person, known to the last pixel, is cut off by the lower border alone."""
    person = photo.mask > UNKNOWN
    touched = max(person[:, [0, -1]].mean(), person[0].mean())
    return person[-1].any() and touched < 0.02 and (photo.mask == UNKNOWN).mean() < 0.002


def composite(person: Photo, room: Photo, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the picture, uint8 [720,1280,3], and its alpha, float32 [720,1280]."""
    rng = np.random.default_rng((seed, 720))
    image = fill(room.image)
    layer, alpha = cut_out(rng, person, image, rng.uniform(0.35, 0.65))
    return to_uint8(blend(layer, image, alpha)), alpha


def fill(image: np.ndarray) -> np.ndarray:
    """Enlarges a picture until it covers the frame, and crops it about its middle."""
    height, width = image.shape[:2]
    scale = max(SIZE[0] / width, SIZE[1] / height)
    image = cv2.resize(image, (round(width * scale), round(height * scale)))
    top, left = (image.shape[0] - SIZE[1]) // 2, (image.shape[1] - SIZE[0]) // 2
    return image[top : top + SIZE[1], left : left + SIZE[0]]


def cut_out(rng, person: Photo, room: np.ndarray, x: float):
    """The person alone, 60 to 90 % of the frame tall, on its lower border, `x` of its width along.

    A drawn mask, a pixel smaller lest old background shows, blurred by a pixel and scaled with the
    photograph, is the alpha; a true alpha is taken as it is, with the person's own colours.

    Returns:
        float32 [720,1280,3], the person lit a little like the room; float32 [720,1280], the alpha.
    """
    matrix = standing(person.mask, rng.uniform(0.6, 0.9), x)
    return placed(rng, person, room, matrix)


def standing(mask, rise: float, x: float) -> np.ndarray:
    """The affine map that makes a person `rise` of the frame tall, `x` of its width along."""
    ys, xs = np.nonzero(mask > UNKNOWN)
    scale = rise * SIZE[1] / (len(mask) - ys.min())
    to_x, to_y = x * SIZE[0] - scale * np.median(xs), SIZE[1] - 1 - scale * (len(mask) - 1)
    return np.array([[scale, 0, to_x], [0, scale, to_y]])


def placed(rng, person: Photo, room: np.ndarray, matrix):
    """As `cut_out`, mapped by `matrix`."""
    cut, colours = person.mask.astype(np.float32) / 255, person.image
    if person.soft:
        colours = foreground(person.image, person.mask)
    else:
        cut = cv2.erode((cut > 0.9).astype(np.float32), np.ones((3, 3)))
        cut = cv2.GaussianBlur(cut, (0, 0), 1)
    alpha = cv2.warpAffine(cut, matrix, SIZE)
    layer = cv2.warpAffine(colours, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)
    return match_light(rng, layer, room, alpha[..., None]).astype(np.float32), alpha


def blend(layer, image, alpha) -> np.ndarray:
    return image + alpha[..., None] * (layer - image)


def moving_clip(person: Photo, room: Photo, seed: int) -> Iterator[Frame]:
    """The person sways for 24 frames, then crosses a quarter of the picture in 8."""
    rng = np.random.default_rng((seed, 1))
    image = fill(room.image).astype(np.float32)
    layer, alpha = cut_out(rng, person, image, 0.38)
    last = None
    for t in range(MOVING_FRAMES):
        move = np.array([[1, 0, SIZE[0] * path(t)], [0, 1, 0]])
        truth = cv2.warpAffine(alpha, move, SIZE)
        shifted = cv2.warpAffine(layer, move, SIZE, borderMode=cv2.BORDER_REPLICATE)
        clean = blend(shifted, image, truth)
        still = None if last is None else (clean == last).all(2)
        yield Frame(noisy(rng, clean), truth, still)
        last = clean


def path(t: int) -> float:
    """Where the person of a moving clip is at frame `t`, in frame widths from the start."""
    sway = 0.03 * np.sin(2 * np.pi * t / 24) if t < 24 else 0.0
    way = np.clip((t - 27) / 8, 0, 1)
    return sway + 0.25 * way * way * (3 - 2 * way)


def static_clip(person: Photo, room: Photo, seed: int) -> Iterator[Frame]:
    """Nothing moves but the camera's noise."""
    rng = np.random.default_rng((seed, 2))
    image = fill(room.image).astype(np.float32)
    layer, alpha = cut_out(rng, person, image, rng.uniform(0.4, 0.6))
    clean = blend(layer, image, alpha)
    for t in range(STATIC_FRAMES):
        yield Frame(noisy(rng, clean), alpha, np.ones(alpha.shape, bool) if t else None)


def talker_clip(path: Path, room: Photo, seed: int) -> Iterator[Frame]:
    """Somebody talking, keyed from a blue-screen clip."""
    image, last = fill(room.image).astype(np.float32), None
    for index, (picture, mask) in enumerate(keyed(path, every=1)):
        if index == TALKER_FRAMES:
            return
        rng = np.random.default_rng((seed, 3))  # the same place and light in every frame
        person = Photo(f"keyed_{index}", picture, mask, soft=True)
        if index == 0:
            matrix = standing(mask, rng.uniform(0.7, 0.9), 0.5)
        layer, truth = placed(rng, person, image, matrix)
        still = None if last is None else (truth == 0) & (last == 0)
        yield Frame(to_uint8(blend(layer, image, truth)), truth, still)
        last = truth


def second_clip(first: Photo, second: Photo, room: Photo, ratio: float, seed: int):
    """Yields `PairFrame`s: the second person comes from a side, until behind the first."""
    rng = np.random.default_rng((seed, 4))
    image = fill(room.image).astype(np.float32)
    rise = rng.uniform(0.6, 0.8)
    near, near_alpha = placed(rng, first, image, standing(first.mask, rise, 0.4))
    far, far_alpha = placed(rng, second, image, standing(second.mask, rise * ratio, 0.5))
    for t in range(PAIR_FRAMES):
        share = np.clip((t - 8) / (PAIR_FRAMES - 14), 0, 1)
        move = np.array([[1, 0, SIZE[0] * (0.42 - 0.37 * share)], [0, 1, 0]])
        behind = cv2.warpAffine(far_alpha, move, SIZE)
        layer = cv2.warpAffine(far, move, SIZE, borderMode=cv2.BORDER_REPLICATE)
        clean = blend(near, blend(layer, image, behind), near_alpha)
        person = near_alpha > 0.9
        seen = (behind > 0.9) & (near_alpha < 0.05)
        touching = (cv2.dilate(person.astype(np.uint8), np.ones((9, 9))) > 0) & (behind > 0.9)
        yield PairFrame(noisy(rng, clean), person, seen, bool(touching.any()))


def real_clip(path: Path) -> Iterator[Frame]:
    """The frames of a video file, their alpha unknown; still is what changed by < 3 grey levels."""
    video = cv2.VideoCapture(str(path))
    last = None
    try:
        while (read := video.read())[0]:
            grey = cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)
            grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2)
            yield Frame(read[1], None, None if last is None else np.abs(grey - last) < STILL)
            last = grey
    finally:
        video.release()


def noisy(rng, image) -> np.ndarray:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return to_uint8(image + NOISE * noise)


def to_uint8(image) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
