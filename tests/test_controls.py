"""What the keys do, and that text written over the picture stays in the window."""

import itertools
import re
import subprocess

import cv2
import numpy as np
import pytest

from background_blur.capture import open_source
from background_blur.capture.demo import Demo
from background_blur.capture.held import HeldPictures
from background_blur.cli import parser
from background_blur.controls import Viewer
from background_blur.frames import Result
from background_blur.keys import ALIASES, KEYS
from background_blur.matting.engines import open_segmenter
from background_blur.matting.quality import LEVELS
from background_blur.opening import TITLE
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import PEOPLE, VIEWS, Settings
from background_blur.sinks.overlay import draw
from background_blur.sinks.window import KEYS as NAMES
from background_blur.statistics import RunStatistics
from support import ROOT
from support.captures import detail
from support.display import wait_until
from support.program import start
from support.segmenters import FakeBlur, fails, left_half

HELP = ["Keys", *(f"{key}\t{what}" for key, what in KEYS.items())]


class FakeWindow:
    """Keeps what it is shown; its user presses these keys, None for no key, then q."""

    closed = False

    def __init__(self, *keys: str | None):
        self.keys, self.shown, self.waited_for = list(keys), [], []

    def write(self, frame) -> None:
        self.shown.append(frame.image.copy())

    def key(self) -> str | None:
        return self.keys.pop(0) if self.keys else "q"

    def seconds_until(self, time: float) -> float:
        self.waited_for.append(time)
        return 0.0


def view(picture, *keys, is_sequence=True, segmenter=left_half, settings=None):
    """Shows the picture until the keys are used up: (what the window showed, blur, viewer)."""
    window = FakeWindow(*keys)
    blur = FakeBlur(segmenter, settings or Settings(), is_sequence)
    source = Demo((16, 9))
    viewer = Viewer(window, blur.settings, source, statistics=RunStatistics())
    going = True
    while going:
        result = blur(picture)
        viewer.statistics.record(result)
        going = viewer.show(result)
    return window.shown, blur, viewer


@pytest.mark.parametrize("chosen", VIEWS)
def test_no_key_brings_the_sharp_room_into_a_call(chosen):
    settings, views = Settings(view=chosen), []
    viewer = Viewer(FakeWindow(), settings, Demo((16, 9)), in_call=True)
    for _ in range(4):
        viewer.press("v", None)
        views.append(settings.view)
    assert set(views) == {"result", "alpha"}


def test_every_key_in_the_table_does_something_and_no_other_does(picture):
    for name in NAMES.values():
        _, _, viewer = view(picture, None)
        done = Result(picture)
        viewer.save = lambda done: None
        assert viewer.press(name, done) == (name in KEYS or name in ALIASES), name


