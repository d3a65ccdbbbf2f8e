"""Options kept in files: `@FILE` on the command line, and the file of defaults."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from background_blur.errors import UserError

DEPTH = 8  # of files that name other files


def default_file() -> Path:
    """The file of options that always apply."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(folder, "background-blur", "default.txt")


def expand(words: list[str], check: Callable[[list[str]], object], depth: int = 0) -> list[str]:
    """Replaces each word `@FILE` with the words in that file.

    `check` takes the options of one line, and raises ValueError if they are wrong. `depth` counts
    the files being read. Raises UserError, naming the file and line, if a file is missing or not
    text, or if `check` rejects a line.
    """
    expanded = []
    for word in words:
        is_file = word.startswith("@") and len(word) > 1
        expanded += read(Path(word[1:]), check, depth) if is_file else [word]
    return expanded


def read(path: Path, check: Callable[[list[str]], object], depth: int = 0) -> list[str]:
    """Reads a file of options, split into words as by a shell; arguments as for `expand`."""
    if depth >= DEPTH:
        raise UserError(f"{path}: files of options name one another in a circle")
    try:
        lines = Path(os.path.expanduser(path)).read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; write one option per line") from error
    words = []
    for number, line in enumerate(lines, 1):
        try:
            found = expand(split(line), check, depth + 1)
            check(found)
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from error
        words += found
    return words


def split(line: str) -> list[str]:
    """Splits a line into words, without its comment; expands `~` at the start of a word.

    A `#` begins a comment at the start of a line or as a word of its own, but not in a colour.
    Raises ValueError if a quotation is not closed.
    """
    if line.lstrip().startswith("#"):
        return []
    try:
        words = shlex.split(line)
    except ValueError:  # an apostrophe in the comment, perhaps
        words = shlex.split(line.partition(" # ")[0])
    words = words[: words.index("#")] if "#" in words else words
    return [os.path.expanduser(word) for word in words]
