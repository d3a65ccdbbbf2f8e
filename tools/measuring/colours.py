"""The section `colours` of evaluate: colours along a person's outline, compared with the true ones.

People with a known alpha are placed in rooms and, cut out from there, over green. With a drawn
mask, the photograph's colours are the true ones; with a true alpha, each pixel of the outline gets
the colour of the nearest pixel that is only person.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from background_blur.imaging import downscale
from background_blur.rendering.foreground import apply_correction, foreground_correction
from tools.cutouts import standing
from tools.measuring import scenes
from tools.measuring.contenders import AlphaOf, Method
from tools.measuring.report import Figures, Rows
from tools.photos import Photo

GREEN = np.array([64, 177, 0], np.float32)  # BGR of #00b140

# A picture, uint8 [h,w,3] BGR, and its alpha, uint8 [h,w] -> the person's colours, 0..255 [h,w,3].
Colours = Callable[[np.ndarray, np.ndarray], np.ndarray]


def measure_colours(ours: Method, kind: str, people: Iterable[Photo], rooms: list[Photo]) -> Rows:
    for seed, photo in enumerate(people):
        pair = [scenes.fill(rooms[(seed + i) % len(rooms)].image) for i in range(2)]
        for method, figures in score(photo, pair, seed, ours()):
            yield kind, method, figures


def score(
    photo: Photo, rooms: list[np.ndarray], seed: int, alpha_of: AlphaOf
) -> Iterator[tuple[str, Figures]]:
    """Yields ("ALPHA, COLOURS", figures) for a person in two rooms, uint8 [h,w,3] each."""
    rng = np.random.default_rng((seed, 721))
    x, rise = rng.uniform(0.35, 0.65), rng.uniform(0.6, 0.9)
    matrix = standing(photo.mask, scenes.SIZE, rise, x)
    colours = solid(photo.image, photo.mask) if photo.soft else photo.image
    person, exact = scenes.cut_out(rng, photo, rooms[0], matrix, colours)
    images = [scenes.to_uint8(scenes.blend(person, room, exact)) for room in rooms]
    truth = np.rint(255 * exact).astype(np.uint8)
    wanted = over_green(person, truth)
    found = np.rint(255 * alpha_of(images[0])).astype(np.uint8)
    for name, alpha in {"true": truth, "ours": found}.items():
        outline = ((alpha > 0) & (alpha < 255)) | ((truth > 0) & (truth < 255))
        for method, find in methods().items():
            one, other = (over_green(find(image, alpha), alpha)[outline] for image in images)
            error, bleed = np.abs(one - wanted[outline]).mean(), np.abs(one - other).mean()
            yield f"{name}, {method}", {"error": float(error), "bleed": float(bleed)}
        error = np.abs(over_green(person, alpha) - wanted)[outline].mean()
        yield f"{name}, true", {"error": float(error), "bleed": 0.0}


def methods() -> dict[str, Colours]:
    found: dict[str, Colours] = {"raw": lambda image, alpha: image, "ours": program_colours}
    if importlib.util.find_spec("pymatting"):
        found["pymatting"] = pymatting_colours
    return found


def program_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    small = downscale(image)
    alpha = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    return apply_correction(image, foreground_correction(small, alpha))


def pymatting_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # Not in the requirements.
    from pymatting import estimate_foreground_ml  # pyright: ignore[reportMissingImports]

    return 255 * np.clip(estimate_foreground_ml(image / 255, alpha / 255), 0, 1)


def over_green(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / np.float32(255)
    return share * colours + (1 - share) * GREEN


def solid(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Gives each pixel whose matte is below 250 the colour of the nearest one at 250 or above."""
    mixed = (matte < 250).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        mixed, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.astype(np.intp)
    nearest = np.zeros((labels.max() + 1, 3), np.uint8)
    nearest[labels[mixed == 0]] = image[mixed == 0]
    return nearest[labels]
