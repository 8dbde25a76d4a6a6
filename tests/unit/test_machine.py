"""The machine: what is read, and from what."""

from __future__ import annotations

import os

import pytest

from burnish.machine import parse_cpuinfo, share_cores, this_machine


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
    ("given", "expected"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_give_way_unless_told_otherwise(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
