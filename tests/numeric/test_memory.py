"""The memory of a step, simulated on tensors without numbers, is that of the same step with real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.plan.live_storage import CATEGORIES
from burnish.plan.simulate import Simulation
from tests.tiny_steps import TinyStep, save_tiny

MODELS = ("gpt2", "llama", "bert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models."""
    return {name: save_tiny(name, tmp_path_factory.mktemp(name), layers=2) for name in MODELS}


def assert_alike(simulated: Simulation, measured: Simulation) -> None:
    """To the byte, in all and in each part, and in what is counted besides."""
    assert simulated.peak.parts == measured.peak.parts
    assert simulated.peak.total == measured.peak.total == sum(simulated.peak.parts[part] for part in CATEGORIES)
    assert (simulated.weights, simulated.trained) == (measured.weights, measured.trained)
    assert simulated.work.flops == measured.work.flops
    assert traffic(simulated) == pytest.approx(traffic(measured), rel=1e-3), "but for scalars, counted one by one"


def traffic(simulation: Simulation) -> int:
    """Bytes read and written."""
    return sum(one.traffic * times for one, times in simulation.work.operations.items())


@pytest.mark.parametrize(
    ("model", "method", "checkpointing"),
    [
        pytest.param(model, method, checkpointing, marks=() if (first + second + third) % 4 == 1 else pytest.mark.slow)
        for first, model in enumerate(MODELS)
        for second, method in enumerate(["full", "lora", "qlora", "prompt"])
        for third, checkpointing in enumerate([False, True])
    ],
)
def test_the_simulated_peak_is_the_measured_one(
    model: str, method: str, checkpointing: bool, folders: dict[str, Path]
) -> None:
    simulated, measured = TinyStep(model, method, checkpointing).both(folders[model])
    assert_alike(simulated, measured)
    assert measured.trained > 0
    assert measured.peak.total > measured.weights


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("freeze", {}),
        ("int8-lora", {}),
        ("prefix", {}),
        ("p-tuning", {}),
        ("lora", {"lora": {"dora": True, "dropout": 0.1, "rslora": True}}),
    ],
)
def test_other_methods(method: str, options: dict[str, Any], folders: dict[str, Path]) -> None:
    assert_alike(*TinyStep("llama", method, options=options).both(folders["llama"]))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_mixture_of_experts(method: str, precision: str, tmp_path: Path) -> None:
    """Each token goes to its experts, whichever these are, so shapes do not depend on numbers."""
    folder = save_tiny("mixtral", tmp_path / "mixtral", layers=2)
    assert_alike(*TinyStep("mixtral", method, precision=precision).both(folder))


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_in_bf16(method: str, folders: dict[str, Path]) -> None:
    assert_alike(*TinyStep("gpt2", method, precision="bf16").both(folders["gpt2"]))
