"""Measures the line, and other people's networks beside it, on photographs, composites and clips.

What is scored is what reaches the picture: the finished alpha at the picture's full size. Rows:

ours            the line that main.py runs on video, its alpha enlarged to the picture
ours, pictures  the same on unrelated pictures, which the network looks at four times; not on clips
ours unrefined  the network's mask alone, enlarged bilinearly
FILE            a MediaPipe-style network, its mask enlarged bilinearly as its documentation does

Person is alpha > 0.5, for everybody. Sections:

stills      photographs NAME.jpg with masks NAME.png (255 person, 128 don't know, 0 background; no
            mask: nobody there), a group a prefix of their names, and all of them. With a person:
            IoU, boundary F, MAE, leak. Without: marked (share of pixels taken for a person), and
            the share of photographs with more than 1 % marked. Means over photographs.
dark        the same photographs at 18 % of the light, with noise of 2 % of full scale
composites  people cut out and put before rooms at 1280x720, alpha known: MAD, MSE, Grad
clips       such composites with camera noise: MAD, dtSSD, flicker. `moving` ones sway, then move
            fast: lag, in frames. `static` ones do not. `--clips DIR` adds real ones: flicker alone.

The formulas stand in tools/metrics.py.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from tqdm import tqdm

from background_blur.errors import WeightsError
from background_blur.matting.engines import open_segmenter
from background_blur.settings import Settings
from blur import BackgroundBlur
from main import build_network
from tools import metrics, scenes
from tools.dataset import UNKNOWN, Photo, read_photo

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
PICTURES = "ours, pictures"
SECTIONS = ("stills", "dark", "composites", "clips")
FIGURES = {  # name in the JSON: (head of the column, format)
    "pictures": ("n", "d"),
    "iou": ("IoU", ".4f"),
    "boundary_f": ("F", ".4f"),
    "mae": ("MAE", ".4f"),
    "leak": ("leak", ".4f"),
    "marked": ("marked", ".4f"),
    "over_1_percent": (">1%", ".3f"),
    "mad": ("MAD", ".2f"),
    "mse": ("MSE", ".2f"),
    "grad": ("Grad", ".2f"),
    "dtssd": ("dtSSD", ".2f"),
    "flicker": ("flicker", ".2f"),
    "lag": ("lag", ".2f"),
}

AlphaOf = Callable[[np.ndarray], np.ndarray]  # uint8 [h,w,3] BGR -> float32 [h,w], 0..1
Method = Callable[[], AlphaOf]  # begins a new source: a picture, or the frames of one clip
Figures = dict[str, float]


class EvaluateError(Exception):
    """What is asked for cannot be measured; one line fit for the user."""


def ours(segmenter, is_sequence=True) -> Method:
    def begin() -> AlphaOf:
        blur = BackgroundBlur(segmenter, Settings(view="alpha"), is_sequence)

        def alpha_of(image):
            result = blur(image)
            if reason := result.fully_blurred_because:
                print(f"a picture was fully blurred: {reason}", file=sys.stderr)
            return result.alpha.astype(np.float32) / 255

        return alpha_of

    return begin


def unrefined(segmenter) -> Method:
    return lambda: lambda image: enlarge(segmenter(image), image)


def peer(path: Path) -> Method:
    """A network with input [1,h,w,3], RGB 0..1, and output [1,h,w,1], the probability of person.

    Raises:
        EvaluateError: no such file, or another kind of network.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        net = Interpreter(str(path), num_threads=2)
        net.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise EvaluateError(f"{path}: not a .tflite that LiteRT can run") from error
    (given, *more_given), (made, *more_made) = net.get_input_details(), net.get_output_details()
    shape, shape_made = list(given["shape"]), list(made["shape"])
    if more_given or more_made or shape != [1, *shape[1:3], 3] or shape_made != [*shape[:3], 1]:
        raise EvaluateError(
            f"{path}: takes {shape} and gives {shape_made}, not a picture and a mask"
        )

    def alpha_of(image):
        small = cv2.resize(image, (shape[2], shape[1]))
        small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        net.set_tensor(given["index"], small[None])
        net.invoke()
        return enlarge(net.get_tensor(made["index"])[0, ..., 0], image)

    return lambda: alpha_of


