"""Files in the making, `NAME.xxxxxx.part.EXT`, beside where they are to lie when complete.

FFmpeg writes videos in fragments of half a second, each playable with those before it. So a part
plays however the run ended, and only its last moments are missing.
"""

import errno
import os
import re
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from time import monotonic

try:
    import fcntl
except ImportError:  # on Windows, which lets no open file be renamed
    fcntl = None

FRAGMENTED = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "500000"}  # microseconds
CLUSTERED = {"cluster_time_limit": "500"}  # milliseconds
SYNC = 1.0  # seconds after which what was written must be safe from a loss of power
LOST = errno.ENOSPC, errno.EDQUOT, errno.EIO  # errors that mean that data did not get to the disk
PART = re.compile(r".+\.[0-9a-f]{6}\.part(\.\w+)", re.DOTALL)


def fragments(suffix: str) -> dict[str, str]:
    """FFmpeg's options for a container that can break off at any moment.

    At a normal end MP4 and MOV become ordinary files with one index for all. Where the sound falls
    silent the pictures do not wait for it, as they would for ten seconds.
    """
    kind = CLUSTERED if suffix in (".mkv", ".webm") else FRAGMENTED
    return {**kind, "max_interleave_delta": "500000"}  # microseconds


def new_part(path: Path) -> Path:
    """Creates the empty part that is to become `path`; raises OSError if that is not possible."""
    part = path.with_name(f"{path.stem[:50]}.{secrets.token_hex(3)}.part{path.suffix}")
    with suppress(FileNotFoundError):
        path.lstat()  # too long a name shows here, not only when the part is renamed
    part.open("xb").close()
    return part


def free_path(path: Path) -> Path:
    """The path, or the first of NAME_1.EXT, NAME_2.EXT, ... where nothing lies yet."""
    others = (path.with_name(f"{path.stem}_{n}{path.suffix}") for n in count(1))
    return next(it for it in chain([path], others) if not os.path.exists(it))


class GrowingFile:
    """The file that FFmpeg writes a part into.

    Every second it is brought to the disk, in a thread of its own, so that not even a loss of power
    costs more. While it is open, `leftovers` knows that somebody is at it.

    Attributes:
        name: the path; FFmpeg reads the format from it.
    """

    def __init__(self, path: Path):
        """Opens a part. Raises OSError."""
        self.name = str(path)
        self._file = path.open("r+b", buffering=0)
        if fcntl:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._end = self._whole = 0  # bytes; `_whole` of them are whole fragments
        self._torn = self._cut = False
        self._disk = ThreadPoolExecutor(1)
        self._sync: Future | None = None
        self._synced = monotonic()

    def write(self, data) -> int:
        """Raises OSError: the disk is full, say."""
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
            # FFmpeg is about to say in the header that there is an index: let that be there first.
            self._sync_now()
            self._whole = self._end
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def settle(self) -> bool:
        """Takes note that what was written so far is whole; whether that is more than before.

        Raises:
            OSError: what was written before did not get to the disk.
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
        if isinstance(error, OSError) and error.errno in LOST:  # others: a disk that cannot do it
            raise error

    def sync(self) -> None:
        """Brings all of it to the disk. Raises OSError."""
        self._disk.shutdown()
        self._raise_sync_error()
        self._sync_now()

    def cut(self) -> None:
        """Leaves only what is whole; what is written from now on is dropped. Raises OSError."""
        self._cut = True
        self._file.truncate(self._whole)

    def close(self) -> None:
        """Again does nothing."""
        self._disk.shutdown()
        self._file.close()

    def _sync_now(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno in LOST:
                raise


def folder_of(output: str | None) -> Path:
    """Where what is written lies."""
    path = Path(output or "")
    return path if path.is_dir() else path.parent


def leftovers(folder: Path, suffixes) -> list[str]:
    """Lines on the videos, of these suffixes, that runs which broke off have left in a folder."""
    parts = [path for path in parts_in(folder, suffixes) if not in_use(path)]
    playable = [str(path) for path in parts if plays(path)]
    empty = [str(path) for path in parts if str(path) not in playable]
    lines = []
    if playable:
        it = "it plays: rename it" if len(playable) == 1 else "they play: rename them"
        lines += [
            f"{', '.join(playable)}: left by a run that broke off; {it} to keep what is there"
        ]
    if empty:
        lines += [f"{', '.join(empty)}: left by a run that broke off; no frame in it, delete it"]
    return lines


def parts_in(folder: Path, suffixes) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = [(folder / name, PART.fullmatch(name)) for name in names]
    return [path for path, part in found if part and part[1].lower() in suffixes and path.is_file()]


def plays(path: Path) -> bool:
    """Whether there is a picture in a video."""
    import av

    options = {"protocol_whitelist": "file,crypto,data"}  # no file sends us into the network
    try:
        with av.open(f"file:{path}", container_options=options, metadata_errors="ignore") as video:
            pictures = video.demux(video.streams.video)
            return bool(video.streams.video) and any(packet.size for packet in pictures)
    except (OSError, av.FFmpegError):
        return False


def in_use(path: Path) -> bool:
    """Whether a run is still writing this part."""
    try:
        if not fcntl:
            os.replace(path, path)
            return False
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # a file system without locks
        return False
    return False
