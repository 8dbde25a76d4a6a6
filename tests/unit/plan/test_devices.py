"""The table of devices: what it holds, how a device is asked for, and sizes of memory."""

from __future__ import annotations

import pytest

from burnish.errors import InputError
from burnish.plan.devices import GIB, Device, custom_device, find_device, load_devices, parse_memory

NAMES = (
    "T4", "V100-16GB", "V100-32GB", "RTX 3060", "RTX 3070", "RTX 3080", "RTX 3090", "RTX 4060 Ti 16GB", "RTX 4070",
    "RTX 4080", "RTX 4090", "RTX 5070", "RTX 5080", "RTX 5090", "A10G", "L4", "L40S", "A100-40GB", "A100-80GB", "H100",
    "H200", "B200", "MI300X", "M1", "M2 Pro", "M3 Max", "M4", "M4 Pro", "M4 Max",
)  # fmt: skip
GEFORCE = {  # multiprocessors and boost clock in GHz, from the makers' pages of specifications
    "RTX 3060": (28, 1.777), "RTX 3070": (46, 1.725), "RTX 3080": (68, 1.71), "RTX 3090": (82, 1.695),
    "RTX 4060 Ti 16GB": (34, 2.535), "RTX 4070": (46, 2.475), "RTX 4080": (76, 2.505), "RTX 4090": (128, 2.52),
    "RTX 5070": (48, 2.512), "RTX 5080": (84, 2.617), "RTX 5090": (170, 2.407),
}  # fmt: skip
BUS = {  # width in bits and transfers per second of each line in 10^9
    "T4": (256, 10), "RTX 3060": (192, 15), "RTX 3070": (256, 14), "RTX 3080": (320, 19), "RTX 3090": (384, 19.5),
    "RTX 4060 Ti 16GB": (128, 18), "RTX 4070": (192, 21), "RTX 4080": (256, 22.4), "RTX 4090": (384, 21),
    "RTX 5070": (192, 28), "RTX 5080": (256, 30), "RTX 5090": (512, 28), "A10G": (384, 12.5), "L4": (192, 12.5),
    "L40S": (384, 18), "M1": (128, 4.266), "M4": (128, 7.5), "M4 Pro": (256, 8.533), "M4 Max": (384, 8.533),
}  # fmt: skip


def test_the_table_holds_the_devices() -> None:
    assert tuple(device.name for device in load_devices()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole_and_plausible(name: str) -> None:
    device = find_device(name)
    assert device.name == name
    assert device.source
    assert device.kind in ("cuda", "rocm", "mps")
    assert 8 <= device.memory_bytes / GIB <= 192
    assert device.memory_bytes % GIB == 0
    assert device.bandwidth is not None
    assert 60e9 < device.bandwidth < 8e12
    assert device.is_shared == (device.kind == "mps") == (device.link is None)
    assert device.link is None or 15e9 < device.link < 1e12
    assert not device.rates or "fp32" in device.rates
    assert all(2e12 < rate < 3e15 for rate in device.rates.values())
    assert set(device.rates) <= {"fp32", "tf32", "bf16", "fp16"}
    halves = [device.rates[precision] for precision in ("bf16", "fp16") if precision in device.rates]
    assert len(set(halves)) <= 1
    assert all(half > device.rates["fp32"] for half in halves)


@pytest.mark.parametrize("name", GEFORCE)
def test_rates_follow_from_multiprocessors_and_clock(name: str) -> None:
    """128 multiply-adds a clock in fp32, and twice that in tensor cores that sum in fp32."""
    multiprocessors, gigahertz = GEFORCE[name]
    fp32 = multiprocessors * 128 * 2 * gigahertz * 1e9
    rates = find_device(name).rates
    assert rates["fp32"] == pytest.approx(fp32, rel=0.01)
    assert rates["tf32"] == rates["fp32"]
    assert rates["bf16"] == pytest.approx(2 * fp32, rel=0.01)


@pytest.mark.parametrize("name", BUS)
def test_bandwidth_follows_from_the_memory_bus(name: str) -> None:
    bits, gigabits = BUS[name]
    assert find_device(name).bandwidth == pytest.approx(bits / 8 * gigabits * 1e9, rel=0.01)


@pytest.mark.parametrize("name", ["A100-40GB", "A100-80GB", "H100", "H200", "L4", "L40S", "B200", "MI300X"])
def test_rates_of_servers_are_dense(name: str) -> None:
    """Their tensor cores take half as many tf32 products as 16-bit ones; mixed columns would not."""
    rates = find_device(name).rates
    assert rates["bf16"] / rates["tf32"] == pytest.approx(2, rel=0.03)
    assert find_device("H100").rate("bf16") < 1e15


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("rtx4070", "RTX 4070"),
        ("RTX 4070", "RTX 4070"),
        ("4070", "RTX 4070"),
        ("rtx-4070-12gb", "RTX 4070"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("4060 ti", "RTX 4060 Ti 16GB"),
        ("a100 80gb", "A100-80GB"),
        ("A100_40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("tesla t4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Apple M4 Pro", "M4 Pro"),
        ("m4", "M4"),
    ],
)
def test_names_are_read_with_good_will(asked: str, name: str) -> None:
    assert find_device(asked).name == name


@pytest.mark.parametrize(
    ("asked", "name", "gib"),
    [("M4 Pro 48GB", "M4 Pro", 48), ("m4-48gb", "M4", 48), ("M1 16 GiB", "M1", 16), ("M4 Max 128GB", "M4 Max", 128)],
)
def test_shared_memory_may_have_another_size(asked: str, name: str, gib: int) -> None:
    device = find_device(asked)
    assert (device.name, device.memory_bytes) == (name, gib * GIB)
    assert device.bandwidth == find_device(name).bandwidth


@pytest.mark.parametrize(("asked", "candidates"), [("a100", "`A100-40GB` or `A100-80GB`"), ("V100", "`V100-16GB` or")])
def test_several_devices_of_a_name_are_listed(asked: str, candidates: str) -> None:
    with pytest.raises(InputError) as result:
        find_device(asked)
    assert f"`{asked}` could be {candidates}" in result.value.what
    assert f'--on "{asked.upper()}-' in result.value.fix


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("RTX 4071", "RTX 407"), ("RTX 3080 Ti", "RTX 3080"), ("A100 64GB", "A100-40GB"), ("H100 PCIe", "H100")],
)
def test_an_unknown_device_is_refused_with_the_nearest(asked: str, meant: str) -> None:
    with pytest.raises(InputError) as result:
        find_device(asked)
    assert result.value.exit_code == 2
    assert f"`{asked}`" in result.value.what
    assert f"Did you mean `{meant}" in result.value.fix
    assert "--memory 12GB" in result.value.fix


