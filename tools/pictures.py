"""Makes the pictures of the README, out of the demo: `python -m tools.pictures`.

assets/demo.webp   an animation: a line sweeps over the demo, original before it, result behind it
assets/views.jpg   one frame: original, result, alpha, another background
"""

from itertools import islice

import cv2
import numpy as np

from background_blur.capture.demo import PORTRAIT, Demo
from background_blur.matting.engines import open_segmenter
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import Settings
from blur import BackgroundBlur

ASSETS = PORTRAIT.parent
SIZE, RATE = (480, 270), 10  # of the animation, frames a second
SECONDS = 4
GREEN = StillBackground(np.full((1, 1, 3), (64, 177, 0), np.uint8))  # BGR of #00b140


def demo(size) -> list[np.ndarray]:
    return [f.image for f in islice(Demo(size, RATE, paced=False), round(SECONDS * RATE))]


def animation(segmenter) -> list[np.ndarray]:
    blur = BackgroundBlur(segmenter, Settings())
    originals = demo((2 * SIZE[0], 2 * SIZE[1]))
    results = [blur(image).image for image in originals]
    frames = []
    for index, (original, result) in enumerate(zip(originals, results, strict=True)):
        sweep = 0.5 + 0.55 * np.sin(2 * np.pi * index / len(originals))  # and back: it loops
        at = round(float(np.clip(sweep, 0, 1)) * original.shape[1])
        frame = np.hstack([result[:, :at], original[:, at:]])
        if 0 < sweep < 1:
            cv2.line(frame, (at, 0), (at, frame.shape[0]), (255, 255, 255), 3)
        frames.append(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA))
    return frames


def views(segmenter) -> np.ndarray:
    image = demo((640, 480))[0]
    chosen = Settings(), Settings(view="alpha"), Settings(background=GREEN)
    made = [
        BackgroundBlur(segmenter.predict_tta, settings, is_sequence=False)(image).image
        for settings in chosen
    ]
    return np.hstack([cv2.resize(each, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                      for each in (image, *made)])  # fmt: skip


def main() -> None:
    segmenter = open_segmenter()
    moving = cv2.Animation()
    moving.frames = animation(segmenter)
    moving.durations = np.full(len(moving.frames), round(1000 / RATE), np.int32)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 88]
    cv2.imwriteanimation(str(ASSETS / "demo.webp"), moving, quality)
    cv2.imwrite(str(ASSETS / "views.jpg"), views(segmenter), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
