"""How exact a model's fast arithmetic is in bf16, beside its own, and which faults the probe would see.

    python bench/probe_errors.py FOLDER

FOLDER is a decoder with the layers of Llama. Errors are shares of the output's size, against the same weights in fp32:
for texts in padded rows, and for the same texts packed into one row.
"""

from __future__ import annotations

import argparse
import copy

import torch
import transformers

from burnish.models.fast_paths import install_fast_paths
from burnish.models.probe import Probe
from tests.unit.models.faults import FAULTS


def main() -> None:
    """Prints a line for the fast arithmetic and one for each fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    options = parser.parse_args()
    plain = transformers.AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.bfloat16).eval()
    probe, fast = Probe(plain), copy.deepcopy(plain)
    notes = install_fast_paths(fast)
    (padded, packed) = probe.errors(fast)
    print("| arithmetic | padded | packed | seen as a fault |\n|---|---|---|---|")
    print(f"| the model's own | {padded[0]:.2%} | {packed[0]:.2%} | |")
    print(f"| fast | {padded[1]:.2%} | {packed[1]:.2%} | {'; '.join(notes) or 'no'} |")
    for name, change in FAULTS.items():
        faulty = copy.deepcopy(plain)
        change(faulty)
        (padded, packed) = probe.errors(faulty)
        print(f"| {name} | {padded[1]:.2%} | {packed[1]:.2%} | {'no' if probe.fault(faulty) is None else 'yes'} |")


if __name__ == "__main__":
    main()
