"""The machine: what is read, and from what."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from platformdirs import windows
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from burnish.system.machine import (
    cache_folder,
    expanded,
    keep_few_products,
    parse_cpuinfo,
    return_freed_memory,
    this_machine,
    yield_cores,
)


def test_this_machine_is_plausible() -> None:
    machine = this_machine()
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_bytes is None or machine.memory_bytes > 2**27
    assert machine.python.startswith("3.")
    assert machine.has_fast_bf16 == bool(machine.processor_features)


def test_cpuinfo_names_processor_and_features() -> None:
    first = "processor\t: 0\nmodel name\t: Xeon Gold\nflags\t\t: fpu avx512_bf16 amx_bf16\n"
    text = f"{first}\nprocessor\t: 1\nflags\t: fpu\n"
    assert parse_cpuinfo(text) == ("Xeon Gold", ("amx_bf16", "avx512_bf16"))
    assert parse_cpuinfo("") == ("unknown", ())
    assert parse_cpuinfo("model name : Old\nflags : fpu avx512_bf16_not\n") == ("Old", ())


@pytest.mark.parametrize(
    ("system", "given", "expected"),
    [
        (Unix, {}, "/home/me/.cache/burnish"),
        (Unix, {"XDG_CACHE_HOME": "/fast"}, "/fast/burnish"),
        (Unix, {"XDG_CACHE_HOME": "not/absolute"}, "/home/me/.cache/burnish"),
        (Unix, {"LOCALAPPDATA": "/elsewhere"}, "/home/me/.cache/burnish"),
        (MacOS, {}, "/home/me/Library/Caches/burnish"),
        (Windows, {}, "C:/local/burnish"),
        (Unix, {"XDG_CACHE_HOME": "/fast", "BURNISH_CACHE": "/mine"}, "/mine"),
        (MacOS, {"BURNISH_CACHE": "~/mine"}, "/home/me/mine"),
    ],
)
def test_the_cache_is_where_the_system_keeps_such_things(
    system: type, given: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BURNISH_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **given}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)
    monkeypatch.setattr(windows, "get_win_folder", lambda name: "C:/local")  # Windows itself is asked, not a variable
    assert cache_folder() == Path(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_give_way_unless_the_user_says_otherwise(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    yield_cores()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)


PRODUCTS = """
import sys
from pathlib import Path
from burnish.system.machine import keep_few_products
if sys.argv[1] == "few":
    keep_few_products()
import torch
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
weight = torch.ones(64, 64, dtype=torch.bfloat16)
def multiply(begin, end):
    for rows in range(begin, end):
        torch.nn.functional.linear(torch.ones(rows, 64, dtype=torch.bfloat16), weight)
multiply(1, 100)
before = resident()
multiply(100, 500)
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(not this_machine().has_fast_bf16, reason="this processor has no compiled products of 690 KiB")
@pytest.mark.slow
def test_compiled_products_are_bounded() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_CACHE_CAPACITY")}

    def grown(which: str) -> int:
        """KiB."""
        command = [sys.executable, "-c", PRODUCTS, which]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(result.stdout)

    assert grown("few") < grown("all") / 3


def test_a_limit_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    keep_few_products()
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "96"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)


GROW = """
import ctypes, sys
from burnish.system.machine import return_freed_memory
freed = return_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(16 << 20))  # by itself, glibc keeps smaller ones on its heap from here on
taken = [libc.malloc(2 << 20) for _ in range(32)]
for place in taken:
    ctypes.memset(place, 1, 2 << 20)
for place in taken[:-1]:
    libc.free(place)
pages = int(open("/proc/self/statm").read().split()[1])
print(freed, pages * 4096 >> 20)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, False)],
)
def test_freed_memory_is_returned_unless_the_user_chose(given: dict[str, str], expected: bool) -> None:
    """62 of 64 MiB are freed; the last piece keeps them on the heap."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    result = subprocess.run(
        [sys.executable, "-c", GROW], env={**clean, **given}, capture_output=True, text=True, check=True
    )
    took_effect, resident = result.stdout.split()
    has_glibc = platform.libc_ver()[0] == "glibc"
    assert took_effect == str(expected and has_glibc)
    if has_glibc:
        assert (int(resident) < 50) == expected


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not return_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_small_pieces_left_is_returned() -> None:
    """Here 64 MiB in pieces of 64 KiB, of which the last one keeps the others on the heap."""
    program = GROW.replace("freed = return_freed_memory()", "freed = True").replace("2 << 20", "1 << 16")
    program = program.replace("range(32)", "range(1024)").replace("pages =", "trim_heap()\npages =")
    program = program.replace("import return_freed_memory", "import trim_heap")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    kept, trimmed = (
        int(
            subprocess.run(
                [sys.executable, "-c", text], env=clean, capture_output=True, text=True, check=True
            ).stdout.split()[1]
        )
        for text in (program.replace("trim_heap()\n", ""), program)
    )
    assert kept > 60
    assert trimmed < 50


def test_a_home_folder_of_no_user_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expanded("~nobody-of-this-name/x.png") == Path("~nobody-of-this-name/x.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expanded("~/x.png") == tmp_path / "x.png"
