"""What each section measures, run through the command, with a network that finds what is red."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.matting.engines import DEFAULT_WEIGHTS
from background_blur.matting.segmenter import Masks
from support.networks import write_network
from support.photos import rectangle
from tools.measuring import clips, contenders, evaluate, people, scenes
from tools.photos import read_photos

# Here people, and nothing else, are red, so a segmenter that sees red is right.


def see_red(image) -> np.ndarray:
    red = image[..., 2].astype(np.float32) - image[..., 1]
    return np.clip((red - 20) / 40, 0, 1)


class Looks:
    """A segmenter that applies one function, for all people and for those in front."""

    def __init__(self, look):
        self.look = look

    def segment(self, image, scale=1):
        return Masks(*[self.look(image)] * 2)


def write(folder: Path, name: str, truth=None, seed=0) -> None:
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.normal(120, 60, (90, 120)), (0, 0), 2)
    image = np.clip(np.dstack([grey] * 3), 0, 200).astype(np.uint8)
    if truth is not None:
        image[truth == 255] = 30, 30, 230
        cv2.imwrite(str(folder / f"{name}.png"), truth)
    cv2.imwrite(str(folder / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        write(folder, f"selfie_{i}", rectangle((90, 120), 20, 40 + i, 90, 80 + i), seed=i)
        write(folder, f"room_{i}", seed=10 + i)
    seam = rectangle((90, 120), 28, 28, 72, 72, 128)
    seam[30:70, 30:70] = 255
    write(folder, "voc_0", seam)
    write(folder, "voc_1", np.full((90, 120), 128, np.uint8))
    return folder


@pytest.fixture
def small_scenes(monkeypatch):
    monkeypatch.setattr(scenes, "SIZE", (240, 136))


@pytest.fixture
def run(monkeypatch, small_scenes, data, tmp_path):
    """Runs the command with a segmenter that sees red; returns (exit code, report)."""
    monkeypatch.setattr(evaluate, "open_segmenter", lambda *_, **__: Looks(see_red))

    def run(*args):
        out = tmp_path / "report.json"
        code = evaluate.main(["--data", str(data), "--json", str(out), *args])
        return code, json.loads(out.read_text()) if out.exists() else None

    return run


def test_photographs_are_scored_by_prefix_and_all_together(run, capsys):
    code, report = run("--sections", "stills")
    assert code == 0
    stills = report["stills"]
    assert list(stills) == ["room", "selfie", "voc", "all"]
    assert {group: by["ours"]["pictures"] for group, by in stills.items()} == {
        "room": 3, "selfie": 3, "voc": 1, "all": 7
    }  # fmt: skip
    assert stills["room"]["ours"] == {"pictures": 3, "marked": 0, "over_1_percent": 0}
    selfies, voc, everything = (stills[name]["ours"] for name in ("selfie", "voc", "all"))
    assert selfies["iou"] > 0.9 and selfies["mae"] < 0.05 and selfies["leak"] < 0.05
    assert everything["iou"] == pytest.approx((3 * selfies["iou"] + voc["iou"]) / 4)
    assert everything["marked"] == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stills" and " ".join(lines[1].split()) == "n IoU F MAE leak marked >1%"
    assert len({len(line) for line in lines[2:]}) == 1
    assert f"{selfies['iou']:.4f}" in next(line for line in lines if line.startswith("selfie"))


def test_a_segmenter_that_marks_everything_is_told_off(run, monkeypatch):
    everything = lambda image: np.ones(image.shape[:2], np.float32)  # noqa: E731
    monkeypatch.setattr(evaluate, "open_segmenter", lambda *_, **__: Looks(everything))
    stills = run("--sections", "stills")[1]["stills"]
    assert stills["room"]["ours unrefined"]["marked"] == 1
    assert stills["room"]["ours unrefined"]["over_1_percent"] == 1
    assert stills["selfie"]["ours unrefined"]["leak"] == 1
    assert stills["selfie"]["ours unrefined"]["iou"] == pytest.approx(40 * 70 / (90 * 120))


@pytest.mark.slow
def test_clips_of_a_right_segmenter_score_well(run):
    code, report = run("--sections", "clips", "--limit", "1")
    assert code == 0 and list(report) == ["clips"]
    moving = report["clips"]["moving"]["ours unrefined"]
    assert moving["lag"] == pytest.approx(0, abs=0.1)
    assert 0 < moving["dtssd"] < 15
    assert "lag" not in report["clips"]["static"]["ours"]
    assert report["clips"]["static"]["ours"]["flicker"] < 20


@pytest.mark.slow
def test_a_second_person_is_scored_by_who_stays_sharp(run):
    code, report = run("--sections", "people", "--limit", "1")
    assert code == 0
    assert list(report["people"]) == list(people.STORIES)
    for story, by in report["people"].items():
        assert list(by) == ["ours, front", "ours, main"]
        for row in by.values():
            assert row["leak"] <= row["most_leak"] and row["lost"] < 0.1
            assert ("touching" in row) == (story in people.RATIOS)
    alone = report["people"]["walks in"]["ours, main"]
    front, main = (report["people"]["beside"][f"ours, {who}"] for who in ("front", "main"))
    assert alone["most_leak"] < 0.01 and main["most_apart"] < 0.1
    assert front["apart"] > 0.8 and front["leak"] > main["leak"] > 0.01


def test_the_colours_along_an_outline_are_compared_with_the_true_ones(run, data):
    truth = cv2.GaussianBlur(rectangle((90, 120), 20, 40, 90, 80), (0, 0), 1.5)
    write(data, "matte_0", np.where(truth > 127, 255, 0).astype(np.uint8))
    cv2.imwrite(str(data / "matte_0.png"), truth)
    report = run("--sections", "colours")[1]["colours"]
    for kind in ("cut-outs", "mattes"):
        assert report[kind]["true, true"]["error"] == 0
        assert report[kind]["true, ours"]["error"] < 0.7 * report[kind]["true, raw"]["error"]
        assert report[kind]["true, ours"]["bleed"] < report[kind]["true, raw"]["bleed"]
        assert report[kind]["ours, true"]["error"] > 0


def test_talkers_are_keyed_and_measured(run, tmp_path):
    folder = tmp_path / "keyed"
    folder.mkdir()
    video = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (180, 144))
    frame = np.full((144, 180, 3), (190, 150, 20), np.uint8)
    cv2.ellipse(frame, (90, 110), (50, 70), 0, 0, 360, (40, 40, 220), -1)
    for _ in range(4):
        video.write(frame)
    video.release()
    code, report = run("--sections", "talkers", "--keyed", str(folder))
    assert code == 0
    talkers = report["talkers"]["talkers"]["ours"]
    assert talkers["mad"] < 60 and talkers["worst_leak"] < 0.05
    assert {"mse", "grad", "rim", "dtssd", "flicker"} <= talkers.keys()


@pytest.mark.parametrize("late", [0, 1])
def test_an_alpha_that_comes_late_has_its_lag_measured(data, small_scenes, late):
    photos, rooms = scenes.people_and_rooms(read_photos(data))
    clip = list(scenes.moving_clip(photos[0], rooms[0], seed=5))
    truths = [clip[0].truth] * late + [frame.truth for frame in clip]
    coming = iter(truths)
    figures = clips.score_clip(lambda image: next(coming), clip)
    assert figures["lag"] == pytest.approx(late, abs=0.1)
    if late:
        assert figures["mad"] > 0 and figures["dtssd"] > 0
    else:
        assert figures["mad"] == figures["dtssd"] == 0
        assert figures["flicker"] < 1e-6


def one_line(capsys) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("tools.measuring.evaluate: ")
    return line


def test_mistakes_end_in_one_line(run, data, tmp_path, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert evaluate.main(["--data", str(tmp_path / "empty")]) == 1
    assert "no photographs" in one_line(capsys)
    for path in data.glob("room_*"):
        path.unlink()
    assert run("--sections", "clips") == (1, None)
    assert "room_" in one_line(capsys)
    assert run("--model", str(tmp_path / "none.tflite")) == (1, None)
    assert "none.tflite" in one_line(capsys)
    assert run("--model", str(DEFAULT_WEIGHTS["litert"])) == (1, None)
    assert "not a picture and a mask" in one_line(capsys)
    monkeypatch.undo()
    assert evaluate.main(["--data", str(data), "--weights", str(tmp_path / "no.tflite")]) == 1
    assert "no.tflite" in one_line(capsys)


@pytest.mark.parametrize(
    "args", [["--sections", "stills,nonsense"], ["--limit", "0"], ["--clips", "nowhere"],
             ["--model", "a/x.tflite", "b/x.tflite"], []]
)  # fmt: skip
def test_wrong_usage_exits_with_2(args):
    data = ["--data", "somewhere"] if args else []
    with pytest.raises(SystemExit) as stop:
        evaluate.main([*data, *args])
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_peer_is_given_rgb_from_0_to_1_and_its_mask_is_enlarged(tmp_path):
    write_network(tmp_path / "red.tflite", lambda image: {"mask": image[..., :1]}, (1, 24, 32, 3))
    picture = rectangle((96, 128, 3), 0, 64, 96, 128, value=(10, 20, 255))  # BGR
    alpha = contenders.peer(tmp_path / "red.tflite")()(picture)
    assert alpha.shape == (96, 128) and alpha.dtype == np.float32
    np.testing.assert_allclose(alpha[:, :56], 0, atol=1e-6)
    np.testing.assert_allclose(alpha[:, 72:], 1, atol=1e-6)