@pytest.mark.parametrize("asked", ["", "abacus", "RTX", "48GB", "gb", "M4 Pro 0GB"])
def test_what_is_no_device_is_refused(asked: str) -> None:
    with pytest.raises(InputError) as result:
        find_device(asked)
    assert "RTX 4070, " in result.value.why
    assert "--memory 12GB" in result.value.fix


def test_rates_fall_back_to_fp32() -> None:
    old = find_device("T4")
    assert old.rate("fp16") == 65e12
    assert old.rate("bf16") == old.rate("fp32") == 8.1e12
    assert find_device("A100-80GB").rate("fp32") == 19.5e12
    assert find_device("M1").rate("bf16") == 2.6e12


@pytest.mark.parametrize(
    ("name", "precision"), [("T4", "fp16"), ("V100-16GB", "fp16"), ("L4", "bf16"), ("MI300X", "bf16"), ("M4", "fp32")]
)
def test_precision_is_what_the_device_does_well(name: str, precision: str) -> None:
    assert find_device(name).precision == precision


def test_a_device_of_which_only_the_memory_is_known() -> None:
    device = custom_device(parse_memory("12GB"))
    assert (device.name, device.memory_bytes, device.kind) == ("12 GB", 12 * GIB, "cuda")
    assert (dict(device.rates), device.bandwidth, device.link, device.precision) == ({}, None, None, "bf16")
    for silent in (device, find_device("M4 Pro")):
        with pytest.raises(InputError, match="the speed of `.*` is not known"):
            silent.rate("fp32")


def test_devices_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        find_device("T4").memory_bytes = 1
    assert Device("x", "cuda", 1).rates == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12GB", 12 * 2**30),
        ("12 GB", 12 * 2**30),
        (" 12GiB ", 12 * 2**30),
        ("512 MB", 512 * 2**20),
        ("512mib", 512 * 2**20),
        ("1.5TB", 3 * 2**39),
        (".5gb", 2**29),
        ("+8GB", 2**33),
    ],
)
def test_sizes_of_memory(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("12", "no valid unit", "Write `12GB`"),
        ("12.5", "no valid unit", "Write `12.5GB`"),
        ("12 KB", "`KB` is not one of MB, GB and TB", "Write `12GB`"),
        ("8 apples", "`apples` is not one of", "Write `8GB`"),
        ("-3GB", "greater than 0", "`12GB`"),
        ("-3", "no valid unit", "Write `3GB`"),
        ("0GB", "greater than 0", "`12GB`"),
        ("9" * 400 + "GB", "No device has that much", "`12GB`"),
        ("abc", "a number with a unit", "`12GB`"),
        ("", "a number with a unit", "`12GB`"),
        ("nanGB", "a number with a unit", "`12GB`"),
        ("1,5GB", "a number with a unit", "`12GB`"),
    ],
)
def test_what_is_no_size_of_memory_is_refused(text: str, said: str, fix: str) -> None:
    with pytest.raises(InputError) as result:
        parse_memory(text)
    assert f"`{text}`" in result.value.what
    assert said in f"{result.value.what} {result.value.why}"
    assert fix in result.value.fix
