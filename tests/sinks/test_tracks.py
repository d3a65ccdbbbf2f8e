"""Everything but the pictures: sound, subtitles, chapters and tags, from any file into any other.

The program's sources read it and its sinks write it; only the network is skipped.
"""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError
from av.stream import Disposition

from background_blur.sinks.video import ENCODERS
from support import ROOT
from support.videos import add_track, lasting, packets, pictures, rewritten, tone, write

HOLDERS = ("matroska", "mov", "asf", "avi", "mpegts", "nut")  # of inputs, the first that will do


def rates(codec: str) -> list[int]:
    known = av.Codec(codec, "w").audio_rates
    return [known[0] if 48000 not in known else 48000] if known else [48000, 16000, 8000]


def is_made(path: Path, codec: str, form: str, rate: int) -> bool:
    """Whether such a file could be written and gives the right times for everything in it."""
    try:
        write(path, (codec, "mono", rate), picture="mjpeg", form=form)
        with av.open(str(path)) as file:
            last = max(float(it.pts * it.time_base) for it in file.demux(audio=0) if it.size)
        in_order = pictures(path) == sorted(pictures(path))
        return in_order and 0.5 < last < 1.1 and abs(played(path) - 1) < 0.2
    except (ValueError, FFmpegError, OSError, TypeError, LookupError):
        return False


def played(path: Path) -> float:
    """How long the sound of a file is, in seconds."""
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return 0
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


def faults(source: Path, path: Path, said: str | None) -> list[str]:
    """What is wrong with a second of video that was transferred to another file."""
    before, after, found = played(source), played(path), []
    times = pictures(source)
    wanted = max(times[-1] + 0.04 - min(times[0], packets(source)[0][0]), after)
    with av.open(str(path)) as file:
        length = file.duration / 1e6
        if abs(length - wanted) > 0.04 + 0.03:  # a frame, and the encoder's delay at the start
            found.append(f"lasts {length} s")
        if sum(1 for _ in file.decode(video=0)) != 25:
            found.append("frames are missing")
    if abs(after - before) > 0.1 and (after or not said):
        found.append(f"{after} s of sound, once {before} s")
    return found


CODECS = {  # the names in the table in docs/files.md, and the encoders
    "AAC": "aac", "AC-3": "ac3", "E-AC-3": "eac3", "MP3": "mp3", "16-bit PCM": "pcm_s16le",
    "MP2": "mp2", "Opus": "libopus", "FLAC": "flac", "ALAC": "alac", "G.711": "pcm_mulaw",
    "AMR": "libopencore_amrnb", "WMA": "wmav2", "ADPCM": "adpcm_ms",
}  # fmt: skip


def table() -> dict[str, dict[str, str]]:
    """What docs/files.md says happens to a kind of track, by suffix."""
    text = (ROOT / "docs" / "files.md").read_text("utf-8")
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    suffixes = [suffix.strip("`") for suffix in rows[0][1:]]
    return {name: dict(zip(suffixes, cells, strict=True)) for name, *cells in rows[2:]}


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_sound_becomes_what_the_documents_say(tmp_path, name):
    (cells,) = (row for names, row in table().items() if name in names.split(", "))
    source, codec = tmp_path / "in", CODECS[name]
    ways = itertools.product(HOLDERS, rates(codec))
    assert any(is_made(source, codec, form, rate) for form, rate in ways)
    with av.open(str(source)) as file:
        own = file.streams.audio[0].codec_context.codec.canonical_name
    assert tuple(cells) == tuple(ENCODERS)
    for suffix, said in cells.items():
        path = tmp_path / f"out{suffix}"
        assert not faults(source, path, rewritten(source, path)), suffix
        ((found, *_),) = tracks_of(path)
        wanted = own if said == "kept" else said.lower()
        assert av.Codec(found, "r").canonical_name == wanted, suffix


def tracks_of(path: Path) -> list[tuple]:
    with av.open(str(path)) as file:
        return [(it.codec_context.name, it.channels, it.language) for it in file.streams.audio]


# --- Sound


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("form", ["mp4", "mpegts"])
def test_sound_that_fits_comes_along_untouched(tmp_path, suffix, form):
    source = write(tmp_path / "in", ("aac",), form=form, seconds=2)
    assert rewritten(source, tmp_path / f"out{suffix}") is None
    was, now = packets(source), packets(tmp_path / f"out{suffix}")
    header = 7 * (form == "mpegts")  # bytes of each packet, which are removed
    assert [data[header:] for _, data in was] == [data for _, data in now]
    gap = was[0][0] - pictures(source)[0]
    assert now[0][0] - pictures(tmp_path / f"out{suffix}")[0] == pytest.approx(gap, abs=0.003)


