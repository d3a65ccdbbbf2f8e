"""Regenerates the alphas that `tests/test_golden.py` compares with.

    python -m tools.assets.golden

Run it when a change to the network or the refinement is meant to change them, and look at the
pictures before committing them.
"""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture.demo import PORTRAIT, Demo
from background_blur.capture.pictures import read_picture
from background_blur.matting.engines import open_segmenter
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from tools.command import command_line

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
FRAMES = 20  # of the demo; the alpha of the last one is kept


def alphas() -> dict[str, np.ndarray]:
    """The alphas of the portrait and of a frame in the middle of the demo: uint8 [h,w] each."""
    segmenter = open_segmenter()
    picture = BackgroundBlur(is_sequence=False, view="alpha")
    video = BackgroundBlur(segmenter, Settings(view="alpha"))
    for frame in islice(Demo((640, 360), paced=False), FRAMES):
        last = video(frame.image)
    return {
        "portrait": picture(read_picture(PORTRAIT)).working_alpha,
        "demo": last.working_alpha,
    }


def main() -> None:
    command_line("assets.golden", __doc__).parse_args()
    GOLDEN.mkdir(exist_ok=True)
    for name, alpha in alphas().items():
        cv2.imwrite(str(GOLDEN / f"{name}.png"), alpha)


if __name__ == "__main__":
    main()
