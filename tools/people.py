"""Measures what of a second person, and of the room, is left sharp: scenes whose truth is known.

Two people cut out of photographs meet before a room at 1280x720, with a camera's noise:

behind    somebody smaller comes up behind the first, until their outlines touch, and goes again
beside    somebody nearly as large comes beside the first, until they touch, and goes again
leans in  one person alone leans towards the camera, until they nearly fill the picture
walks in  one person walks into an empty room

For each scene and each of --people front and main: the share of the true background (where the
first person is not) left sharp, alpha > 0.5, in the worst frame and on average; of the second
person the share left sharp, in the worst frame while they touch the first and while they do not.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from background_blur.matting.engines import open_segmenter
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from tools import scenes
from tools.command import command_line, read_data, reports_errors
from tools.cutouts import match_light
from tools.dataset import Photo
from tools.metrics import share

FRAMES = 48
TALL = {"behind": 0.6, "beside": 0.76}  # frame heights; the first person is 0.8
OVERLAP = 0.04  # frame widths that the second person is hidden by the first when nearest
STORIES = ("behind", "beside", "leans in", "walks in")


@dataclass
class Meeting:
    image: np.ndarray  # uint8 [720,1280,3] BGR
    first: np.ndarray  # float32 [720,1280], the alpha of what is seen of the first person
    second: np.ndarray  # of the second


def meeting(story: str, first: Photo, second: Photo, room: Photo, seed: int) -> Iterator[Meeting]:
    rng = np.random.default_rng((seed, 3))
    image = scenes.fill(room.image).astype(np.float32)
    near = 0.36 - OVERLAP + reach(first, 0.8)[1] + reach(second, TALL.get(story, 0.8))[0]
    nobody = np.zeros(scenes.SIZE[::-1], np.float32)
    for t in range(FRAMES):
        frame, alphas = image, [nobody, nobody]
        for number, photo in ((1, second), (0, first)):  # the first stands in front
            place = placed(story, number, t, near)
            if place is None:
                continue
            layer, alpha = stand(photo, *place)
            layer = match_light(np.random.default_rng(seed), layer, image, alpha[..., None])
            frame = scenes.blend(layer.astype(np.float32), frame, alpha)
            alphas = [other * (1 - alpha) for other in alphas]
            alphas[number] = alpha
        yield Meeting(scenes.noisy(rng, frame), *alphas)


def placed(story: str, number: int, t: int, near: float) -> tuple[float, float] | None:
    """Where along the frame's width, and how tall in frame heights, somebody stands at frame `t`.

    The second person, of number 1, comes as near as `near` to the left.
    """
    if story == "leans in":
        return None if number else (0.5, 0.7 + 1.5 * smooth((t - 8) / 24))
    if story == "walks in":
        return None if number else (1.3 - 0.8 * smooth(t / 30), 0.8)
    if not number:
        return 0.36, 0.8
    return 1.25 - (1.25 - near) * (smooth((t - 4) / 18) - smooth((t - 32) / 14)), TALL[story]


def reach(person: Photo, height: float) -> tuple[float, float]:
    """How far somebody so tall reaches to the left and right, in frame widths."""
    ys, xs = np.nonzero(person.mask == 255)
    scale = height * scenes.SIZE[1] / (person.mask.shape[0] - ys.min()) / scenes.SIZE[0]
    middle = np.median(xs)
    return scale * (middle - xs.min()), scale * (xs.max() - middle)


def smooth(t: float) -> float:
    t = float(np.clip(t, 0, 1))
    return t * t * (3 - 2 * t)


def stand(person: Photo, x: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """The person alone on the frame's lower border: (float32 [h,w,3], their alpha [h,w])."""
    ys, xs = np.nonzero(person.mask == 255)
    rows = person.mask.shape[0]
    scale = height * scenes.SIZE[1] / (rows - ys.min())
    to_x, to_y = x * scenes.SIZE[0] - scale * np.median(xs), scenes.SIZE[1] - scale * (rows - 1)
    matrix = np.array([[scale, 0, to_x], [0, scale, to_y]])
    cut = cv2.erode((person.mask == 255).astype(np.float32), np.ones((3, 3)))
    alpha = cv2.warpAffine(cv2.GaussianBlur(cut, (0, 0), 1), matrix, scenes.SIZE)
    layer = cv2.warpAffine(person.image, matrix, scenes.SIZE, borderMode=cv2.BORDER_REPLICATE)
    return layer.astype(np.float32), alpha


def measure(alpha: np.ndarray, frame: Meeting) -> dict[str, float]:
    """The figures of one frame, whose alpha is float32 [h,w]."""
    sharp, background = alpha > 0.5, frame.first < 0.02
    figures = {"background": share(sharp & background, background)}
    second = frame.second > 0.9
    if second.mean() > 0.005:
        touch = cv2.dilate(frame.first, np.ones((9, 9))) * (frame.second > 0.5) > 0.5
        figures["touching" if touch.any() else "apart"] = share(sharp & second, second)
    return figures


def run(segmenter, who: str, clip: Iterator[Meeting]) -> dict[str, float]:
    """Worst frames, and the mean share of the background, over a clip."""
    blur = BackgroundBlur(segmenter, Settings(view="alpha", people=who))
    rows = [measure(blur(frame.image).alpha.astype(np.float32) / 255, frame) for frame in clip]
    found = {"mean": float(np.mean([row["background"] for row in rows]))}
    for name in ("background", "touching", "apart"):
        found[name] = max((row[name] for row in rows if name in row), default=float("nan"))
    return found


@reports_errors("people")
def main(argv: list[str] | None = None) -> int:
    parser = command_line("people", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="other weights")
    parser.add_argument("--limit", type=int, default=4, metavar="N", help="clips per scene")
    args = parser.parse_args(argv)
    segmenter = open_segmenter(weights=args.weights)
    people, rooms = scenes.people_and_rooms(read_data(args.data, None))
    pick = np.linspace(0, len(people) - 1, 2 * args.limit).astype(int)
    print("scene     people  background: worst  mean   second: touching  apart")
    for story in STORIES:
        for who in ("front", "main"):
            rows = []
            for i in range(args.limit):
                pair = people[pick[2 * i]], people[pick[2 * i + 1]]
                clip = meeting(story, *pair, rooms[i * 7 % len(rooms)], i)
                rows.append(run(segmenter, who, clip))
            worst = {name: np.max([row[name] for row in rows]) for name in rows[0]}
            print(
                f"{story:9} {who:6} {worst['background']:18.3f}  {worst['mean']:.3f}"
                f"  {worst['touching']:17.3f}  {worst['apart']:.3f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
