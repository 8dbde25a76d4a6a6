"""Which device, and which number format."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from burnish.errors import MachineError
from burnish.models.device import (
    arithmetic,
    choose_device,
    choose_precision,
    compute_repeatably,
    renew_threads,
    seed_torch,
)
from tests.forked import Forked
from tests.snapshots import check_message


def test_the_device_asked_for_or_an_error() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name, is_there in present.items():
        if is_there:
            assert choose_device(name).type == name
        else:
            with pytest.raises(MachineError, match=f"there is no `{name}` device") as caught:
                choose_device(name)
            assert caught.value.exit_code == 3
            assert "`cpu`" in caught.value.why
    expected = next((name for name, is_there in present.items() if is_there), "cpu")
    assert choose_device("auto").type == expected


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with two GPUs, as torch describes it; the list fills with what is made the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch, "__version__", "2.0")
    return current


def test_one_of_several_gpus(two_gpus: list[torch.device]) -> None:
    """It is also what libraries use that ask for no device in particular."""
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert two_gpus == [torch.device("cuda", 1)]
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda")
    assert len(two_gpus) == 1


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(MachineError) as caught:
        choose_device("cuda:2")
    assert caught.value.exit_code == 3
    check_message(caught.value)


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_the_precision_asked_for(wanted: str) -> None:
    assert choose_precision(wanted, torch.device("cpu"))[0] == wanted


def test_fp16_does_not_train_on_the_cpu() -> None:
    with pytest.raises(MachineError) as caught:
        choose_precision("fp16", torch.device("cpu"))
    check_message(caught.value)


def test_auto_takes_what_the_device_does_well() -> None:
    precision, reason = choose_precision("auto", torch.device("cpu"))
    assert precision in ("fp32", "bf16")
    assert reason
    assert choose_precision("auto", torch.device("mps"))[0] == "fp32"


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_in_the_precision_and_sums_are_not(precision: str, expected: torch.dtype) -> None:
    matrix = torch.ones(4, 4)
    with arithmetic(torch.device("cpu"), precision):
        assert (matrix @ matrix).dtype == expected
        assert torch.nn.functional.layer_norm(matrix, (4,)).dtype in (torch.float32, expected)
    assert (matrix @ matrix).dtype == torch.float32


def test_a_gpu_adds_in_a_fixed_order_and_a_cpu_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    compute_repeatably(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    try:
        compute_repeatably(torch.device("cuda", 1))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")


def test_a_seed_is_torchs_and_reaches_every_accelerator_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    seed_torch(11)
    assert torch.equal(torch.rand(3), expected)
    given: list[tuple[str, int]] = []
    for name, module, take in (
        ("cuda", torch.cuda, "manual_seed_all"),
        ("xpu", torch.xpu, "manual_seed_all"),
        ("mps", torch.mps, "manual_seed"),
    ):
        monkeypatch.setattr(torch.backends.mps if name == "mps" else module, "is_available", lambda: True)
        monkeypatch.setattr(module, take, lambda seed, name=name: given.append((name, seed)))
    seed_torch(5)
    assert given == [("cuda", 5), ("xpu", 5), ("mps", 5)]


@pytest.mark.skipif(os.name == "nt", reason="nothing is forked there")
def test_many_threads_of_a_forked_process_compute() -> None:
    """Without new threads, some of them fail in one of four such processes."""
    numbers = torch.ones(400_000)
    torch.set_num_threads(torch.get_num_threads())  # from now on, this process has a pool

    def compute() -> int:
        renew_threads()
        barrier = threading.Barrier(8)

        def add(_: int) -> float:
            barrier.wait()
            return float(numbers.sum())

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(add, range(8))) == {400_000.0}
        return 0

    for _ in range(40):
        child = Forked(compute)
        assert child.wait() == 0, child.communicate()
        child.close()
