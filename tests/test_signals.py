"""Control by signals, without a window."""

import importlib
import os
import signal
import time

import numpy as np
import pytest

from background_blur.settings import Settings
from background_blur.signals import RemoteControl
from background_blur.system import SignalGuard
from support.captures import detail
from support.display import wait_until
from support.program import read, start, written

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signals here")


def picture(size, time) -> np.ndarray:
    return np.zeros((size[1], size[0], 3), np.uint8)


@pytest.fixture
def remote():
    kept = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    remote = RemoteControl()
    remote.install()
    yield remote
    signal.signal(signal.SIGUSR1, kept[0])
    signal.signal(signal.SIGUSR2, kept[1])


def test_each_signal_does_its_own(remote):
    settings, green = Settings(), picture
    backgrounds = {"blur": None, "green": green}
    assert remote.apply(settings, backgrounds) == []
    os.kill(os.getpid(), signal.SIGUSR1)
    assert remote.apply(settings, backgrounds) == ["everything is hidden"]
    assert settings.hide and settings.background is None
    os.kill(os.getpid(), signal.SIGUSR2)
    assert remote.apply(settings, backgrounds) == ["background: green"]
    assert settings.hide and settings.background is green
    os.kill(os.getpid(), signal.SIGUSR1)
    assert remote.apply(settings, backgrounds) == ["you are shown again"]
    assert not settings.hide
    assert remote.apply(settings, {"blur": None}) == []


@pytest.mark.slow
def test_the_program_starts_hidden_and_obeys(tmp_path):
    out = tmp_path / "out.mkv"
    command = ["--source", "demo", "--size", "320x180", "--no-window", "--hidden"]
    command += ["--background", "blur", "--background", "#00b140", "--output", out]
    process = start(*command, stderr=(tmp_path / "errors").open("w"))

    def has_said(text: str) -> bool:
        return text in (tmp_path / "errors").read_text()

    try:
        wait_until(lambda: written(tmp_path) > 500, "the first frames")
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: has_said("main.py: you are shown again\n"), "to be shown")
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: has_said("main.py: background: #00b140\n"), "the background")
        now = written(tmp_path)
        wait_until(lambda: written(tmp_path) > now + 20_000, "some more frames")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    images = read(out)
    face = np.s_[30:120, 120:200]
    assert detail(images[0][face]) < 0.1 * detail(images[-1][face])
    assert np.abs(images[-1][:40, :20].astype(int) - (0x40, 0xB1, 0)).max() < 30


def test_a_signal_at_an_import_waits_until_that_is_done(tmp_path, monkeypatch):
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except BaseException:\n    raise ImportError('as libraries in C say')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    guard, kept = SignalGuard(), signal.getsignal(signal.SIGTERM)
    guard.install()
    try:
        importlib.import_module("slow_module")
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        guard.ignore_from_now_on()
        signal.signal(signal.SIGTERM, kept)