def test_the_help_the_window_and_the_readme_show_the_same_keys():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Keys\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(.+?)` \| (.+?) \|$", section, re.MULTILINE))
    assert rows == KEYS
    for key, what in KEYS.items():
        assert re.search(rf"^ +{re.escape(key)} +{re.escape(what)}$", parser().epilog, re.MULTILINE)


def test_strength_goes_up_and_down_and_stays_within_its_range(picture):
    for keys, strength in ((["+"], 0.6), (["-", "-"], 0.3), (["+"] * 9, 1), (["-"] * 9, 0)):
        _, blur, _ = view(picture, *keys)
        assert blur.settings.strength == strength


def test_views_and_people_go_round(picture):
    views = [view(picture, *["v"] * n)[1].settings.view for n in range(4)]
    people = [view(picture, *["p"] * n)[1].settings.people for n in range(4)]
    assert (views, people) == (["result", "alpha", "split", "result"], [*PEOPLE, "front"])


def test_space_hides_everything_at_once_until_pressed_again(picture):
    for name in ("result", "split"):
        shown, _, viewer = view(picture, "space", None, "space", settings=Settings(view=name))
        free = np.s_[:180]  # above the text
        assert detail(shown[1][free]) < 0.01 * detail(picture)
        assert np.array_equal(shown[3][free, :130], picture[free, :130])
        assert viewer.statistics.hidden == 2


def test_what_is_hidden_is_said_in_the_window_alone(picture):
    shown, blur, _ = view(picture, segmenter=fails)
    assert not np.array_equal(shown[0], blur(picture).image)
    assert blur(picture).fully_blurred_because == "the network failed: no such tensor"


def test_b_goes_round_the_backgrounds(picture):
    backgrounds = {"blur": None, "#0000ff": lambda size, time: np.uint8([[(255, 0, 0)]])}
    for given, blues in ((backgrounds, [0, 1, 0]), ({"blur": None}, [0, 0, 0]), (None, [0, 0, 0])):
        window, blur = FakeWindow("b", None, "b", None, None), FakeBlur(left_half, Settings())
        viewer = Viewer(window, blur.settings, Demo((16, 9)), backgrounds=given)
        while viewer.show(blur(picture)):
            pass
        blue = [(image[20, 300] == (255, 0, 0)).all() for image in window.shown]
        assert [blue[0], blue[1], blue[3]] == blues


def test_what_ails_the_camera_is_said_in_the_window(picture):
    shown = []
    for problem in (None, "camera 0 gives only black frames"):
        window = FakeWindow()
        source = Demo((16, 9))
        source.problem = problem
        Viewer(window, Settings(), source).show(Result(picture))
        shown += window.shown
    assert np.array_equal(shown[0], picture) and not np.array_equal(shown[1], picture)


def test_help_and_figures_are_drawn_on_a_copy_and_go_away(picture):
    plain, _, _ = view(picture)
    for key in "hf":
        shown, _, _ = view(picture, key, None, key, None)
        assert not np.array_equal(shown[2], plain[0])
        assert np.array_equal(shown[4], plain[0])
    image = picture.copy()
    assert draw(image, [], []) is image
    draw(image, ["above"], ["below"])
    assert np.array_equal(image, picture)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (16, 900), (7680, 16), (320, 240)])
def test_text_is_drawn_on_frames_of_any_size_and_ends_inside(size):
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    out = draw(image, HELP, ["a note"], ("original", "blurred"))
    assert out.shape == image.shape
    if min(size) >= 240:
        assert np.array_equal(out[[0, -1]], image[[0, -1]])
        assert np.array_equal(out[:, [0, -1]], image[:, [0, -1]])


def test_figures_are_means_of_what_happened(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("background_blur.statistics.monotonic", lambda: now[0])
    monkeypatch.setattr("background_blur.statistics.process_time", lambda: 5 + now[0] / 2)
    picture, statistics = np.zeros((2, 2, 3), np.uint8), RunStatistics()
    assert statistics.overlay(0) == []
    for index in range(100):
        now[0] = index / 25
        why = "the network failed" if index < 2 else None
        mask_from = None if why else ("network", "propagated")[index % 2]
        timed = {"captured_at": now[0] - 0.04, "seconds": {"segment": 0.010}}
        seen = () if index % 2 else (0.6,)
        statistics.record(
            Result(picture, fully_blurred_because=why, mask_from=mask_from, seen=seen, **timed),
            LEVELS[1],
        )
    assert statistics.overlay(dropped=3) == [
        "25.0 frames/s",
        "processor time 20.0 ms, of which",
        "segment 10.0 ms",
        "latency 40 ms",
        "dropped 3",
        "fully blurred 2",
        "the network ran 0.50 times per frame, on 60 % of the frame",
        "masks: network 50 %, propagated 50 %",
        "quality: every 2nd frame",
    ]
    statistics.record(Result(picture))
    assert not any("latency" in line for line in statistics.overlay(0))


def test_s_saves_what_is_shown_without_the_text(picture, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    view(picture, "h", "f", "s", "s")
    saved = sorted(tmp_path.iterdir())
    assert len(saved) == 2
    assert re.fullmatch(r"background_\d{8}_\d{6}\.png", saved[0].name)
    assert np.array_equal(cv2.imread(str(saved[0])), view(picture)[0][0])
    errors = [record.message for record in caplog.records]
    assert sorted(errors) == [f"saved {path}" for path in saved]


def test_where_nothing_can_be_saved_it_says_so_and_goes_on(picture, tmp_path, monkeypatch, caplog):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    caplog.set_level("INFO")
    shown, _, _ = view(picture, "s", None, None)
    assert len(shown) == 4
    [record] = caplog.records
    assert "background_" in record.message


def test_a_photo_stays_until_n_and_is_drawn_again_only_if_changed(picture, tmp_path):
    window = FakeWindow(None, "x", "m", None, "n")
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    blur = FakeBlur(left_half, Settings(), is_sequence=False)
    source = HeldPictures(open_source(str(tmp_path / "picture.png"), fps=240))
    viewer = Viewer(window, blur.settings, source)
    assert all(viewer.show(blur(frame)) for frame in source)
    assert not window.keys
    _, then = window.shown  # five times the same photo: drawn once, and once more after "m"
    mirrored = FakeBlur(left_half, Settings(), is_sequence=False)(picture[:, ::-1].copy()).image
    assert np.array_equal(then, mirrored)


def test_photos_go_on_and_back(tmp_path):
    for grey in (30, 60, 90):
        cv2.imwrite(str(tmp_path / f"{grey}.png"), np.full((40, 40, 3), grey, np.uint8))
    window = FakeWindow("left", "n", None, "right", "left", "backspace", "n", "n", "n")
    source = HeldPictures(open_source(str(tmp_path), fps=240))
    viewer = Viewer(window, Settings(), source)
    assert all(viewer.show(Result(frame.image)) for frame in source)
    shown = [int(image[0, 0, 0]) for image in window.shown]
    assert shown == [30, 30, 60, 60, 90, 60, 30, 60, 90]
    source.close()


def test_strength_says_where_nothing_is_blurred(picture):
    settings = Settings(background="transparent")
    _, _, viewer = view(picture, "+", settings=settings)
    assert settings.strength == 0.5 and viewer.note.startswith("nothing to blur")


def test_the_halves_of_the_split_view_have_captions_where_they_are_true(picture):
    split = Settings(view="split")
    viewer = Viewer(FakeWindow(), split, Demo((16, 9)))
    assert viewer.captions(Result(picture)) == ("original", "blurred")
    assert viewer.captions(Result(picture, fully_blurred_because="hidden")) == ()
    split.background = "transparent"
    assert viewer.captions(Result(picture)) == ("original", "result")


def test_files_come_at_their_pace_unless_they_are_written(picture):
    for paced in (True, False):
        window = FakeWindow()
        Viewer(window, Settings(), Demo((16, 9)), paced=paced).show(Result(picture, 4.2))
        assert window.waited_for == [4.2] * paced


@pytest.fixture
def show(display, tmp_path):
    """Starts the program in a folder of its own, and waits for its window."""
    processes = []

    def show(*arguments) -> subprocess.Popen:
        processes.append(start(*arguments, cwd=tmp_path, env=display.environment))
        wait_until(lambda: display.is_shown(TITLE), "a window")
        return processes[-1]

    yield show
    for process in processes:
        process.kill()
        process.communicate()


def test_each_key_shows_just_what_the_line_makes(display, show, tmp_path, portrait):
    """Pixel by pixel, except for the notes at the lower border."""
    two = np.full((360, 640, 3), 160, np.uint8)  # the second is more than a quarter of the first
    two[:, :360] = cv2.resize(portrait, (360, 360), interpolation=cv2.INTER_AREA)
    two[110:, 380:630] = cv2.resize(portrait, (250, 250), interpolation=cv2.INTER_AREA)[:, ::-1]
    cv2.imwrite(str(tmp_path / "two.png"), two)
    segmenter = open_segmenter(thorough=True)
    process = show("--source", "two.png", "--threads", "2")
    settings = Settings()

    def shows(press: str | None, top=(), **changes) -> np.ndarray:
        if press:
            display.press(TITLE, press)
        for name, value in changes.items():
            setattr(settings, name, value)
        expected = draw(
            BackgroundBlur(segmenter, settings, is_sequence=False)(two).image,
            list(top),
            [],
            ("original", "blurred") if settings.view == "split" else (),
        )[:320]
        there = np.s_[:320, : expected.shape[1]]
        same = lambda: np.array_equal(display.screenshot()[there], expected)  # noqa: E731
        wait_until(same, f"what {press} shows")
        return expected

    seen = [shows(None), shows("p", people="main"), shows("m", mirror=True)]
    seen += [shows("space", hide=True), shows("space", hide=False), shows("v", view="alpha")]
    seen += [shows("v", view="split")]  # in a window of its shape
    seen += [shows("h", top=HELP)]
    display.press(TITLE, "s")
    made = lambda: [p for p in tmp_path.glob("background_*") if ".part" not in p.name]  # noqa: E731
    (saved,) = wait_until(made, "a saved picture")
    plain = BackgroundBlur(segmenter, settings, is_sequence=False)(two).image
    assert np.array_equal(cv2.imread(str(saved)), plain)  # neither help nor captions
    different = [not np.array_equal(a, b) for a, b in itertools.combinations(seen, 2)]
    assert different.count(False) == 1  # hidden, and shown again
    display.press(TITLE, "n")
    assert process.communicate(timeout=30)[1] == f"main.py: saved {saved}\n"
    assert process.returncode == 0


def test_no_text_gets_into_the_file(display, show, tmp_path):
    out = tmp_path / "out.mp4"
    wall = ["--background", "#c0c0c0"]  # behind the demo everything moves
    process = show("--source", "demo", "--size", "640x360", "--output", out, *wall)
    corner = np.s_[40:100, 7:11]  # of the panel, left of the words
    bright = lambda: display.screenshot()[corner].mean()  # noqa: E731
    plain = wait_until(lambda: bright() > 60 and bright(), "a picture")
    for key in "hf":
        display.press(TITLE, key)
        wait_until(lambda: bright() < 0.5 * plain, f"the text of {key}")
    display.press(TITLE, "q")
    assert process.wait(timeout=30) == 0
    with open_source(str(out)) as written:
        means = [frame.image[corner].mean() for frame in written]
    assert min(means) > 0.95 * max(means)
