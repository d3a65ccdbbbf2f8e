"""The sections `stills`, `dark` and `groups` of evaluate: photographs with masks."""

import json
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import numpy as np

from tools.command import ToolError
from tools.measuring import metrics, scenes
from tools.measuring.contenders import Methods
from tools.measuring.report import Figures, Rows, Section, summed
from tools.photos import UNKNOWN, Photo

PHOTOGRAPH = ("iou", "boundary_f", "mae", "leak")
ALPHA = ("mad", "mse", "grad", "rim")


def measure_photos(methods: Methods, photos: Iterable[Photo], dark: bool = False) -> Section:
    """Measures photographs by the prefixes of their names and, last, all together."""
    rows = [
        (photo.prefix, name, figures)
        for photo in photos
        if (photo.mask != UNKNOWN).any()
        for _, name, figures in score_photo(methods, photo, "", dark)
    ]
    return summed([*rows, *(("all", name, figures) for _, name, figures in rows)])


def measure_groups(methods: Methods, photos: Iterable[Photo], path: Path) -> Section:
    """Measures photographs by the groups of a JSON file, {group: [names of photographs]}."""
    try:
        groups = {group: set(names) for group, names in json.loads(path.read_text()).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ToolError(f"{path}: not JSON of {{group: [names]}}") from error
    return summed(
        row
        for photo in photos
        for group, names in groups.items()
        if photo.name in names
        for row in score_photo(methods, photo, group)
    )


def score_photo(methods: Methods, photo: Photo, group: str, dark: bool = False) -> Rows:
    image = photo.image
    if dark:
        image = scenes.darken(image, seed=crc32(photo.name.encode()))
    for name, begin in methods.items():
        yield group, name, score(begin()(image), photo)


def score(alpha: np.ndarray, photo: Photo) -> Figures:
    truth = np.where(photo.mask > 127, np.uint8(255), np.uint8(0)) if photo.soft else photo.mask
    if not (truth == 255).any():
        marked = metrics.leak(alpha, truth)
        return {"marked": marked, "over_1_percent": float(marked > 0.01)}
    scored = {name: getattr(metrics, name)(alpha, truth) for name in PHOTOGRAPH}
    return scored | (score_alpha(alpha, photo.mask / np.float32(255)) if photo.soft else {})


def score_alpha(alpha: np.ndarray, truth: np.ndarray) -> Figures:
    return {name: getattr(metrics, name)(alpha, truth) for name in ALPHA}
