"""The sound of one file, copied into another as it is."""

from collections.abc import Generator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from background_blur.sinks.parts import open_media

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream


class Track:
    """One track of sound of a file, copied into another as it is."""

    def __init__(
        self, source: "InputContainer", index: int, shift: Fraction, output: "OutputContainer"
    ):
        """Adds the track to the output.

        Args:
            source: nothing else reads it.
            index: of the track's stream in it.
            shift: seconds to delay the track by.
            output: to copy into; it can hold the track's codec.
        """
        from av.stream import Discard, Disposition

        self.source, self.output = source, output
        track = source.streams[index]
        for other in source.streams:
            other.discard = Discard.default if other is track else Discard.all
        self.stream = output.add_stream_from_template(track)
        self.stream.disposition = track.disposition & ~Disposition.default
        self.stream.metadata.update(tags(track))
        self.packets = self.shifted(track, shift)
        self.waiting = next(self.packets, None)

    def shifted(
        self, track: "Stream", seconds: Fraction
    ) -> "Generator[tuple[Fraction, Packet[Stream]]]":
        """Yields (start in seconds, packet), delayed, up to where the file is damaged."""
        from av.error import FFmpegError

        with suppress(FFmpegError):
            for packet in self.source.demux(track):
                if not packet.size or packet.dts is None:
                    continue
                shift = round(seconds / packet.time_base)
                packet.pts = pts = shift + (packet.dts if packet.pts is None else packet.pts)
                packet.dts += shift
                packet.stream = self.stream
                yield pts * packet.time_base, packet

    def copy_until(self, time: Fraction) -> None:
        """Copies what begins before that time, in seconds of the video being written."""
        while self.waiting and self.waiting[0] < time:
            self.output.mux(self.waiting[1])
            self.waiting = next(self.packets, None)

    def close(self) -> None:
        self.packets.close()
        self.source.close()


class Sound:
    """The sound of one file, copied into another: every track that fits, the best one first.

    Each track has a reader of its own, since tracks may lie far apart in the file.

    Attributes:
        lead: seconds by which the sound begins before the video.
        warning: one line about what is not copied, or None.
    """

    def __init__(self, path: Path | None, output: "OutputContainer", suffix: str):
        """Opens the file, if any, and adds its tracks to a container of files with that suffix."""
        from av.error import FFmpegError
        from av.stream import Disposition

        self.tracks: list[Track] = []
        self.lead = Fraction(0)
        self.warning: str | None = None
        if path is None:
            return
        try:
            with open_media(path) as source:  # its streams are unusable once it is closed
                video, tracks = source.streams.best("video"), best_first(source)
                fitting = [it for it in tracks if codec_of(it) in output.supported_codecs]
                began = start_time(video) if video else Fraction(0)
                self.lead = max([Fraction(0)] + [began - start_time(it) for it in fitting])
                if len(fitting) < len(tracks):
                    self.warning = f"{path}: {what_fits(tracks, fitting, suffix)}"
                indices = [it.index for it in fitting]
            for index in indices:
                track = Track(open_media(path), index, self.lead - began, output)
                self.tracks.append(track)
            if self.tracks:
                self.tracks[0].stream.disposition |= Disposition.default
        except (OSError, FFmpegError):
            self.warning = f"{path}: its sound cannot be read; the video stays silent"

    def copy_until(self, time: Fraction) -> None:
        """Copies what begins before that time, in seconds of the video being written."""
        for track in self.tracks:
            track.copy_until(time)

    def close(self) -> None:
        for track in self.tracks:
            track.close()


def best_first(source: "InputContainer") -> "list[AudioStream]":
    """The tracks of a container: the default one's language first, then by number of channels.

    Comments, and tracks for the hearing or visually impaired, come last.
    """
    from av.stream import Disposition as Kind

    others = Kind.comment | Kind.hearing_impaired | Kind.visual_impaired
    default = next((it for it in source.streams.audio if it.disposition & Kind.default), None)

    def rank(track: "AudioStream") -> tuple[bool, bool, int, bool]:
        foreign = default is not None and language(track) != language(default)
        is_default = bool(track.disposition & Kind.default)
        return bool(track.disposition & others), foreign, -channels(track), not is_default

    return sorted(source.streams.audio, key=rank)


def codec_of(track: "AudioStream") -> str | None:
    return track.codec_context and track.codec_context.name


def channels(track: "AudioStream") -> int:
    return track.codec_context.channels if track.codec_context else 0


def language(track: "Stream") -> str | None:
    return None if track.language == "und" else track.language


def tags(track: "Stream") -> dict[str, str]:
    """The metadata that a user chooses a track by."""
    title = track.metadata.get("title") or track.metadata.get("name")
    known = {"language": language(track), "title": title}
    return {name: value for name, value in known.items() if value}


def what_fits(
    tracks: "Sequence[AudioStream]", fitting: "Sequence[AudioStream]", suffix: str
) -> str:
    """A warning about tracks of which not all fit into a file of that suffix."""
    lost = list(dict.fromkeys(codec_of(it) for it in tracks if it not in fitting))
    codecs, known = " and ".join(it or "unknown" for it in lost), all(lost)
    hint = "a .mkv file would hold it" if known else "the video stays silent"
    if not fitting:
        return f"its {codecs} sound does not fit into {suffix} files; {hint}"
    kept = ", ".join(f"{codec_of(it)} {it.layout.name}" for it in fitting)
    kept = f"{len(fitting)} of its {len(tracks)} sound tracks kept ({kept})"
    hint = "; a .mkv file would hold all" if known else ""
    return f"{kept}; {codecs} sound does not fit into {suffix} files{hint}"


def start_time(stream: "Stream") -> Fraction:
    """In seconds; 0 if unknown."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base
