"""What the measuring tools share: their photographs, and one line where something is wrong."""

import argparse
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from background_blur.errors import UserError
from tools.dataset import SUFFIXES, Photo, read_photo

Main = Callable[..., int]  # the arguments of the command line -> the exit code


class ToolError(UserError):
    """What is asked for cannot be measured."""


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m tools.NAME`; its help shows the description as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def reports_errors(name: str) -> Callable[[Main], Main]:
    """Makes the `main` of a tool print errors that a user can cause as one line, and return 1."""

    def decorate(main: Main) -> Main:
        @wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                return main(argv)
            except (UserError, OSError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1

        return run

    return decorate


def read_data(folder: Path, limit: int | None) -> list[Photo]:
    """Reads the photographs of a folder, at most `limit` per prefix, evenly spread.

    Raises:
        ToolError: there are none.
    """
    by_prefix: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
        by_prefix.setdefault(path.name.split("_")[0], []).append(path)
    if not by_prefix:
        raise ToolError(f"{folder}: no photographs (NAME.jpg or .webp)", "give another --data")
    return [read_photo(path) for paths in by_prefix.values() for path in spread(paths, limit)]


def spread(items: list, limit: int | None) -> list:
    """At most `limit` of the items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
