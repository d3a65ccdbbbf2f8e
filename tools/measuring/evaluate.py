"""Measures the pipeline and other networks on photographs and clips.

It scores what reaches the picture: the finished alpha at the picture's full size. Rows:

ours            the pipeline as it runs on recordings, its alpha enlarged to the picture
ours, live      as it runs on live video, with the network at every second frame; only on clips
ours, pictures  as it runs on unrelated pictures, four runs of the network for each; not on clips
ours, WHO       as it runs on recordings, with --people WHO; in the section people
ours unrefined  only the network's mask, enlarged bilinearly
FILE            a MediaPipe-style network, its mask enlarged bilinearly as its documentation does
RVM             Robust Video Matting frame by frame; `RVM, pictures` runs four times on each

For all of them, alpha > 0.5 means person. Sections:

stills      photographs NAME.jpg with masks NAME.png (255 person, 128 don't know, 0 background; no
            mask: nobody there), grouped by name prefix, and all together. With a person: IoU,
            boundary F, MAE, leak. Without: marked (share of pixels taken for a person), and the
            share of photographs with more than 1 % marked. For `matte_`, whose mask is the true
            alpha, also MAD, MSE, Grad and rim (MAD along the outline). Means over photographs.
dark        the same photographs at 18 % of the light, with noise of 2 % of full scale
groups      the photographs grouped by `--groups FILE`, JSON of {group: [names]}, for instance by
            skin tone as judged by eye
clips       people cut out and placed in rooms at 1280x720, with camera noise: MAD, MSE, Grad, rim,
            dtSSD, flicker, worst leak (the worst frame's share of the true background). `moving`
            people sway, then move fast, which adds lag, in frames; `static` ones do not. `--clips
            DIR` adds real clips, with flicker only
talkers     people keyed from blue-screen clips (`--keyed DIR`), placed in such rooms: the same
people      two people meet. `behind`: one 0.77 times as tall comes up behind the first until they
            touch, and leaves; `beside`: one 0.95 times as tall, beside the first; `leans in`: one
            person, alone, comes to nearly fill the picture; `walks in`: one enters an empty room.
            Shares left sharp, mean and worst frame of all clips: of what is not the first (leak),
            of the second while touching and while apart. lost: share of the first that is blurred
colours     differences in grey levels along the outline, for people over green. Rows name the
            alpha, true or ours, and the colours: raw (the picture's own, mixed with the room),
            ours, pymatting's if installed, or true. `error` is the mean difference from the
            person's true colours and alpha, `bleed` the change when the room behind is another

The formulas are in tools/measuring/metrics.py.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from background_blur.matting.engines import open_segmenter
from background_blur.matting.quality import QualityController
from background_blur.matting.segmenter import PersonSegmenter
from background_blur.pipeline import USUAL_FPS
from tools.command import ToolError, command_line, existing_file, existing_folder, reports_errors
from tools.measuring import scenes
from tools.measuring.clips import measure_clips, measure_talkers
from tools.measuring.colours import measure_colours
from tools.measuring.contenders import Methods, ours, peer, rvm, unrefined
from tools.measuring.people import measure_people
from tools.measuring.photographs import measure_groups, measure_photos
from tools.measuring.report import Section, summed, table, without_nan
from tools.photos import Photo, read_photos, spread

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
PICTURES = ("ours, pictures", "RVM, pictures")
CLIPS, PAIRS = 4, 6  # at most, of each kind

Item = TypeVar("Item")


@dataclass
class Evaluation:
    """What the sections measure, and on what; photographs are read when first needed."""

    args: argparse.Namespace
    segmenter: PersonSegmenter
    thorough: PersonSegmenter  # for pictures
    methods: Methods

    @cached_property
    def photos(self) -> list[Photo]:
        return read_photos(self.args.data)

    @cached_property
    def scenery(self) -> tuple[list[Photo], list[Photo]]:
        """The people and the rooms that composites are made of."""
        people, rooms = scenes.people_and_rooms(self.photos)
        if not people or not rooms:
            raise ToolError(
                f"{self.args.data}: clips need selfie_, ccp_ or matte_ photographs "
                "of people cut off by the lower border alone, and room_ ones",
                "skip them with --sections stills,dark",
            )
        return people, rooms

    @property
    def moving(self) -> Methods:
        """The methods for clips."""
        methods = {name: it for name, it in self.methods.items() if name not in PICTURES}
        level = QualityController(USUAL_FPS).level
        return methods | {"ours, live": ours(self.segmenter, level=level)}

    def stills(self, dark: bool = False) -> Section:
        photos = read_photos(self.args.data, self.args.limit)
        return measure_photos(self.methods, progress(photos, "photographs"), dark)

    def dark(self) -> Section:
        return self.stills(dark=True)

    def groups(self) -> Section:
        return measure_groups(self.methods, progress(self.photos, "groups"), self.args.groups)

    def clips(self) -> Section:
        people, rooms = self.scenery
        files = sorted(self.args.clips.iterdir()) if self.args.clips else []
        real = [path for path in files if path.suffix.lower() in VIDEOS]
        return summed(measure_clips(self.moving, spread(people, self.at_most(CLIPS)), rooms, real))

    def talkers(self) -> Section:
        _, rooms = self.scenery
        keyed = progress(spread(sorted(self.args.keyed.iterdir()), self.args.limit), "talkers")
        return summed(measure_talkers(self.moving, keyed, rooms))

    def people(self) -> Section:
        people, rooms = self.scenery
        chosen = spread(people, 2 * self.at_most(PAIRS))
        if len(chosen) < 2:
            raise ToolError(f"{self.args.data}: fewer than two people", "skip the section people")
        pairs = list(zip(chosen[::2], chosen[1::2], strict=False))
        methods = {f"ours, {who}": ours(self.segmenter, people=who) for who in ("front", "main")}
        methods |= {name: it for name, it in self.moving.items() if "ours" not in name}
        return summed(measure_people(methods, pairs, rooms))

    def colours(self) -> Section:
        people, rooms = self.scenery
        drawn = [photo for photo in people if not photo.soft]
        mattes = [photo for photo in self.photos if photo.prefix == "matte"]
        method = ours(self.thorough, is_sequence=False, people="all")
        return summed(
            row
            for kind, photos in {"cut-outs": drawn, "mattes": mattes}.items()
            for row in measure_colours(
                method, kind, progress(spread(photos, self.args.limit or 20), kind), rooms
            )
        )

    def at_most(self, count: int) -> int:
        return min(count, self.args.limit or count)


NAMES = ("stills", "dark", "groups", "clips", "talkers", "people", "colours")
SECTIONS: dict[str, Callable[[Evaluation], Section]]
SECTIONS = {name: getattr(Evaluation, name) for name in NAMES}
NEEDED = {"groups": "groups", "talkers": "keyed"}  # sections that are skipped without an option


def progress(items: list[Item], what: str) -> Iterable[Item]:
    return tqdm(items, desc=what, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line("measuring.evaluate", __doc__)
    add = parser.add_argument
    folder = {"type": existing_folder, "metavar": "DIR"}
    add("--data", **folder, required=True, help="folder of photographs and masks")
    add("--json", metavar="FILE", help="also write the report to FILE as JSON; - for stdout")
    add("--model", type=Path, action="extend", nargs="+", default=[], metavar="FILE.tflite",
        help="other networks to measure")  # fmt: skip
    add("--weights", type=Path, metavar="PATH", help="other weights for our network")
    add("--engine", choices=("litert", "keras"), default="litert")
    add("--limit", type=int, metavar="N", help="at most N photographs per prefix, N clips per kind")
    add("--sections", type=lambda text: text.split(","), metavar="A,B",
        help=f"which of {','.join(SECTIONS)} to measure (default: all)")  # fmt: skip
    add("--clips", **folder, help="folder of real clips for the section clips")
    add("--rvm", type=Path, metavar="DIR", help="folder with rvm.py and the numbers it reads: "
        "Robust Video Matting, to measure too")  # fmt: skip
    add("--groups", type=existing_file, metavar="FILE", help="JSON of {group: [names]}")
    add("--keyed", **folder, help="folder of blue-screen clips for talkers")
    args = parser.parse_args(argv)
    if unknown := set(args.sections or ()) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    for section, option in NEEDED.items():
        if section in (args.sections or ()) and not getattr(args, option):
            parser.error(f"the section {section} needs --{option}")
    if args.limit is not None and args.limit < 1:
        parser.error("--limit must be at least 1")
    if len({path.stem for path in args.model}) < len(args.model):
        parser.error("two --model files have the same name; rename one")
    return args


@reports_errors("measuring.evaluate")
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    segmenter = open_segmenter(args.engine, args.weights)
    thorough = open_segmenter(args.engine, args.weights, thorough=True)
    methods = {
        "ours": ours(segmenter),
        PICTURES[0]: ours(thorough, is_sequence=False),
        "ours unrefined": unrefined(segmenter),
    }
    methods |= {path.stem: peer(path) for path in args.model}
    if args.rvm:
        methods |= rvm(args.rvm)
    evaluation = Evaluation(args, segmenter, thorough, methods)
    possible = [name for name in SECTIONS if getattr(args, NEEDED.get(name, "data"))]
    report = {
        name: SECTIONS[name](evaluation) for name in possible if name in (args.sections or possible)
    }
    text = json.dumps(without_nan(report), indent=1) + "\n"
    if args.json and args.json != "-":
        Path(args.json).write_text(text)
    print(table(report), file=sys.stderr if args.json == "-" else sys.stdout)
    if args.json == "-":
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
