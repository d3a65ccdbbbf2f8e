"""Incomplete files: `NAME.xxxxxx.part.EXT`, in the folder of the complete file.

FFmpeg writes videos in fragments of half a second, each of which plays with those before it. So a
part plays however the run ended; only its last moments are missing.
"""

import errno
import os
import re
import secrets
import sys
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from time import monotonic, time
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

from background_blur.media import open_media

FRAGMENTED = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "500000"}  # microseconds
CLUSTERED = {"cluster_time_limit": "500"}  # milliseconds
SYNC = 1.0  # seconds after which written data must survive a power cut
STARTING = 60.0  # seconds for which an empty part may belong to a run that is just starting
LOST = errno.ENOSPC, errno.EDQUOT, errno.EIO  # errors that mean data did not reach the disk
PART = re.compile(r".+\.[0-9a-f]{6}\.part(\.\w+)", re.DOTALL)


def fragments(suffix: str) -> dict[str, str]:
    """FFmpeg's options for a container that stays playable if writing stops at any moment.

    When closed normally, MP4 and MOV become ordinary files with a single index. If the sound
    pauses, frames do not wait for it; by default FFmpeg would let them wait for ten seconds.
    """
    kind = CLUSTERED if suffix in (".mkv", ".webm") else FRAGMENTED
    return {**kind, "max_interleave_delta": "500000"}  # microseconds


def new_part(path: Path) -> Path:
    """Creates an empty part for `path`; raises OSError if that is not possible."""
    part = path.with_name(f"{path.stem[:50]}.{secrets.token_hex(3)}.part{path.suffix}")
    with suppress(FileNotFoundError):
        path.lstat()  # a name that is too long should fail now, not when the part is renamed
    part.open("xb").close()
    return part


def hold(part: Path) -> BinaryIO | None:
    """Tells `leftovers` that a part is in use, until the returned file is closed.

    Returns None on Windows, where open files cannot be renamed.
    """
    if sys.platform == "win32":
        return None
    file = part.open("rb")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def free_path(path: Path) -> Path:
    """The first of the path itself, NAME_1.EXT, NAME_2.EXT, ... that does not exist yet."""
    others = (path.with_name(f"{path.stem}_{n}{path.suffix}") for n in count(1))
    return next(it for it in chain([path], others) if not os.path.exists(it))


class GrowingFile:
    """The file that FFmpeg writes a part into.

    It is synced to the disk every second, in its own thread, so that even a power failure costs no
    more than that.

    Attributes:
        name: the path; FFmpeg reads the format from it.
    """

    def __init__(self, path: Path):
        """Opens a part. Raises OSError."""
        self.name = str(path)
        self._file = path.open("r+b", buffering=0)
        self._end = self._whole = 0  # bytes written; bytes in complete fragments
        self._torn = self._cut = False
        self._disk = ThreadPoolExecutor(1)
        self._sync: Future[None] | None = None
        self._synced = monotonic()

    def write(self, data: bytes) -> int:
        """Writes all the data. Raises OSError, for instance if the disk is full."""
        if self._cut:
            return len(data)
        rest = memoryview(data)
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]
        self._torn = False
        self._end = max(self._end, self._file.tell())
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET and offset < self._whole and not (self._torn or self._cut):
            # FFmpeg is about to point the header to the index, so sync the index to disk first.
            self._sync_now()
            self._whole = self._end
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def settle(self) -> bool:
        """Notes that all data written so far is complete; returns whether there was any new data.

        Raises:
            OSError: data written earlier did not reach the disk.
        """
        if self._end == self._whole:
            return False
        self._whole = self._end
        if monotonic() - self._synced > SYNC and (not self._sync or self._sync.done()):
            self._raise_sync_error()
            self._synced = monotonic()
            self._sync = self._disk.submit(os.fsync, self._file.fileno())
        return True

    def _raise_sync_error(self) -> None:
        error = self._sync and self._sync.exception()
        if isinstance(error, OSError) and error.errno in LOST:  # others mean it cannot sync
            raise error

    def sync(self) -> None:
        """Flushes everything to the disk. Raises OSError."""
        self._disk.shutdown()
        self._raise_sync_error()
        self._sync_now()

    def cut(self) -> None:
        """Keeps only what is complete, and ignores later writes. Raises OSError."""
        self._cut = True
        self._file.truncate(self._whole)

    def close(self) -> None:
        """Closes the file; may be called repeatedly."""
        self._disk.shutdown()
        self._file.close()

    def _sync_now(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno in LOST:
                raise


def folder_of(output: str | None) -> Path:
    """The folder that `--output` is written to."""
    path = Path(output or "")
    return path if path.is_dir() else path.parent


def leftovers(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Lines about the videos with these suffixes that interrupted runs left behind in a folder."""
    parts = [path for path in parts_in(folder, suffixes) if not in_use(path)]
    playable = [str(path) for path in parts if plays(path)]
    empty = [str(path) for path in parts if str(path) not in playable and not is_new(path)]
    lines = []
    if playable:
        it = "it plays: rename it" if len(playable) == 1 else "they play: rename them"
        lines += [f"{', '.join(playable)}: left by an interrupted run; {it} to keep what is there"]
    if empty:
        lines += [f"{', '.join(empty)}: left by an interrupted run; no frame in it, delete it"]
    return lines


def is_new(path: Path) -> bool:
    """Whether a part may belong to a run that is just starting and has not locked it yet."""
    try:
        return time() - path.stat().st_mtime < STARTING
    except OSError:  # complete by now
        return True


def parts_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = [(folder / name, PART.fullmatch(name)) for name in names]
    return [path for path, part in found if part and part[1].lower() in suffixes and path.is_file()]


def plays(path: Path) -> bool:
    """Whether a video opens and the beginnings of its picture and sound can be decoded."""
    from av.error import FFmpegError

    waited_for: dict[str, bool] = {}  # by track: whether it has packets but no decoded frame yet
    try:
        with open_media(path) as media:
            tracks = *media.streams.video, *media.streams.audio
            for packet in media.demux(tracks):
                name = f"{packet.stream.type}{packet.stream.index}"
                if waited_for.get(name, bool(packet.size)):
                    waited_for[name] = not packet.decode()
                if len(waited_for) == len(tracks) and not any(waited_for.values()):
                    break
    except (OSError, FFmpegError):
        return False
    return "video0" in waited_for and not any(waited_for.values())


def in_use(path: Path) -> bool:
    """Whether another process is still writing this part."""
    try:
        if sys.platform == "win32":  # open files cannot be renamed there
            os.replace(path, path)
            return False
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # a file system without locks
        return False
    return False
