"""Measures the pipeline, and other networks beside it, on photographs, composites and clips.

What is scored is what reaches the picture: the finished alpha at the picture's full size. Rows:

ours            the pipeline as it runs on recordings, its alpha enlarged to the picture
ours, live      the same as it runs on live video, the network at every second frame; clips alone
ours, pictures  the same on unrelated pictures, with four runs of the network each; not on clips
ours unrefined  the network's mask alone, enlarged bilinearly
FILE            a MediaPipe-style network, its mask enlarged bilinearly as its documentation does
RVM             Robust Video Matting frame by frame; `RVM, pictures` runs four times on each

Person is alpha > 0.5, for everybody. Sections:

stills      photographs NAME.jpg with masks NAME.png (255 person, 128 don't know, 0 background; no
            mask: nobody there), a group a prefix of their names, and all of them. With a person:
            IoU, boundary F, MAE, leak. Without: marked (share of pixels taken for a person), and
            the share of photographs with more than 1 % marked. Of `matte_` the mask is the true
            alpha: MAD, MSE, Grad and rim (MAD along the outline) too. Means over photographs.
dark        the same photographs at 18 % of the light, with noise of 2 % of full scale
groups      photographs again, in the groups of `--groups FILE`, JSON of {group: [names]}, such as
            of skin tone by eye
composites  people cut out and put before rooms at 1280x720, alpha known: MAD, MSE, Grad
clips       such composites with camera noise: MAD, dtSSD, flicker. `moving` ones sway, then move
            fast: lag, in frames. `static` ones do not. `--clips DIR` adds real ones: flicker alone.
talkers     people keyed from blue-screen clips (`--keyed DIR`), before rooms at 1280x720: MAD, MSE,
            Grad, rim, dtSSD, flicker, worst leak (the worst frame's share of the true background)
second      a second person comes up behind the first until they touch, 0.9 or 0.55 times as tall:
            the share of the second that stays sharp, touching and apart; what the first loses

The formulas stand in tools/metrics.py.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import numpy as np
from tqdm import tqdm

from background_blur.matting.engines import open_segmenter
from background_blur.matting.quality import QualityController
from background_blur.pipeline import USUAL_FPS
from tools import metrics, scenes
from tools.command import ToolError, command_line, read_data, reports_errors, spread
from tools.contenders import AlphaOf, Method, ours, peer, rvm, unrefined
from tools.dataset import UNKNOWN, Photo
from tools.report import Figures, mean_of, table, without_nan

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
PICTURES = ("ours, pictures", "RVM, pictures")
LIVE = "ours, live"
SECTIONS = ("stills", "dark", "groups", "composites", "clips", "talkers", "second")


def measure_photos(methods: dict[str, Method], photos: list[Photo], dark=False) -> dict:
    """Returns {prefix or 'all': {method: figures}}."""
    found = {}
    for photo in progress(photos, "dark" if dark else "stills"):
        if (photo.mask == UNKNOWN).all():
            continue
        image = photo.image
        if dark:
            image = scenes.darken(image, seed=crc32(photo.name.encode()))
        for name, begin in methods.items():
            figures = score_photo(begin()(image), photo)
            for group in (photo.prefix, "all"):
                found.setdefault(group, {}).setdefault(name, []).append(figures)
    found["all"] = found.pop("all", {})  # last
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def measure_groups(methods: dict[str, Method], photos: list[Photo], groups: dict) -> dict:
    """Returns {group: {method: figures}}."""
    by_name = {photo.name: photo for photo in photos}
    found = {}
    for group, names in groups.items():
        for photo in progress([by_name[name] for name in names if name in by_name], group):
            for name, begin in methods.items():
                figures = score_photo(begin()(photo.image), photo)
                found.setdefault(group, {}).setdefault(name, []).append(figures)
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def read_groups(path: Path) -> dict[str, list[str]]:
    try:
        groups = json.loads(path.read_text())
        return {str(group): list(names) for group, names in groups.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ToolError(f"{path}: not JSON of {{group: [names]}}") from error


def score_photo(alpha, photo: Photo) -> Figures:
    truth = np.where(photo.mask > 127, np.uint8(255), np.uint8(0)) if photo.soft else photo.mask
    if not (truth == 255).any():
        marked = metrics.leak(alpha, truth)
        return {"marked": marked, "over_1_percent": float(marked > 0.01)}
    figures = (metrics.iou, metrics.boundary_f, metrics.mae, metrics.leak)
    scored = {figure.__name__: figure(alpha, truth) for figure in figures}
    if photo.soft:
        scored |= score_alpha(alpha, photo.mask.astype(np.float32) / 255)
    return scored


def score_alpha(alpha, truth) -> Figures:
    figures = (metrics.mad, metrics.mse, metrics.grad, metrics.rim)
    return {figure.__name__: figure(alpha, truth) for figure in figures}


def measure_composites(methods, people: list[Photo], rooms: list[Photo], limit) -> dict:
    """Returns {'composites': {method: figures}}."""
    found = {name: [] for name in methods}
    for i, person in enumerate(progress(spread(people, limit), "composites")):
        image, truth = scenes.composite(person, rooms[i % len(rooms)], seed=i)
        for name, begin in methods.items():
            found[name].append(score_alpha(begin()(image), truth))
    return {"composites": {name: mean_of(rows) for name, rows in found.items()}}


def measure_clips(
    methods, people: list[Photo], rooms: list[Photo], real: list[Path], limit
) -> dict:
    """Returns {'moving', 'static' or the name of a real clip: {method: figures}}."""
    people = spread(people, min(scenes.CLIPS, limit or scenes.CLIPS))
    found = {}
    for make in (scenes.moving_clip, scenes.static_clip):
        kind = make.__name__.removesuffix("_clip")
        for i, person in enumerate(progress(people, kind)):
            clip = list(make(person, rooms[i % len(rooms)], seed=i))
            for name, begin in methods.items():
                figures = score_clip(begin(), clip)
                found.setdefault(kind, {}).setdefault(name, []).append(figures)
    for path in progress(real, "clips"):
        if not any(True for _ in scenes.real_clip(path)):
            raise ToolError(f"{path}: not a video; leave only videos in --clips")
        for name, begin in methods.items():
            figures = score_clip(begin(), scenes.real_clip(path))
            found.setdefault(path.stem, {}).setdefault(name, []).append(figures)
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def measure_talkers(methods, keyed: list[Path], rooms: list[Photo]) -> dict:
    """Returns {'talkers': {method: figures}}."""
    found = {name: [] for name in methods}
    for i, path in enumerate(progress(keyed, "talkers")):
        for name, begin in methods.items():
            found[name].append(score_clip(begin(), scenes.talker_clip(path, rooms[i], seed=i)))
    return {"talkers": {name: mean_of(rows) for name, rows in found.items()}}


def measure_second(methods, people: list[Photo], rooms: list[Photo], limit) -> dict:
    """Returns {'0.9 as tall' and '0.55 as tall': {method: figures}}."""
    pairs, found = spread(people, min(scenes.PAIRS, limit or scenes.PAIRS)), {}
    for ratio in (0.9, 0.55):
        for i, first in enumerate(progress(pairs, "second")):
            second, room = people[(people.index(first) + 1) % len(people)], rooms[i % len(rooms)]
            clip = list(scenes.second_clip(first, second, room, ratio, seed=i))
            for name, begin in methods.items():
                figures = score_second(begin(), clip)
                found.setdefault(f"{ratio} as tall", {}).setdefault(name, []).append(figures)
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def score_second(alpha_of: AlphaOf, clip) -> Figures:
    """Sharp shares, means over the frames after the first few, in which nothing is known yet."""
    rows = []
    for index, frame in enumerate(clip):
        sharp = alpha_of(frame.image) > 0.5
        if index >= scenes.SETTLE:
            shown = metrics.share(sharp & frame.second, frame.second)
            lost = metrics.share(~sharp & frame.first, frame.first)
            rows.append({"touching" if frame.touching else "apart": shown, "lost": lost})
    figures = mean_of(rows)
    del figures["pictures"]
    return figures


def score_clip(alpha_of: AlphaOf, clip: Iterable[scenes.Frame]) -> Figures:
    """Means over the frames of a clip; of its lag, where its person is seen to move."""
    rows, places, leaks, last_alpha, last = [], [], [], None, None
    for frame in clip:
        alpha, row = alpha_of(frame.image), {}
        if frame.truth is not None:
            row |= score_alpha(alpha, frame.truth)
            leaks.append(metrics.share((alpha > 0.5) & (frame.truth == 0), frame.truth == 0))
            places.append((metrics.centre(alpha), metrics.centre(frame.truth)))
        if last is not None and frame.truth is not None:
            row["dtssd"] = metrics.dtssd(alpha, last_alpha, frame.truth, last.truth)
        if frame.still is not None:
            row["flicker"] = metrics.flicker(alpha, last_alpha, frame.still)
        rows.append(row)
        last_alpha, last = alpha, frame
    figures = mean_of(rows)
    del figures["pictures"]
    if leaks:
        figures["worst_leak"] = max(leaks)
    if places and np.ptp([true for _, true in places]) > 0:
        figures["lag"] = metrics.lag(*np.transpose(places))
    return figures


def progress(items, what: str):
    return tqdm(items, desc=what, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())


def measure(args, segmenter, methods: dict[str, Method]) -> dict:
    """Returns {section: {group: {method: figures}}}."""
    photos = read_data(args.data, args.limit)
    report = {}
    if "stills" in args.sections:
        report["stills"] = measure_photos(methods, photos)
    if "dark" in args.sections:
        report["dark"] = measure_photos(methods, photos, dark=True)
    if "groups" in args.sections and args.groups:
        everything = read_data(args.data, None)
        report["groups"] = measure_groups(methods, everything, read_groups(args.groups))
    if not {"composites", "clips", "talkers", "second"} & set(args.sections):
        return report
    people, rooms = scenes.people_and_rooms(read_data(args.data, None))
    if not people or not rooms:
        raise ToolError(
            f"{args.data}: composites and clips need selfie_, ccp_ or matte_ photographs of people "
            "cut off by the lower border alone, and room_ ones; leave them out with "
            "--sections stills,dark"
        )
    if "composites" in args.sections:
        report["composites"] = measure_composites(methods, people, rooms, args.limit)
    level = QualityController(USUAL_FPS).level
    moving = {name: method for name, method in methods.items() if name not in PICTURES}
    moving[LIVE] = ours(segmenter, level=level)
    if "clips" in args.sections:
        real = (
            sorted(p for p in args.clips.iterdir() if p.suffix.lower() in VIDEOS)
            if args.clips
            else []
        )
        report["clips"] = measure_clips(moving, people, rooms, real, args.limit)
    if "talkers" in args.sections and args.keyed:
        talkers = spread(sorted(args.keyed.iterdir()), args.limit)
        report["talkers"] = measure_talkers(moving, talkers, rooms)
    if "second" in args.sections:
        by_whom = {f"ours, {who}": ours(segmenter, people=who) for who in ("main", "front")}
        by_whom |= {name: method for name, method in moving.items() if "ours" not in name}
        report["second"] = measure_second(by_whom, people, rooms, args.limit)
    return report


def parse(argv) -> argparse.Namespace:
    parser = command_line("evaluate", __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of photographs and masks")
    add("--json", metavar="FILE", help="write the report there as JSON too; - for stdout")
    add("--model", type=Path, action="extend", nargs="+", default=[], metavar="FILE.tflite",
        help="networks to measure beside ours")  # fmt: skip
    add("--weights", type=Path, metavar="PATH", help="other weights of our network")
    add("--engine", choices=("litert", "keras"), default="litert")
    add("--limit", type=int, metavar="N", help="at most N photographs a prefix, N composites, N "
        "clips of a kind")  # fmt: skip
    add("--sections", type=lambda text: text.split(","), default=list(SECTIONS), metavar="A,B",
        help=f"which of {','.join(SECTIONS)} to measure (default: all)")  # fmt: skip
    add("--clips", type=Path, metavar="DIR", help="folder of real clips for the section clips")
    add("--rvm", type=Path, metavar="DIR", help="folder with rvm.py and the numbers it reads: "
        "Robust Video Matting, to measure beside ours")  # fmt: skip
    add("--groups", type=Path, metavar="FILE", help="JSON of {group: [names of photographs]}")
    add("--keyed", type=Path, metavar="DIR", help="folder of blue-screen clips for talkers")
    args = parser.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if args.limit is not None and args.limit < 1:
        parser.error("--limit must be at least 1")
    if len({path.stem for path in args.model}) < len(args.model):
        parser.error("two --model files of one name; rename one")
    for name in ("clips", "keyed"):
        folder = getattr(args, name)
        if folder and not folder.is_dir():
            parser.error(f"--{name} {folder}: no such folder")
    return args


@reports_errors("evaluate")
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    segmenter = open_segmenter(args.engine, args.weights)
    methods = {
        "ours": ours(segmenter),
        PICTURES[0]: ours(
            open_segmenter(args.engine, args.weights, thorough=True), is_sequence=False
        ),
        "ours unrefined": unrefined(segmenter),
    }
    methods |= {path.stem: peer(path) for path in args.model}
    if args.rvm:
        methods |= rvm(args.rvm)
    report = measure(args, segmenter, methods)
    text = json.dumps(without_nan(report), indent=1) + "\n"
    if args.json and args.json != "-":
        Path(args.json).write_text(text)
    print(table(report), file=sys.stderr if args.json == "-" else sys.stdout)
    if args.json == "-":
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