def enlarge(mask, image) -> np.ndarray:
    return cv2.resize(mask, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


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
            figures = score_photo(begin()(image), photo.mask)
            for group in (photo.prefix, "all"):
                found.setdefault(group, {}).setdefault(name, []).append(figures)
    found["all"] = found.pop("all", {})  # last
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def score_photo(alpha, truth) -> Figures:
    if not (truth == 255).any():
        marked = metrics.leak(alpha, truth)
        return {"marked": marked, "over_1_percent": float(marked > 0.01)}
    figures = (metrics.iou, metrics.boundary_f, metrics.mae, metrics.leak)
    return {figure.__name__: figure(alpha, truth) for figure in figures}


def measure_composites(methods, people: list[Photo], rooms: list[Photo], limit) -> dict:
    """Returns {'composites': {method: figures}}."""
    found = {name: [] for name in methods}
    for i, person in enumerate(progress(spread(people, limit), "composites")):
        image, truth = scenes.composite(person, rooms[i % len(rooms)], seed=i)
        for name, begin in methods.items():
            alpha = begin()(image)
            figures = (metrics.mad, metrics.mse, metrics.grad)
            found[name].append({figure.__name__: figure(alpha, truth) for figure in figures})
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
            raise EvaluateError(f"{path}: not a video; leave only videos in --clips")
        for name, begin in methods.items():
            figures = score_clip(begin(), scenes.real_clip(path))
            found.setdefault(path.stem, {}).setdefault(name, []).append(figures)
    return {group: {n: mean_of(rows) for n, rows in by.items()} for group, by in found.items()}


def score_clip(alpha_of: AlphaOf, clip: Iterable[scenes.Frame]) -> Figures:
    """Means over the frames of a clip; of its lag, where its person is seen to move."""
    rows, places, last_alpha, last = [], [], None, None
    for frame in clip:
        alpha, row = alpha_of(frame.image), {}
        if frame.truth is not None:
            row["mad"] = metrics.mad(alpha, frame.truth)
            places.append((metrics.centre(alpha), metrics.centre(frame.truth)))
        if last is not None and frame.truth is not None:
            row["dtssd"] = metrics.dtssd(alpha, last_alpha, frame.truth, last.truth)
        if frame.still is not None:
            row["flicker"] = metrics.flicker(alpha, last_alpha, frame.still)
        rows.append(row)
        last_alpha, last = alpha, frame
    figures = mean_of(rows)
    del figures["pictures"]
    if places and np.ptp([true for _, true in places]) > 0:
        figures["lag"] = metrics.lag(*np.transpose(places))
    return figures


def mean_of(rows: list[Figures]) -> Figures:
    """Means, figure by figure, over the rows that have it, and how many rows there are."""
    names = [name for name in FIGURES if any(name in row for row in rows)]
    values = {name: np.array([row[name] for row in rows if name in row]) for name in names}
    values = {name: v[~np.isnan(v)] for name, v in values.items()}
    return {"pictures": len(rows), **{name: metrics.mean(v) for name, v in values.items()}}


def spread(items: list, limit: int | None) -> list:
    """At most `limit` of the items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def progress(items, what: str):
    return tqdm(items, desc=what, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())


def read_data(folder: Path, limit: int | None) -> list[Photo]:
    """The photographs of a folder, at most `limit` a prefix, evenly spread.

    Raises:
        EvaluateError: nothing there.
    """
    by_prefix = {}
    for path in sorted(folder.glob("*.jpg")):
        by_prefix.setdefault(path.name.split("_")[0], []).append(path)
    if not by_prefix:
        raise EvaluateError(f"{folder}: no photographs (NAME.jpg) there; give another --data")
    return [read_photo(path) for paths in by_prefix.values() for path in spread(paths, limit)]


def measure(args, methods: dict[str, Method]) -> dict:
    """Returns {section: {group: {method: figures}}}."""
    photos = read_data(args.data, args.limit)
    report = {}
    if "stills" in args.sections:
        report["stills"] = measure_photos(methods, photos)
    if "dark" in args.sections:
        report["dark"] = measure_photos(methods, photos, dark=True)
    if not {"composites", "clips"} & set(args.sections):
        return report
    people, rooms = scenes.people_and_rooms(read_data(args.data, None))
    if not people or not rooms:
        raise EvaluateError(
            f"{args.data}: composites and clips need selfie_ or ccp_ photographs of people cut off "
            "by the lower border alone, and room_ ones; leave them out with --sections stills,dark"
        )
    if "composites" in args.sections:
        report["composites"] = measure_composites(methods, people, rooms, args.limit)
    if "clips" in args.sections:
        real = (
            sorted(p for p in args.clips.iterdir() if p.suffix.lower() in VIDEOS)
            if args.clips
            else []
        )
        methods = {name: method for name, method in methods.items() if name != PICTURES}
        report["clips"] = measure_clips(methods, people, rooms, real, args.limit)
    return report


def table(report: dict) -> str:
    """The report as text, a block a section, columns aligned."""
    return "\n\n".join(f"{name}\n{block(groups)}" for name, groups in report.items())


def block(groups: dict) -> str:
    rows = [(group, name, row) for group, by in groups.items() for name, row in by.items()]
    columns = [name for name in FIGURES if any(name in row for _, _, row in rows)]
    cells = [["", "", *(FIGURES[name][0] for name in columns)]]
    for group, method, row in rows:
        first = method == next(iter(groups[group]))
        cells.append([group if first else "", method, *(cell(row, name) for name in columns)])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        texts = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        texts += [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)


def cell(row: Figures, name: str) -> str:
    if name not in row or np.isnan(row[name]):
        return "-"
    return format(row[name], FIGURES[name][1])


def without_nan(value):
    """JSON has no NaN: null."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return None if np.isnan(value) else value


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    args = parser.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if args.limit is not None and args.limit < 1:
        parser.error("--limit must be at least 1")
    if len({path.stem for path in args.model}) < len(args.model):
        parser.error("two --model files of one name; rename one")
    if args.clips and not args.clips.is_dir():
        parser.error(f"--clips {args.clips}: no such folder")
    return args


def main(argv=None) -> int:
    args = parse(argv)
    try:
        segmenter = open_segmenter(args.engine, args.weights, build_network=build_network)
        methods = {
            "ours": ours(segmenter),
            PICTURES: ours(segmenter.predict_tta, is_sequence=False),
            "ours unrefined": unrefined(segmenter),
        }
        methods |= {path.stem: peer(path) for path in args.model}
        report = measure(args, methods)
        text = json.dumps(without_nan(report), indent=1) + "\n"
        if args.json and args.json != "-":
            Path(args.json).write_text(text)
    except (EvaluateError, WeightsError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    print(table(report), file=sys.stderr if args.json == "-" else sys.stdout)
    if args.json == "-":
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
