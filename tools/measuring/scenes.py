"""Pictures and clips whose alpha is known: people cut out of photographs and placed in rooms.

Frames have the light and noise of a camera, but an exact truth. Everything is determined by the
photographs and a seed, so that two runs measure the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from background_blur.capture import open_file
from tools.cutouts import keyed, match_light, standing, warped
from tools.photos import UNKNOWN, Photo

SIZE = (1280, 720)
MOVING_FRAMES, STATIC_FRAMES = 44, 24
NOISE = 3.0  # grey levels (standard deviation) of a clip's camera
TALKER_FRAMES = 40
STILL = 3.0  # grey levels; smaller changes in the blurred picture are a real camera's noise


@dataclass
class Frame:
    image: np.ndarray  # uint8 [h,w,3] BGR
    truth: np.ndarray | None  # float32 [h,w], the alpha, if known
    still: np.ndarray | None  # bool [h,w]: where nothing changed since the last frame, if any


def darken(image: np.ndarray, seed: int) -> np.ndarray:
    """Simulates a dark room: 18 % of the light, noise of 2 % of full scale, clipped to uint8."""
    noise = np.random.default_rng(seed).normal(0, 0.02, image.shape)
    return to_uint8(255 * (image / 255 * 0.18 + noise))


def people_and_rooms(photos: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """The photographs that composites are made from."""
    people = [p for p in photos if p.prefix in ("selfie", "ccp", "matte") and cuts_out_whole(p)]
    return people, [p for p in photos if p.prefix == "room"]


def cuts_out_whole(photo: Photo) -> bool:
    """Whether the person is cut off only by the bottom edge, and hardly any pixel is unknown."""
    person = photo.mask > UNKNOWN
    touched = max(person[:, [0, -1]].mean(), person[0].mean())
    return person[-1].any() and touched < 0.02 and (photo.mask == UNKNOWN).mean() < 0.002


def fill(image: np.ndarray) -> np.ndarray:
    """Scales a picture to cover the frame, and crops it at the centre."""
    height, width = image.shape[:2]
    scale = max(SIZE[0] / width, SIZE[1] / height)
    image = cv2.resize(image, (round(width * scale), round(height * scale)))
    top, left = (image.shape[0] - SIZE[1]) // 2, (image.shape[1] - SIZE[0]) // 2
    return image[top : top + SIZE[1], left : left + SIZE[0]]


def cut_out(
    rng: Generator,
    person: Photo,
    room: np.ndarray,
    matrix: np.ndarray,
    colours: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps only the person into the frame, by `matrix`.

    The alpha is a drawn mask, a pixel smaller and blurred by a pixel of the photograph, or a true
    alpha as it is, then with the person's own colours unless others are given.

    Returns:
        float32 [720,1280,3], the person lit a little like the room; float32 [720,1280], the alpha.
    """
    if colours is None:
        colours = person.colours if person.soft else person.image
    layer, alpha = warped(person, colours, matrix, SIZE, 0 if person.soft else matrix[0, 0])
    return match_light(rng, layer, room, alpha).astype(np.float32), alpha


def blend(layer: np.ndarray, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return image + alpha[..., None] * (layer - image)


def moving_clip(person: Photo, room: Photo, seed: int) -> Iterator[Frame]:
    """The person sways for 24 frames, then crosses a quarter of the picture in 8."""
    rng = np.random.default_rng((seed, 1))
    image = fill(room.image).astype(np.float32)
    matrix = standing(person.mask, SIZE, rng.uniform(0.6, 0.9), 0.38)
    layer, alpha = cut_out(rng, person, image, matrix)
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
    """Where the person in a moving clip is at frame `t`, in frame widths from the start."""
    sway = 0.03 * np.sin(2 * np.pi * t / 24) if t < 24 else 0.0
    return sway + 0.25 * smooth((t - 27) / 8)


def smooth(t: float) -> float:
    """Rises from 0 to 1, slowly at both ends."""
    t = float(np.clip(t, 0, 1))
    return t * t * (3 - 2 * t)


def static_clip(person: Photo, room: Photo, seed: int) -> Iterator[Frame]:
    """Nothing changes but the camera noise."""
    rng = np.random.default_rng((seed, 2))
    image = fill(room.image).astype(np.float32)
    x, rise = rng.uniform(0.4, 0.6), rng.uniform(0.6, 0.9)
    layer, alpha = cut_out(rng, person, image, standing(person.mask, SIZE, rise, x))
    clean = blend(layer, image, alpha)
    for t in range(STATIC_FRAMES):
        yield Frame(noisy(rng, clean), alpha, np.ones(alpha.shape, bool) if t else None)


def talker_clip(path: Path, room: Photo, seed: int) -> Iterator[Frame]:
    """A person talking, keyed from a blue-screen clip, in a fixed place and light."""
    image, last, matrix = fill(room.image).astype(np.float32), None, None
    rise = np.random.default_rng((seed, 3)).uniform(0.7, 0.9)
    for picture, mask in islice(keyed(path, every=1), TALKER_FRAMES):
        if matrix is None:
            matrix = standing(mask, SIZE, rise, 0.5)
        person = Photo("keyed", picture, mask, soft=True)
        layer, truth = cut_out(np.random.default_rng((seed, 4)), person, image, matrix)
        still = None if last is None else (truth == 0) & (last == 0)
        yield Frame(to_uint8(blend(layer, image, truth)), truth, still)
        last = truth


def real_clip(path: Path) -> Iterator[Frame]:
    """The frames of a video file, of unknown alpha; still means a change of < 3 grey levels."""
    last = None
    with open_file(str(path)) as video:
        for image in (frame.image for frame in video):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2)
            yield Frame(image, None, None if last is None else np.abs(grey - last) < STILL)
            last = grey


def noisy(rng: Generator, image: np.ndarray) -> np.ndarray:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return to_uint8(image + NOISE * noise)


def to_uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
