"""Measures the colours along a person's outline, where the true ones are known.

People of a known alpha are put before rooms and over green; the figure is the mean difference, in
grey levels, between that and the person's true colours with the true alpha over green, along the
outline: where either alpha is between 0 and 1. Rows: an alpha, the true one or ours; and colours:

raw        the picture's own, mixed with the room
ours       as the program lays them over another background
pymatting  `estimate_foreground_ml` of that library, where it is installed
true       the person's own; what is left is the alpha's fault

`bleed` is how much of the outline changes with the room: the mean difference between the results
before two rooms, with the same alpha.

cut-outs  photographs with hard masks (selfie_, ccp_), as in tools/evaluate.py
mattes    photographs with soft alphas (matte_); as true colour every pixel of the outline has that
          of the nearest pixel which is person alone
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from background_blur.imaging import downscale
from background_blur.matting.engines import open_segmenter
from background_blur.pipeline import BackgroundBlur
from background_blur.rendering.foreground import apply_correction, foreground_correction
from background_blur.settings import Settings
from tools import scenes
from tools.command import ToolError, command_line, read_data, reports_errors
from tools.dataset import Photo, read_image

Composite = tuple[np.ndarray, np.ndarray, np.ndarray]  # person, room, alpha, as in `cut_outs`

GREEN = np.array([64, 177, 0], np.float32)  # BGR of #00b140


def cut_outs(photos: list[Photo], rooms: list[Photo], limit: int) -> Iterator[Composite]:
    """Yields composites: (person and room float32 [720,1280,3], alpha float32 [720,1280])."""
    people, _ = scenes.people_and_rooms(photos + rooms)
    for seed, person in enumerate(people[:: max(1, len(people) // limit)][:limit]):
        rng = np.random.default_rng((seed, 721))
        room = scenes.fill(rooms[seed % len(rooms)].image)
        layer, alpha = scenes.cut_out(rng, person, room, rng.uniform(0.35, 0.65))
        yield layer, room.astype(np.float32), alpha


def mattes(folder: Path, rooms: list[Photo], limit: int) -> Iterator[Composite]:
    """Yields the same of photographs with a soft alpha."""
    for seed, path in enumerate(sorted(folder.glob("matte_*.webp"))[:limit]):
        image, matte = read_image(path), read_image(path.with_suffix(".png"), cv2.IMREAD_GRAYSCALE)
        scale = 0.9 * scenes.SIZE[1] / (matte.shape[0] - np.nonzero(matte > 127)[0].min())
        left = scenes.SIZE[0] / 2 - scale * np.median(np.nonzero(matte > 127)[1])
        matrix = np.array([[scale, 0, left], [0, scale, scenes.SIZE[1] - scale * matte.shape[0]]])
        alpha = cv2.warpAffine(matte.astype(np.float32) / 255, matrix, scenes.SIZE)
        person = cv2.warpAffine(solid(image, matte), matrix, scenes.SIZE,
                                borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        room = scenes.fill(rooms[7 * seed % len(rooms)].image)
        yield person.astype(np.float32), room.astype(np.float32), alpha


def solid(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The picture, each pixel of a uint8 matte below 250 in the colour of the nearest one above."""
    mixed = (matte < 250).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        mixed, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.astype(np.intp)
    nearest = np.zeros((labels.max() + 1, 3), np.uint8)
    nearest[labels[mixed == 0]] = image[mixed == 0]
    return nearest[labels]


def own_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3], uint8 [H,W] -> uint8 [H,W,3], as the program does it."""
    small = downscale(image)
    alpha = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    return apply_correction(image, foreground_correction(small, alpha))


def pymatting_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # Not among the requirements.
    from pymatting import estimate_foreground_ml  # pyright: ignore[reportMissingImports]

    return 255 * np.clip(estimate_foreground_ml(image / 255, alpha / 255), 0, 1)


def methods() -> dict:
    found = {"raw": lambda image, alpha: image, "ours": own_colours}
    if importlib.util.find_spec("pymatting"):
        found["pymatting"] = pymatting_colours
    return found


def over_green(image, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / np.float32(255)
    return share * image + (1 - share) * GREEN


def figures(
    person, room, true_alpha, other_room, alpha_of, noise=0.0
) -> dict[tuple[str, str], tuple]:
    """{(alpha, colours): (colour error, bleed)} of one composite."""
    rng = np.random.default_rng(1)
    grain = noise * rng.standard_normal(person.shape, dtype=np.float32)
    images = [
        scenes.to_uint8(scenes.blend(person, each, true_alpha) + grain)
        for each in (room, other_room)
    ]
    truth = np.rint(255 * true_alpha).astype(np.uint8)
    wanted = over_green(person, truth)
    rows = {}
    for name, alpha in (("true", truth), ("ours", alpha_of(images[0]))):
        outline = ((alpha > 0) & (alpha < 255)) | ((truth > 0) & (truth < 255))
        for method, colours in methods().items():
            one, other = (over_green(colours(each, alpha), alpha)[outline] for each in images)
            error = np.abs(one - wanted[outline]).mean()
            rows[name, method] = error, np.abs(one - other).mean()
        rows[name, "true"] = np.abs(over_green(person, alpha) - wanted)[outline].mean(), 0.0
    return rows


@reports_errors("colours")
def main(argv: list[str] | None = None) -> int:
    parser = command_line("colours", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs and masks")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most N per kind")
    parser.add_argument("--noise", type=float, default=0.0, metavar="LEVELS", help="grey levels "
        "(standard deviation) of a camera's noise, which no method takes away")  # fmt: skip
    args = parser.parse_args(argv)
    photos = [photo for photo in read_data(args.data, None) if photo.prefix != "matte"]
    rooms = [photo for photo in photos if photo.prefix == "room"]
    if not rooms:
        raise ToolError(f"{args.data}: no room_*.jpg", "give another --data")
    segmenter = open_segmenter()

    def alpha_of(image):
        return BackgroundBlur(segmenter, Settings(people="all"), is_sequence=False)(image).alpha

    kinds = {
        "cut-outs": cut_outs(photos, rooms, args.limit),
        "mattes": mattes(args.data, rooms, args.limit),
    }
    print(f"{'':10}{'alpha':7}{'colours':11}{'error':>7}{'bleed':>7}")
    for kind, composites in kinds.items():
        composites = list(composites)
        found = [
            figures(*composite, composites[i - 1][1], alpha_of, args.noise)
            for i, composite in enumerate(tqdm(composites, kind, leave=False))
        ]
        for key in found[0] if found else ():
            error, bleed = np.mean([each[key] for each in found], axis=0)
            print(f"{kind:10}{key[0]:7}{key[1]:11}{error:7.2f}{bleed:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
