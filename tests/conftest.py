"""What all tests share: the same random numbers in every run, and pictures made at test time."""

import random
import signal
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

pytest_plugins = [
    "support.display",
    "support.pipewire",
    "support.browsers",
    "support.virtual_camera",
]


@pytest.fixture(autouse=True, scope="session")
def no_defaults(tmp_path_factory):
    """Keeps the saved options and the display of this machine's user out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("DISPLAY", raising=False)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        yield


def pytest_configure() -> None:
    """Lets programs started by tests react to signals that pytest was told to ignore.

    It is under nohup, or in the background of a script. Children inherit that, but no handler.
    """
    for name in ("SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def pytest_fixture_setup() -> None:
    """Makes a fixture's networks independent of what ran before: Keras draws from `random`."""
    random.seed(0)


def pytest_runtest_call() -> None:
    """Does the same for networks that a test makes itself."""
    random.seed(0)


SLOW_FIXTURES = {"desktop", "display", "pipewire"}  # real windows and cameras


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps real windows and cameras, and tests that break things, out of the fast tier."""
    for item in items:
        if (
            SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
            or "robustness" in item.path.parts
        ):
            item.add_marker("slow")


NEED_KERAS = ["tools/training", "test_model.py"]
collect_ignore = [] if find_spec("keras") else NEED_KERAS


def pytest_report_header() -> str | None:
    return f"skipped: {', '.join(collect_ignore)} (no Keras here)" if collect_ignore else None


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """NASA's portrait of Eileen Collins, in the public domain: uint8 [512,512,3] BGR."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[..., ::-1])


@pytest.fixture
def picture() -> np.ndarray:
    """uint8 [240,320,3], fine noise everywhere, so that any part left unblurred shows."""
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """One second of the demo as a file, 320x180, 25 frames per second."""
    from support.videos import record_demo

    return record_demo(tmp_path_factory.mktemp("clip") / "clip.mp4", 25, (320, 180))
