"""What all tests share: the repository on the path, and pictures made at test time."""

import signal
from collections.abc import Iterator
from importlib.util import find_spec

import hypothesis
import numpy as np
import pytest
from _pytest.runner import runtestprotocol

hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")

pytest_plugins = [
    "support.display",
    "support.pipewire",
    "support.browsers",
    "support.virtual_camera",
]


@pytest.fixture(autouse=True, scope="session")
def no_defaults(tmp_path_factory):
    """Keeps the options that the user of this machine has set out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


TIME_LIMIT = 300  # seconds per test, on a busy machine


@pytest.fixture(autouse=True)
def time_limit(request) -> Iterator[None]:
    """Fails a test that hangs, where signals can; the endurance tests take as long as they like."""
    if not hasattr(signal, "SIGALRM") or "soak.py" in request.node.nodeid:
        yield
        return

    def fail(*_) -> None:
        pytest.fail(f"not done within {TIME_LIMIT} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem) -> bool | None:
    """Repeats tests marked `stalls` where PipeWire served no frame, and for no other failure."""
    if "stalls" not in item.keywords:
        return None
    for attempt in (1, 2, 3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        stalled = any(report.failed and "Stalled" in str(report.longrepr) for report in reports)
        if attempt == 3 or not stalled:
            break
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True


SLOW_FIXTURES = {"desktop", "display", "pipewire"}  # real windows and cameras


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps real windows and cameras, and what is broken on purpose, out of the fast tier."""
    for item in items:
        if (
            SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
            or "robustness" in item.path.parts
        ):
            item.add_marker("slow")


NEED_KERAS = ["tools", "test_model.py", "test_golden.py"]
collect_ignore = [] if find_spec("keras") else NEED_KERAS


def pytest_report_header() -> str:
    return f"Keras is not installed: left out: {', '.join(NEED_KERAS)}" if collect_ignore else ""


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """NASA's portrait of Eileen Collins, in the public domain: uint8 [512,512,3] BGR."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[..., ::-1])
