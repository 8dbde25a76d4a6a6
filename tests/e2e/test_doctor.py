"""`burnish doctor`: what it says of this machine, of others, and of installations that are broken."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.system.inventory import (
    Accelerator,
    Inventory,
    Package,
    Torch,
    applies_here,
    compare,
    parse_need,
    precision_of,
)
from burnish.system.machine import Machine
from burnish.workflows.doctor import Diagnosis, diagnose
from tests.e2e.command_result import CommandResult
from tests.e2e.conftest import Burnish

GIB = 2**30
HEAVY = ("torch", "transformers", "tokenizers", "peft", "accelerate", "datasets", "safetensors", "bitsandbytes")
GPU = Accelerator("RTX 3090", "cuda", 24 * GIB, "8.6", "bf16")
SOUND = Inventory(
    machine=Machine(8, 16 * GIB, "Some CPU", (), "Linux", "3.12.1"),
    free_memory_bytes=10 * GIB,
    packages=(
        Package("torch", ">=2.11", "2.13.0"),
        Package("peft", ">=0.20,<0.22", "0.21.0"),
        Package("bitsandbytes", ">=0.49,<0.51", "0.50.0", "weights in 4 bits"),
    ),
    torch=Torch((GPU,)),
    runs="runs",
    free_disk_bytes=50 * GIB,
    is_writable=True,
    cache="cache",
    cached_models=("openai-community/gpt2",),
    is_offline=False,
)
"""A machine that lacks nothing."""


def diagnose_with(**changes: Any) -> Diagnosis:
    return diagnose(dataclasses.replace(SOUND, **changes))


def with_package(name: str, version: str | None) -> tuple[Package, ...]:
    """The packages of the sound machine, one of them changed."""
    return tuple(dataclasses.replace(p, version=version) if p.name == name else p for p in SOUND.packages)


def doctor(words: str, here: Path, **environment: str) -> CommandResult:
    """The command in a process of its own, where what it imports can be broken for real."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [environment.pop("PYTHONPATH", ""), root]))
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "doctor", *words.split()],
        cwd=here,
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def test_it_reports_what_is_here(here: Path, burnish: Burnish) -> None:
    result = burnish("doctor --verbose")
    assert (result.code, result.err) == (0, "")
    for label in ("cores", "memory", "processor", "python", "accelerator", "disk", "hub"):
        assert f"\n{label} " in f"\n{result.out}"
    for name in HEAVY:
        assert f"\n{name} " in result.out
    assert f" {torch.__version__} " in result.out
    assert result.out.rstrip().splitlines()[-1].startswith("This machine trains on ")
    assert list(here.iterdir()) == []


def test_json_and_quiet(burnish: Burnish) -> None:
    result = burnish("doctor --json")
    assert result.json["can_train"] is True
    assert result.json["machine"]["cores"] >= 1
    assert 0 < result.json["free_memory_bytes"] <= result.json["machine"]["memory_bytes"]
    packages = {package["name"]: package for package in result.json["packages"]}
    assert set(HEAVY) <= set(packages)
    assert packages["torch"]["version"] == torch.__version__
    assert packages["peft"]["wanted"].startswith(">=")
    assert not {"pytest", "trl"} & set(packages)
    optional = {name for name, package in packages.items() if not package["is_required"]}
    assert optional == {"bitsandbytes", "datasets", "pillow", "sentencepiece"}
    assert {package["state"] for package in packages.values() if package["is_required"]} <= {"ok", "too new"}
    assert len(result.json["torch"]["accelerators"]) >= torch.cuda.device_count()
    assert burnish("doctor --quiet").out.startswith("This machine trains on ")


