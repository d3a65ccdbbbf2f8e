"""Makes the pictures in the README: `python -m tools.assets.pictures [--clip PERSON.mkv]`.

assets/demo.webp     an animation: a line between result and original sweeps over the demo
assets/views.jpg     one frame: original, result, alpha, another background
assets/gestures.webp an animation of the clip, which is not part of this repository: original,
                     blurred, in front of a picture, blurred and followed
"""

from itertools import islice

import cv2
import numpy as np
from skimage import data

from background_blur.capture import open_file
from background_blur.capture.demo import PORTRAIT, Demo
from background_blur.frames import Frame, Size
from background_blur.imaging import halve
from background_blur.matting.engines import open_segmenter
from background_blur.matting.segmenter import PersonSegmenter
from background_blur.pipeline import BackgroundBlur
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import Settings
from tools.command import command_line

ASSETS = PORTRAIT.parent
SIZE, RATE = (480, 270), 10  # of the animation; frames per second
SECONDS = 4
TILE = 360, 270  # size of each of the clip's four pictures
CLIP_RATE = 15  # every second frame of its 30 per second
GREEN = StillBackground(np.full((1, 1, 3), (64, 177, 0), np.uint8))  # BGR of #00b140


def demo(size: Size) -> list[np.ndarray]:
    return [f.image for f in islice(Demo(size, RATE, paced=False), round(SECONDS * RATE))]


def animation(segmenter: PersonSegmenter) -> list[np.ndarray]:
    blur = BackgroundBlur(segmenter, Settings())
    originals = demo((2 * SIZE[0], 2 * SIZE[1]))
    results = [blur(image).image for image in originals]
    frames = []
    for index, (original, result) in enumerate(zip(originals, results, strict=True)):
        sweep = 0.5 + 0.55 * np.sin(2 * np.pi * index / len(originals))  # there and back, to loop
        at = round(float(np.clip(sweep, 0, 1)) * original.shape[1])
        frame = np.hstack([result[:, :at], original[:, at:]])
        if 0 < sweep < 1:
            cv2.line(frame, (at, 0), (at, frame.shape[0]), (255, 255, 255), 3)
        frames.append(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA))
    return frames


def views() -> np.ndarray:
    image = demo((640, 480))[0]
    chosen = Settings(), Settings(view="alpha"), Settings(background=GREEN)
    made = [
        BackgroundBlur(settings=settings, is_sequence=False)(image).image for settings in chosen
    ]
    return np.hstack([halve(each) for each in (image, *made)])


def gestures(segmenter: PersonSegmenter, clip: str) -> list[np.ndarray]:
    """Shows the clip four times at once, forwards and backwards, so that it loops."""
    originals = [frame.image for frame in open_file(clip)]
    originals = [*originals, *originals[::-1]][::2]
    galaxies = StillBackground(np.ascontiguousarray(data.hubble_deep_field()[..., ::-1]))
    chosen = Settings(), Settings(background=galaxies), Settings(follow=True)
    lines = [BackgroundBlur(segmenter, settings) for settings in chosen]
    frames = []
    for index, image in enumerate(originals):
        parts = [image, *(line(Frame(image, index / CLIP_RATE)).image for line in lines)]
        parts = [cv2.resize(part, TILE, interpolation=cv2.INTER_AREA) for part in parts]
        frames.append(np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])]))
    return frames


def write_animation(name: str, frames: list[np.ndarray], rate: float, quality: int) -> None:
    moving = cv2.Animation()
    moving.frames = frames
    moving.durations = len(frames) * [round(1000 / rate)]
    cv2.imwriteanimation(str(ASSETS / name), moving, [cv2.IMWRITE_WEBP_QUALITY, quality])


def main() -> None:
    parser = command_line("assets.pictures", __doc__)
    parser.add_argument("--clip", metavar="VIDEO", help="make only gestures.webp, from this clip")
    args = parser.parse_args()
    segmenter = open_segmenter()
    if args.clip:
        write_animation("gestures.webp", gestures(segmenter, args.clip), CLIP_RATE, 75)
        return
    write_animation("demo.webp", animation(segmenter), RATE, 88)
    cv2.imwrite(str(ASSETS / "views.jpg"), views(), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