def test_a_run_that_is_stopped_cuts_the_sound_where_the_pictures_end(tmp_path):
    source = write(tmp_path / "in.mkv", ("aac",), ("pcm_u8",), seconds=4)
    said = rewritten(source, tmp_path / "out.mp4", frames=50)
    assert "pcm_u8 became aac" in said
    for index in (0, 1):
        assert 1.9 < packets(tmp_path / "out.mp4", index)[-1][0] < 2.05
    with av.open(str(tmp_path / "out.mp4")) as file:
        order = sorted((it.pos, it.stream.type) for it in file.demux() if it.size)
    runs = "".join(kind[0] for _, kind in order).split("v")
    assert max(map(len, runs)) < 120, "the sound is not interleaved"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_sound_that_goes_on_after_the_last_picture_is_kept(tmp_path, suffix):
    source = joined_tracks(tmp_path / "in.mkv", sound=(0, 3), video=(0, 1))
    rewritten(source, tmp_path / f"out{suffix}")
    assert lasting(tmp_path / f"out{suffix}") == pytest.approx(3, abs=0.05)
    assert len(pictures(tmp_path / f"out{suffix}")) == 25


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("codec", ["aac", "pcm_u8"])
@pytest.mark.parametrize("sound, video", [((0.5, 2), (0, 2)), ((0, 2), (0.4, 2)), ((3, 4), (0, 4))])
def test_sound_and_picture_stay_together_when_one_begins_later(
    tmp_path, suffix, codec, sound, video
):
    source = joined_tracks(tmp_path / "in.mkv", sound, video, codec)
    rewritten(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        levels = {it.time: np.abs(it.to_ndarray()).max() for it in file.decode(audio=0)}
    loud = max(levels.values())
    began = min(time for time, level in levels.items() if level > loud / 2)
    gap = began - pictures(tmp_path / f"out{suffix}")[0]
    assert gap == pytest.approx(sound[0] - video[0], abs=0.06)


@pytest.mark.slow
def test_a_still_picture_is_no_leap_of_the_clock(tmp_path):
    source = joined_tracks(tmp_path / "in.ts", (0, 16), (0, 16), still=(1, 14))
    rewritten(source, tmp_path / "out.mp4")
    assert np.diff(pictures(tmp_path / "out.mp4")).max() == pytest.approx(13, abs=0.1)
    assert packets(tmp_path / "out.mp4")[-1][0] == pytest.approx(16, abs=0.1)


def joined_tracks(path: Path, sound, video, codec="aac", still=(0, 0)) -> Path:
    """Writes pictures and a tone, each from and until a time in s; no picture during `still`."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height = 64, 48
        track = add_track(file, codec)
        for index in range(round(25 * max(sound[1], video[1]))):
            if video[0] <= index / 25 < video[1] and not still[0] < index / 25 < still[1]:
                file.mux(stream.encode(blank(index)))
            if sound[0] <= index / 25 < sound[1]:
                file.mux(track.encode(tone(track, index)))
        for each in (stream, track):
            file.mux(each.encode(None))
    return path


def blank(index: int) -> av.VideoFrame:
    """Makes a frame of 25 frames/s, without what was in its memory before."""
    frame = av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, 25)
    return frame


def test_all_sound_tracks_come_along_the_default_ones_language_and_the_most_channels_first(
    tmp_path,
):
    tracks = ("aac", "mono", 48000, "eng"), ("ac3", "5.1(side)", 48000, "deu")
    source = write(tmp_path / "in.mp4", *tracks, ("aac", "stereo", 48000, "eng"))
    for suffix in (".mp4", ".mkv"):  # QuickTime has other names for some languages
        assert rewritten(source, tmp_path / f"out{suffix}") is None
        found = tracks_of(tmp_path / f"out{suffix}")
        assert found == [("aac", 2, "eng"), ("aac", 1, "eng"), ("ac3", 6, "deu")]
        with av.open(str(tmp_path / f"out{suffix}")) as file:
            kinds = [bool(it.disposition & Disposition.default) for it in file.streams.audio]
        assert kinds == [True, False, False]
        assert [data for _, data in packets(source, 2)] == [
            data for _, data in packets(tmp_path / f"out{suffix}", 0)
        ]


@pytest.mark.parametrize("codec", ["aac", "ac3", "mp2"])
def test_damaged_sound_costs_only_what_is_damaged(tmp_path, codec):
    source = joined_tracks(tmp_path / "in.mkv", (0, 4), (0, 4), codec)
    data = source.read_bytes()
    for _, packet in packets(source)[40:43]:
        data = data.replace(packet, b"\xff" * len(packet))
    source.write_bytes(data)
    said = rewritten(source, tmp_path / "out.mp4")
    assert said and ("damaged parts of its sound left out" in said or "mp2 became aac" in said)
    assert len(pictures(tmp_path / "out.mp4")) == 100
    assert packets(tmp_path / "out.mp4")[-1][0] == pytest.approx(4, abs=0.1)


def test_a_file_that_ends_early_is_told_although_it_has_sound(tmp_path):
    source = joined_tracks(tmp_path / "in.mkv", (0, 4), (0, 4), "pcm_s16le")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2] + bytes(3000) + data[len(data) // 2 + 3000 :])
    said = rewritten(source, tmp_path / "out.mp4")
    assert said and "ends after 2.0 s of 4.0 s; the rest is missing" in said


# --- Clocks


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("start", [0, 2**33 / 90000 - 3, 20000])
def test_joined_recordings_go_on_as_one(tmp_path, suffix, start):
    """Recordings whose clock restarts, wraps, or leaps by hours."""
    parts = [write(tmp_path / f"{n}", ("aac",), form="mpegts", seconds=4) for n in (0, 1)]
    source = tmp_path / "in.ts"
    second = moved(parts[1], start) if start else parts[1]
    source.write_bytes(parts[0].read_bytes() + second.read_bytes())
    assert rewritten(source, tmp_path / f"out{suffix}") is None
    times = pictures(tmp_path / f"out{suffix}")
    assert len(times) == 200 and np.diff(times).max() < 0.13
    assert lasting(tmp_path / f"out{suffix}") == pytest.approx(8, abs=0.2)
    assert packets(tmp_path / f"out{suffix}")[-1][0] == pytest.approx(times[-1], abs=0.2)


def moved(path: Path, seconds: float) -> Path:
    """A recording whose clock shows another time."""
    other = path.with_suffix(".moved")
    options = {"output_ts_offset": f"{seconds}", "mpegts_copyts": "1"}
    with av.open(str(path)) as file, av.open(str(other), "w", "mpegts", options=options) as copy:
        streams = {it.index: copy.add_stream_from_template(it) for it in file.streams}
        for packet in file.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return other


# --- Subtitles, chapters, tags


def with_subtitles(path: Path, codec="subrip", **tags) -> Path:
    """Two seconds with subtitles, two chapters and a date."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height = 64, 48
        text = file.add_stream(codec)
        text.codec_context.subtitle_header = b"[Script Info]\n\n[V4+ Styles]\n\n[Events]\n"
        text.metadata["language"] = "eng"
        file.metadata.update(tags)
        base = Fraction(1, 1000)
        chapter = {"time_base": base, "metadata": {"title": "Begin"}}
        second = {**chapter, "metadata": {"title": "End"}}
        file.set_chapters([
            {"id": 1, "start": 0, "end": 1000, **chapter},
            {"id": 2, "start": 1000, "end": 2000, **second},
        ])  # fmt: skip
        for index in range(50):
            file.mux(video.encode(blank(index)))
            if index % 25 == 12:
                words = b"0,0,Default,,0,0,0,,Hello"
                shown = av.subtitles.subtitle.SubtitleSet.create(words, 0, 400)
                packet = text.codec_context.encode_subtitle(shown)
                packet.pts = packet.dts = 40 * index
                packet.time_base, packet.duration, packet.stream = base, 400, text
                file.mux(packet)
        file.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", ENCODERS)
@pytest.mark.parametrize("origin", ["in.mkv", "in.mp4"])
def test_subtitles_chapters_and_tags_come_along_but_no_place(tmp_path, suffix, origin):
    tags = {"title": "My holiday", "creation_time": "2021-07-14T10:11:12.000000Z"}
    codec = "subrip" if origin == "in.mkv" else "mov_text"
    source = with_subtitles(tmp_path / origin, codec, location="+48.1+011.5/", **tags)
    said = rewritten(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        kept = {name.lower(): text for name, text in file.metadata.items()}
        chapters = [
            (float(it["start"] * it["time_base"]), it["metadata"]) for it in file.chapters()
        ]
        (text,) = file.streams.subtitles
        assert text.language == "eng"
        shown = [
            (float(it.pts * it.time_base), b"Hello" in bytes(it))
            for it in file.demux(text)
            if it.size > 2
        ]
    assert shown == [(pytest.approx(0.48, abs=0.01), True), (pytest.approx(1.48, abs=0.01), True)]
    assert chapters == [(0, {"title": "Begin"}), (1, {"title": "End"})]
    assert tags.items() <= kept.items() and "location" not in str(kept)
    assert said is None or "became" in said


def with_raw_subtitles(path: Path, codec: str) -> Path:
    """A second of pictures, and a packet of subtitles that says nothing."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height = 64, 48
        text = file.add_mux_stream(codec)
        for index in range(25):
            file.mux(video.encode(blank(index)))
        packet = av.Packet(b"\0\x08\0\x04\0\0\0\0")
        packet.pts = packet.dts = 500
        packet.time_base, packet.stream = Fraction(1, 1000), text
        file.mux(packet)
        file.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    "name, codec",
    [
        ("SubRip subtitles", "subrip"),
        ("DVD subtitles", "dvd_subtitle"),
        ("Blu-ray subtitles", "hdmv_pgs_subtitle"),
    ],
)
def test_subtitles_become_what_the_documents_say(tmp_path, name, codec):
    source = with_raw_subtitles(tmp_path / "in.mkv", codec)
    for suffix, wanted in table()[name].items():
        said = rewritten(source, tmp_path / f"out{suffix}") or ""
        with av.open(str(tmp_path / f"out{suffix}")) as file:
            found = [it.codec_context.codec.canonical_name for it in file.streams.subtitles]
        became = "kept" if found == [codec] else "converted" if found else "named"
        assert (became, bool(said)) == (wanted, became != "kept"), (suffix, said)
        assert codec in said or became == "kept"
