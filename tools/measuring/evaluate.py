"""Measures the pipeline, and other networks beside it, on photographs and clips.

What is scored is what reaches the picture: the finished alpha at the picture's full size. Rows:

ours            the pipeline as it runs on recordings, its alpha enlarged to the picture
ours, live      the same as it runs on live video, the network at every second frame; clips alone
ours, pictures  the same on unrelated pictures, with four runs of the network each; not on clips
ours, WHO       the same as on recordings, with --people WHO; in the section people
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
clips       people cut out and put before rooms at 1280x720, with camera noise: MAD, MSE, Grad, rim,
            dtSSD, flicker, worst leak (the worst frame's share of the true background). `moving`
            ones sway, then move fast: lag, in frames. `static` ones do not. `--clips DIR` adds
            real ones: flicker alone
talkers     people keyed from blue-screen clips (`--keyed DIR`), before such rooms: the same
people      two people meet. `behind`: somebody 0.77 times as tall comes up behind the first until
            they touch, and goes; `beside`: somebody 0.95 times as tall, beside the first; `leans
            in`: one person alone nearly fills the picture; `walks in`: one into an empty room.
            Left sharp, on average and in the worst frame of all clips: of what is not the first
            person (leak), of the second while touching and while apart; lost: of the first blurred
colours     grey levels along the outline, of people over green. Rows: the true alpha or ours, and
            colours: raw, the picture's own, mixed with the room; ours; pymatting's, where that is
            installed; the true ones. `error` is the mean difference from the person's true colours
            and alpha, `bleed` the change where another room is behind

The formulas stand in tools/measuring/metrics.py.
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
    """What the sections are measured with and on; photographs are read when first needed."""

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
                "leave them out with --sections stills,dark",
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
            raise ToolError(f"{self.args.data}: fewer than two people", "leave out people")
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
NEEDED = {"groups": "groups", "talkers": "keyed"}  # the options that sections are left out without


def progress(items: list[Item], what: str) -> Iterable[Item]:
    return tqdm(items, desc=what, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line("measuring.evaluate", __doc__)
    add = parser.add_argument
    folder = {"type": existing_folder, "metavar": "DIR"}
    add("--data", **folder, required=True, help="folder of photographs and masks")
    add("--json", metavar="FILE", help="write the report there as JSON too; - for stdout")
    add("--model", type=Path, action="extend", nargs="+", default=[], metavar="FILE.tflite",
        help="networks to measure beside ours")  # fmt: skip
    add("--weights", type=Path, metavar="PATH", help="other weights of our network")
    add("--engine", choices=("litert", "keras"), default="litert")
    add("--limit", type=int, metavar="N", help="at most N photographs a prefix, N clips of a kind")
    add("--sections", type=lambda text: text.split(","), metavar="A,B",
        help=f"which of {','.join(SECTIONS)} to measure (default: all)")  # fmt: skip
    add("--clips", **folder, help="folder of real clips for the section clips")
    add("--rvm", type=Path, metavar="DIR", help="folder with rvm.py and the numbers it reads: "
        "Robust Video Matting, to measure beside ours")  # fmt: skip
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
        parser.error("two --model files of one name; rename one")
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
