"""lm-evaluation-harness over HTTP beside its own `hf` model: `burnish serve` gives the figures that transformers gives.

    python bench/serve_lm_eval.py MODEL LM_EVAL [--rows 12] [--run RUN --precision fp32]

MODEL is a folder of a base model with a chat template; LM_EVAL is the `lm_eval` command of an environment that has
`lm-eval[api,hf]`. Two small tasks are made on the spot: continuations that are chosen by their likelihood
(`local-completions`, with `echo` and `logprobs`), and short answers to chats (`local-chat-completions`). Each is run
on a server process and by `hf`, in the same precision; prints both and ends with 1 if a figure differs, or in fp32 an
answer: in bf16 rounding decides between tokens that are as likely. A LoRA run of MODEL, trained in the precision that
is named, is served in its place with `--run`. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serve_load import served

TOLERANCES = {"fp32": 1e-3, "bf16": 0.25}
"""Of a log-likelihood, in nats."""
WORDS = ("cat", "river", "house", "doctor", "bread", "winter", "music", "garden", "letter", "ship")
CHOICES = """task: served_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ANSWERS = """task: served_answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[label]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16, do_sample: false, temperature: 0}}
metric_list: [{{metric: exact_match}}]
"""


def write_tasks(folder: Path, number: int) -> None:
    """Both tasks, with their rows."""
    drawn, rows = random.Random(0), []
    for _ in range(number):
        choices = [f" {word}" for word in drawn.sample(WORDS, 4)]
        question = f"In the morning they talked about the {drawn.choice(WORDS)} and then about the"
        rows.append({"question": question, "choices": choices, "label": drawn.randrange(4)})
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, text in (("choices", CHOICES), ("answers", ANSWERS)):
        (folder / f"{name}.yaml").write_text(text.format(file=file), encoding="utf-8")


def evaluated(
    options: argparse.Namespace, folder: Path, kind: str, model: list[str], task: str
) -> list[dict[str, Any]]:
    """What lm-eval writes of each row."""
    out = folder / f"{kind}-{task}"
    words = [options.lm_eval, "--model", kind, "--model_args", ",".join(model), "--tasks", f"served_{task}"]
    words += ["--include_path", str(folder), "--output_path", str(out), "--log_samples", "--batch_size", "1"]
    words += ["--device", "cpu"]
    words += ["--apply_chat_template"] if task == "answers" else []
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none"}
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, env={**inherited, **offline}, check=False)
    if done.returncode:
        sys.exit(f"lm-eval failed on {kind}:\n{done.stderr[-3000:]}")
    (samples,) = out.rglob("samples_*.jsonl")
    lines = samples.read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda row: row["doc_id"])


def main() -> None:
    """Prints both results of each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("lm_eval")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--run", type=Path, help="a LoRA run of MODEL")
    parser.add_argument("--precision", choices=sorted(TOLERANCES), help="of the run; that of a base model is known")
    options = parser.parse_args()
    from burnish.models.device import choose_device, choose_precision

    precision = options.precision or choose_precision("auto", choose_device("auto"))[0]
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
    is_well = True
    with (
        tempfile.TemporaryDirectory() as name,
        served([f"one={options.run or options.model}", "--quiet"]) as (address, _),
    ):
        folder = Path(name)
        write_tasks(folder, options.rows)
        local = [f"pretrained={options.model}", f"dtype={dtype}"]
        local += [] if options.run is None else [f"peft={options.run / 'adapter'}"]
        common = ["model=one", f"tokenizer={options.model}", "num_concurrent=4", "max_retries=1"]
        for task, kind, path in (
            ("choices", "local-completions", "completions"),
            ("answers", "local-chat-completions", "chat/completions"),
        ):
            ours = evaluated(options, folder, kind, [*common, f"base_url={address}/{path}"], task)
            theirs = evaluated(options, folder, "hf", local, task)
            if task == "choices":
                pairs = [
                    (float(one[0]), float(other[0]))
                    for row, beside in zip(ours, theirs, strict=True)
                    for (one,), (other,) in zip(row["resps"], beside["resps"], strict=True)
                ]
                largest = max(abs(one - other) for one, other in pairs)
                print(f"{len(pairs)} log-likelihoods; largest difference {largest:.2g} nats in {precision}")
                is_well &= largest <= TOLERANCES[precision]
            figures = ["acc", "acc_norm"] if task == "choices" else ["exact_match"]
            answers = [
                (row["filtered_resps"], beside["filtered_resps"]) for row, beside in zip(ours, theirs, strict=True)
            ]
            same = sum(one == other for one, other in answers)
            for figure in figures:
                mine, its = (sum(row[figure] for row in rows) / len(rows) for rows in (ours, theirs))
                print(f"{kind}: {figure} {mine:.4f}, hf {its:.4f}")
                is_well &= mine == its
            if task == "answers":
                print(f"{same} of {len(answers)} answers are the same, such as {answers[0]}")
                is_well &= same == len(answers) or precision != "fp32"
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
