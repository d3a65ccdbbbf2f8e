"""The bench: what it runs, prints and writes, and its arithmetic; no times are asserted."""

import json

import numpy as np
import pytest

from background_blur.frames import Result
from background_blur.matting.engines import DEFAULT_WEIGHTS
from tools.command import ToolError
from tools.measuring import bench, costs, recipes, stand_ins

SMALL = ["--sizes", "128x72", "--frames", "6", "--rounds", "1"]


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"above\n{costs.BEGIN}\nold\n{costs.END}\nbelow\n")
    return path


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_WEIGHTS["litert"].exists(), reason="no weights yet")
def test_it_measures_videos_and_cameras_and_writes_the_tables(tmp_path, page, capsys, monkeypatch):
    monkeypatch.setattr(stand_ins, "PICTURES", 6)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # without PipeWire
    path = tmp_path / "figures.json"
    command = [*SMALL, "--seconds", "0.5", "--json", str(path), "--write", str(page)]
    command += ["--peer", __file__]  # which is no network
    assert bench.main(command) == 0
    runs = json.loads(path.read_text())["sizes"]["128x72"]
    others = ["mediapipe, video", "mediapipe, camera"]
    assert list(runs) == [*(run.name for run in bench.OURS), *others]
    left_out = {name for name, got in runs.items() if "left out" in got}
    no_display = {"this, video, window", "this, camera, window", "this, camera, pipewire"}
    assert left_out == {*no_display, *others}
    for name in runs.keys() - left_out:
        got = runs[name]
        assert got["fps"] > 0 and got["cpu_ms"] > 0 and got["fully_blurred"] == 0
        assert {"segment", "refine", "compose"} <= got["stages"].keys()
    assert runs["this, video"]["peak_mb"] > 20 and runs["this, video"]["first_s"] > 0
    assert runs["this, camera"]["age_ms"] > 0
    assert "write" in runs["this, video, file"]["stages"]
    printed = capsys.readouterr().out.strip()
    assert "| this, video, file |" in printed and "no display" in printed
    assert "mediapipe, video was skipped: " in printed
    before, after = f"above\n{costs.BEGIN}\n\n", f"\n\n{costs.END}\nbelow\n"
    assert page.read_text() == before + printed + after
    assert str(tmp_path) not in printed


def test_a_page_without_the_marks_is_left_as_it_is(page):
    page.write_text("nothing here")
    with pytest.raises(ToolError):
        costs.write_into(page, "new")
    assert page.read_text() == "nothing here"


def test_ours_is_compared_with_each_other_way_on_the_same_source():
    runs = {
        "this, video": {"fps": 40, "cpu_ms": 15},
        "this, camera": {"fps": 30, "cpu_ms": 6},
        "mediapipe, video": {"fps": 10, "cpu_ms": 30},
        "mediapipe, camera": {"fps": 30, "cpu_ms": 24},
    }
    rows = [["mediapipe, video", "4.00", "0.50"], ["mediapipe, camera", "1.00", "0.25"]]
    assert costs.compare(runs) == rows


def test_the_middle_of_every_figure_counts():
    rounds = [{"fps": fps, "stages": {"blur": fps / 10}} for fps in (10, 30, 20)]
    assert costs.merge(rounds) == {"fps": 20, "stages": {"blur": 2}}


def test_nothing_of_the_warm_up_counts(monkeypatch):
    now = 100.0
    monkeypatch.setattr(bench.time, "monotonic", lambda: now)
    statistics = bench.WarmStatistics(2.0)
    image = np.zeros((9, 16, 3), np.uint8)
    for _ in range(7):
        now += 0.5
        statistics.record(Result(image, captured_at=now, seconds={"blur": 0.001}))
    assert statistics.frames == 3
    assert statistics.costs() == {"blur": pytest.approx(1.0)}


def test_other_peoples_alphas_are_composited(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    alpha = np.zeros((60, 80), np.float32)
    alpha[:, 40:] = 1
    out = recipes.rvm(lambda _: alpha)(image)
    np.testing.assert_array_equal(out[:, 40:], image[:, 40:])
    assert out[:, :40].std() < image[:, :40].std() / 2


@pytest.mark.parametrize(
    "wrong",
    [["--sizes", "641x360"], ["--sizes", "big"], ["--frames", "0"], ["--peer", "missing.tflite"]],
)
def test_wrong_usage_is_refused_in_one_line(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(wrong)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]
