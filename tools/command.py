"""What all commands share: their command line, and one-line error messages."""

import argparse
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from background_blur.errors import UserError

Main = Callable[..., int]  # the arguments of the command line -> the exit code


class ToolError(UserError):
    """A tool cannot do what was requested."""


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """Makes the parser for `python -m tools.NAME`; its help shows the description verbatim."""
    return argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def reports_errors(name: str) -> Callable[[Main], Main]:
    """Makes a tool's `main` print errors that a user can cause as one line, and return 1."""

    def decorate(main: Main) -> Main:
        @wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                return main(argv)
            except (UserError, OSError) as error:
                print(f"tools.{name}: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                return 130

        return run

    return decorate


def existing_file(text: str) -> Path:
    """The argparse type of an option that names a file to read."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return Path(text)


def existing_folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)