def test_a_torch_that_does_not_start_is_reported(here: Path) -> None:
    (here / "broken" / "torch").mkdir(parents=True)
    (here / "broken" / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.99: not found')\n")
    result = doctor("", here, PYTHONPATH=str(here / "broken"))
    assert result.code == 3, result.err
    assert "1. torch is installed but does not start: ImportError: libcudart.so.99: not found (required)" in result.out
    assert "pip install --force-reinstall torch" in result.out
    assert result.out.endswith("Burnish cannot train here until the first point is fixed.\n")
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_offline_mode_and_the_cache(here: Path) -> None:
    for folder in ("models--openai-community--gpt2", "models--half--fetched", "datasets--some--rows"):
        (here / "hub" / folder / "snapshots" / "abc").mkdir(parents=True)
    (here / "hub/models--openai-community--gpt2/snapshots/abc/config.json").write_text("{}")
    result = doctor("--json", here, HF_HUB_CACHE=str(here / "hub"), HF_HUB_OFFLINE="1")
    assert result.code == 0, result.err
    assert result.json["cached_models"] == ["openai-community/gpt2"]
    assert result.json["is_offline"]
    assert "offline mode is set, and 1 hub model is cached" in [lack["what"] for lack in result.json["lacks"]]
    result = doctor("--json", here, HF_HUB_CACHE=str(here / "none"), HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    assert (result.json["cached_models"], result.json["is_offline"]) == ([], False)
    assert [lack for lack in result.json["lacks"] if "offline" in lack["what"]] == []


@pytest.mark.parametrize(
    ("cached", "what"), [((), "no hub models are cached"), (("a/b", "c/d"), "2 hub models are cached")]
)
def test_what_offline_mode_leaves(cached: tuple[str, ...], what: str) -> None:
    (lack,) = diagnose_with(is_offline=True, cached_models=cached).lacks
    assert lack.what == f"offline mode is set, and {what}"
    assert "HF_HUB_OFFLINE" in lack.fix


def test_a_folder_that_is_a_file_cannot_hold_runs(here: Path, burnish: Burnish) -> None:
    (here / "file").write_text("")
    (here / "file").chmod(0o755)
    result = burnish("doctor --runs file/runs")
    assert result.code == 3
    assert "1. run folders cannot be written to `file/runs` (required)" in result.out
    assert "--runs FOLDER" in result.out


def test_a_sound_machine_lacks_nothing() -> None:
    found = diagnose(SOUND)
    assert found.lacks == ()
    assert found.can_train
    assert found.verdict == (
        "This machine trains on RTX 3090 in bf16; its memory holds models of about "
        "1.1 B with `full`, 7.5 B with `lora`, 29 B with `qlora`."
    )


@pytest.mark.parametrize(
    ("package", "version", "what", "is_fatal"),
    [
        ("torch", None, "torch is missing", True),
        ("torch", "2.10.9", "torch 2.10.9 is too old; Burnish supports >=2.11", True),
        ("peft", "0.22.0", "peft 0.22.0 is too new; Burnish supports >=0.20,<0.22", False),
        ("bitsandbytes", None, "bitsandbytes is missing, for weights in 4 bits", False),
        (
            "bitsandbytes",
            "0.40",
            "bitsandbytes 0.40 is too old, for weights in 4 bits; Burnish supports >=0.49,<0.51",
            False,
        ),
    ],
)
def test_packages(package: str, version: str | None, what: str, is_fatal: bool) -> None:
    found = diagnose_with(packages=with_package(package, version))
    (lack,) = found.lacks
    assert (lack.what, lack.is_fatal) == (what, is_fatal)
    wanted = next(part.wanted for part in SOUND.packages if part.name == package)
    assert lack.fix == f'Run `pip install "{package}{wanted}"`.'
    assert found.can_train != is_fatal
    assert ("cannot train" in found.verdict) == is_fatal
    assert ("`qlora`" in found.verdict) == (not is_fatal and package != "bitsandbytes")


def test_what_is_fatal_comes_first() -> None:
    found = diagnose_with(
        is_offline=True, is_writable=False, free_disk_bytes=GIB // 2, torch=Torch(error="ImportError")
    )
    assert [lack.is_fatal for lack in found.lacks] == [True, True, False, False]
    assert found.verdict == "Burnish cannot train here until the first 2 points are fixed."
    assert all(lack.fix.endswith(".") for lack in found.lacks)


def test_a_missing_torch_is_reported_once() -> None:
    found = diagnose_with(packages=with_package("torch", None), torch=Torch(error="ModuleNotFoundError: torch"))
    assert [lack.what for lack in found.lacks] == ["torch is missing"]


def test_a_machine_without_gpu() -> None:
    found = diagnose_with(torch=Torch())
    assert [lack.what for lack in found.lacks] == ["there is no GPU"]
    assert found.can_train
    assert found.verdict == (
        "This machine trains on the CPU in fp32; its memory holds models of about "
        "470 M with `full`, 1.6 B with `lora`, 12 B with `qlora`; on a CPU, time is the limit rather than memory."
    )
    modern = dataclasses.replace(SOUND.machine, processor_features=("amx_bf16",))
    assert "on the CPU in bf16; " in diagnose_with(torch=Torch(), machine=modern).verdict
    unknown = dataclasses.replace(SOUND.machine, memory_bytes=None)
    assert "cannot be read" in diagnose_with(torch=Torch(), machine=unknown, free_memory_bytes=None).verdict


def test_a_gpu_that_torch_does_not_use() -> None:
    (lack,) = diagnose_with(torch=Torch(has_idle_gpu=True)).lacks
    assert "NVIDIA driver" in lack.what
    assert "build of torch for CUDA" in lack.fix


def test_the_largest_of_several_devices_counts() -> None:
    small = Accelerator("T4", "cuda", 16 * GIB, "7.5", "fp16")
    assert "on RTX 3090, the largest of 2 devices, in bf16" in diagnose_with(torch=Torch((small, GPU))).verdict


@pytest.mark.parametrize(("free", "is_reported"), [(GIB - 1, True), (GIB, False), (None, False)])
def test_little_memory_and_disk(free: int | None, is_reported: bool) -> None:
    assert bool(diagnose_with(free_memory_bytes=free).lacks) == is_reported
    assert bool(diagnose_with(free_disk_bytes=free).lacks) == is_reported


@pytest.mark.parametrize(
    ("kind", "major", "precision"),
    [("cuda", 6, "fp32"), ("cuda", 7, "fp16"), ("cuda", 8, "bf16"), ("cuda", 12, "bf16"), ("rocm", 9, "bf16")],
)
def test_what_a_gpu_does_well(kind: str, major: int, precision: str) -> None:
    assert precision_of(kind, major) == precision


@pytest.mark.parametrize(
    ("version", "wanted", "state"),
    [
        ("2.13.0+cpu", ">=2.11", "ok"),
        ("2.11", ">=2.11.0", "ok"),
        ("2.9.1", ">=2.11", "too old"),
        ("5.99", ">=5.20,<6", "ok"),
        ("6.0.0", ">=5.20,<6", "too new"),
        ("6.1", "<=6.1", "ok"),
        ("6.2", "<=6.1", "too new"),
        ("1.0", ">1.0", "too old"),
        ("1.5.2", "~=1.4", "ok"),
        ("2.0", "~=1.4", "too new"),
        ("1.4.9", "~=1.4.2", "ok"),
        ("1.5", "~=1.4.2", "too new"),
        ("1.3", "~=1.4", "too old"),
        ("1.4", "==1.5", "too old"),
        ("7", "", "ok"),
        ("2.13.0a0+git1234", ">=2.13", "ok"),
        ("1.5.2", "==1.5.*", "ok"),
        ("1.6", "==1.5.*", "too new"),
        ("1.4.9", "==1.5.*", "too old"),
        ("1.5", ">=1.4,!=1.5", "not supported"),
        ("built by hand", ">=1", "too old"),
    ],
)
def test_versions_are_compared(version: str, wanted: str, state: str) -> None:
    assert compare(version, wanted) == state


@pytest.mark.parametrize(
    ("need", "parsed"),
    [
        ("torch>=2.11", ("torch", ">=2.11")),
        ("peft<0.22,>=0.20", ("peft", ">=0.20,<0.22")),
        ("Jinja2 (>=3.1.6)", ("jinja2", ">=3.1.6")),
        ("uvicorn[standard]>=0.3; python_version > '3.9'", ("uvicorn", ">=0.3")),
        ("rich", ("rich", "")),
    ],
)
def test_requirements_are_read(need: str, parsed: tuple[str, str]) -> None:
    assert parse_need(need) == parsed


def test_only_requirements_for_this_machine_count() -> None:
    assert applies_here("torch>=2.11")
    assert applies_here('numpy>=2; python_version >= "3.10"')
    assert not applies_here('numpy>=1; python_version < "3.0"')
    assert not applies_here('trl>=1.14; extra == "dev"')
