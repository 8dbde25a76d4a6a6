"""What tests share: offline, one thread, and tiny models that are built once a session."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import copy
import gc
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

_IN_MEMORY, _NEEDED_BYTES = Path("/dev/shm"), 2 * 10**9
if os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _NEEDED_BYTES:
    # every run and checkpoint is flushed to the disk before it counts, and tests would wait for that ten thousand times
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts what runs in its background without Ctrl-C, and the commands that tests interrupt would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the commands that they start, never touch the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BURNISH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def _trained_tokenizer() -> Any:
    from tests.tiny_models import make_tokenizer

    return make_tokenizer()


@pytest.fixture
def tiny_tokenizer(_trained_tokenizer: Any) -> Any:
    """Byte-level BPE with ChatML's tokens and no chat template, trained here; each test may change its own."""
    return copy.deepcopy(_trained_tokenizer)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, _trained_tokenizer: Any) -> Callable[[str], Path]:
    """Gives the folder of a tiny random model of a layout, saved on first use. Shared: nothing writes into it."""
    from tests.tiny_models import make_network, save_model

    root = tmp_path_factory.mktemp("models")

    def folder(layout: str) -> Path:
        path = root / layout
        if not path.exists():
            save_model(path, make_network(layout, len(_trained_tokenizer)), _trained_tokenizer)
        return path

    return folder


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each of several workers begins with its share of the commands and runs, and ends with short tests.

    `--dist worksteal` gives each one a stretch of the list of equal length. The other way round, all wait at the end
    for a test of ten seconds and for the one behind it, which cannot be taken from the worker that has both.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    here = Path(__file__).parent
    take_long = [item.path.relative_to(here).parts[0] in ("e2e", "numeric") for item in items]
    parts = [
        [item for item, is_long in zip(items, take_long, strict=True) if is_long is kind] for kind in (True, False)
    ]
    items[:] = [
        item
        for worker in range(workers)
        for part in parts
        for item in part[len(part) * worker // workers : len(part) * (worker + 1) // workers]
    ]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without garbage collection: modules and tests stay, and searching them takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Exempts what is loaded by now from garbage collection: with it, each command that collects takes 0.3 s longer.

    The rest is searched as rarely as in a command; with Python's own threshold, that is a tenth of the tests' time.
    """
    from burnish.system.machine import collect_rarely

    _exempt_what_is_loaded()
    collect_rarely()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Exempts the libraries that a test was the first to load, too: a run collects five times."""
    done = yield
    if len(sys.modules) > _loaded[-1] + _MANY_MODULES:
        _exempt_what_is_loaded()
    return done


def _exempt_what_is_loaded() -> None:
    gc.collect()
    gc.freeze()
    _loaded.append(len(sys.modules))


_loaded: list[int] = []
"""Number of modules at each exemption from garbage collection."""
_MANY_MODULES = 20
