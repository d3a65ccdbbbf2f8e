"""What the command line asks for, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

View = Literal["result", "alpha", "split"]
People = Literal["front", "main", "all"]  # who stays sharp


@dataclass(frozen=True)
class Options:
    """The flags, named as in README.md; None if not given.

    Attributes:
        virtual_camera: "" for any free one.
        background: the names of all backgrounds to choose from, at least one.
        without: files in the source's folder to leave out.
    """

    source: str
    output: str | None
    force: bool
    skip_existing: bool
    view: View
    virtual_camera: str | None
    window: bool
    size: tuple[int, int] | None
    fps: float | None
    wait: float
    people: People
    quality: Literal["normal", "best"]
    mirror: bool
    strength: float
    background: tuple[str, ...]
    follow: bool
    hidden: bool
    weights: Path | None
    engine: Literal["litert", "keras"]
    threads: int
    send: str | None
    list_cameras: bool
    check: bool
    verbose: bool
    no_config: bool
    without: tuple[Path, ...] = ()
