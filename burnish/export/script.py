"""A Python script that repeats a run with transformers, peft and trl alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.data.batching.plan import BatchPlan
from burnish.data.preference.format import Answer, PairExample
from burnish.data.rows.row import IGNORED
from burnish.errors import InputError
from burnish.export import script_parts as parts
from burnish.methods import make_method, method_names
from burnish.recipe.schema import BUNDLED_MODELS, Recipe
from burnish.tasks import task_facts, task_names

_INSTEAD = "Its result is a standard folder that other programs load; `burnish merge` folds an adapter in"


def check_ejectable(recipe: Recipe) -> None:
    """Whether a run can be repeated without Burnish, loss for loss.

    Args:
        recipe: fully resolved.

    Raises:
        InputError: trl or peft has no counterpart, or one that computes something else.
    """
    options = recipe.preference
    tasks = [name for name in task_names() if task_facts(name).can_eject]
    methods = [name for name in method_names() if make_method(name).can_eject]
    if recipe.task not in tasks:
        raise InputError(
            f"a run of the task `{recipe.task}` cannot be ejected",
            f"No trainer of trl computes its loss; scripts are written for {_listed(tasks)}.",
            _INSTEAD,
        )
    if recipe.method not in methods:
        raise InputError(
            f"a run of the method `{recipe.method}` cannot be ejected",
            f"peft has no counterpart that begins with the same weights; scripts are written for {_listed(methods)}.",
            _INSTEAD,
        )
    if recipe.method != "full" and recipe.lora.added_tokens:
        raise InputError(
            "a run with `lora.added_tokens` cannot be ejected",
            "peft wraps the output layer to train their rows, and trl's loss reads that layer's weights by itself.",
            _INSTEAD,
        )
    if recipe.task == "preference" and (options.loss not in ("dpo", "ipo") or options.label_smoothing):
        smoothed = " with `preference.label_smoothing`" if options.label_smoothing else ""
        raise InputError(
            f"a run with the loss `{options.loss}`{smoothed} cannot be ejected",
            "trl computes another loss under that name; scripts are written for `dpo` and `ipo` without smoothing.",
            _INSTEAD,
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def rows_by_step(plan: BatchPlan, total_steps: int) -> list[dict[str, Any]]:
    """One JSON-ready object for each row of the plan; `steps` are counted from 0 over whole epochs.

    Args:
        plan: of the training examples: `Example` or `PairExample`.
        total_steps: of the run.
    """
    steps: list[list[int]] = [[] for _ in plan.rows]
    for epoch in range(-(-total_steps // plan.steps_per_epoch)):
        for place, number in enumerate(plan.epoch_order(epoch).tolist()):
            steps[number].append(epoch * plan.steps_per_epoch + place // plan.rows_per_step)
    return [
        {**_row([plan.examples[index] for index in row], plan.packing), "steps": read}
        for row, read in zip(plan.rows, steps, strict=True)
    ]


def _row(examples: Sequence[Any], packed: bool) -> dict[str, Any]:
    if isinstance(examples[0], PairExample):
        return _pair(examples[0])
    row: dict[str, Any] = {"input_ids": [], "labels": []}
    for example in examples:
        row["input_ids"] += _plain(example.input_ids)
        row["labels"] += [IGNORED, *_plain(example.labels)[1:]]  # nothing before an example predicts its first token
    if packed:
        row["position_ids"] = [place for example in examples for place in range(len(example.input_ids))]
    return row


def _pair(pair: PairExample) -> dict[str, Any]:
    return {**_answer("chosen", pair.prompt_ids, pair.chosen), **_answer("rejected", pair.prompt_ids, pair.rejected)}


def _answer(name: str, prompt: list[int], answer: Answer) -> dict[str, Any]:
    learned = [int(label != IGNORED) for label in answer.labels]
    return {f"{name}_ids": _plain([*prompt, *answer.ids]), f"{name}_mask": [0] * len(prompt) + learned}


def _plain(values: Any) -> list[int]:
    return [int(value) for value in values]


def micro_rows(plan: BatchPlan, most: int) -> int:
    """Rows of a micro-batch: as many as divide the rows of a step, which trainers of transformers count in batches.

    Pairs are weighed by micro-batch there, so these must divide the last step of an epoch, too; tokens are not.

    Args:
        plan: of the run.
        most: rows that fit into memory at once.
    """
    last = len(plan.rows) % plan.rows_per_step if isinstance(plan.examples[0], PairExample) else 0
    return max(size for size in range(1, most + 1) if plan.rows_per_step % size == 0 and last % size == 0)


STARTS = {"default": True, "pissa": "pissa_niter_16", "olora": "olora"}
"""What PEFT calls them."""

_BUNDLED = ", which came with Burnish: copy the folder before you remove that"


@dataclass(frozen=True, slots=True)
class Ejected:
    """What a script has to know of a run besides its recipe."""

    run: str
    base: str
    """Folder of the base model, or its name on the hub."""
    rows_file: str
    """Name of the file that holds the rows, beside the script."""
    device: str
    pad_id: int
    total_steps: int
    kept_step: int
    """The step whose weights are the run's result."""
    steps_per_epoch: int
    rows_per_step: int
    micro_rows: int
    adapter: dict[str, Any] = field(default_factory=dict)
    """The run's own `adapter_config.json`; empty where all weights were trained."""
    no_dropout: dict[str, Any] = field(default_factory=dict)
    """Settings of the base model's config that drop something, and are switched off."""
    left_whole: list[str] = field(default_factory=list)
    """Layers of a quantized base that are not quantized."""
    vocabulary: int = 0
    """Rows that the embedding grows to; 0 where it stays as it is."""


def write_script(recipe: Recipe, ejected: Ejected) -> str:
    """The script as text.

    Args:
        recipe: fully resolved, of a task and method that `check_ejectable` lets pass.
        ejected: what else the run decided.
    """
    is_pairs, is_full, is_quantized = _is_pairs(recipe), recipe.method == "full", make_method(recipe.method).quantizes
    has_start = not is_full and recipe.lora.init != "default"
    optimizer = str(recipe.train.optimizer)
    pieces = [
        parts.HEAD.format(run=ejected.run, rows=ejected.rows_file, kind="pairs of answers" if is_pairs else "rows"),
        _imports(is_pairs, is_full, is_quantized, parts.OPTIMIZER_IMPORTS[optimizer]),
        _constants(recipe, ejected),
        parts.READ,
        parts.PAIR_BATCH if is_pairs else parts.PACKED_BATCH if recipe.data.packing else parts.ROW_BATCH,
        parts.ORDER,
        parts.TRAINER.format(trainer="DPOTrainer" if is_pairs else "SFTTrainer"),
        parts.STOP,
        _load(recipe, ejected, is_quantized),
        *([] if is_full else [parts.PISSA_ADAPTER if has_start else parts.ADAPTER]),
        parts.OPTIMIZER.format(optimizer=parts.OPTIMIZERS[optimizer]),
        parts.MAIN.format(
            model="load_base()" if is_full else "add_adapter(load_base())",
            config="DPOConfig" if is_pairs else "SFTConfig",
            options=parts.PAIR_OPTIONS if is_pairs else parts.ROW_OPTIONS,
            reference=parts.REFERENCE if is_pairs and is_full else "",
            widened=parts.WIDENED if is_quantized else "",
            saved=parts.PISSA_SAVED if has_start else parts.SAVED,
        ),
    ]
    head, rest = pieces[:3], pieces[3:]
    return "\n\n".join(piece.strip("\n") for piece in head) + "".join(f"\n\n\n{piece.strip()}" for piece in rest) + "\n"


def _is_pairs(recipe: Recipe) -> bool:
    return recipe.task == "preference"


def _imports(is_pairs: bool, is_full: bool, is_quantized: bool, optimizer: str) -> str:
    peft = "" if is_full else "from peft import LoraConfig, get_peft_model\n"
    bits = "BitsAndBytesConfig, " if is_quantized else ""
    trl = "DPOConfig, DPOTrainer" if is_pairs else "SFTConfig, SFTTrainer"
    return parts.IMPORTS.format(peft=peft, bits=bits, trl=trl, optimizer=optimizer)


def _constants(recipe: Recipe, ejected: Ejected) -> str:
    """Every number of the run, each with what it means."""
    train, lora = recipe.train, recipe.lora
    groups: list[list[tuple[str, Any, str]]] = [
        [
            ("ROWS_FILE", ejected.rows_file, "beside this script"),
            ("BASE", ejected.base, "the base model" + (_BUNDLED if recipe.model.name in BUNDLED_MODELS else "")),
            ("REVISION", recipe.model.revision, "its branch, tag or commit on the hub"),
            ("TRUST", recipe.model.trust_remote_code, "run the Python code that comes with it"),
            ("DEVICE", ejected.device, "where it is trained"),
            ("PRECISION", recipe.model.precision, "of the arithmetic: fp32, bf16 or fp16"),
            ("SEED", recipe.seed, "of the adapter's start and its dropout"),
            ("PAD", ejected.pad_id, "the token that fills rows up"),
        ],
        [
            ("TOTAL_STEPS", ejected.total_steps, "optimizer steps that the schedule was made for"),
            ("KEPT_STEP", ejected.kept_step, "the step whose weights the run kept: the best on its held-out rows"),
            ("STEPS_PER_EPOCH", ejected.steps_per_epoch, "steps in one pass over the rows"),
            ("ROWS_PER_STEP", ejected.rows_per_step, "rows that make an optimizer step"),
            ("MICRO_ROWS", ejected.micro_rows, "rows in memory at once"),
        ],
        [
            ("LEARNING_RATE", float(train.learning_rate), "at its peak"),
            ("WARMUP", train.warmup, "share of the steps in which it rises"),
            ("SCHEDULE", train.schedule, "how it falls then: cosine, linear or constant"),
            ("BETAS", tuple(train.betas), "AdamW's two decay rates"),
            ("WEIGHT_DECAY", train.weight_decay, "on matrices only"),
            ("PLUS_RATIO", _plus_ratio(recipe), "learning rate of the B matrices over that of all others (LoRA+)"),
            ("CLIP", train.clip, "largest norm of the gradient; 0 for any"),
            ("CHECKPOINTING", train.gradient_checkpointing is True, "compute activations again in the backward pass"),
        ],
        [("CONFIG", ejected.no_dropout, "changes to the model's own config: what drops nothing here")],
    ]
    if _is_pairs(recipe):
        kind = "sigmoid" if recipe.preference.loss == "dpo" else "ipo"
        groups.append([("LOSS", kind, "TRL's name for it"), ("BETA", float(recipe.preference.beta), "its strength")])
    if recipe.method != "full":
        adapter = ejected.adapter
        groups.append(
            [
                ("RANK", int(lora.rank), "of the adapter's matrices"),
                ("ALPHA", lora.alpha, "their product is scaled by alpha / rank, or alpha / sqrt(rank) with rsLoRA"),
                ("LORA_DROPOUT", lora.dropout, "share of the adapter's inputs dropped while training"),
                ("BIAS", lora.bias, "which biases are trained, too"),
                ("TARGETS", adapter["target_modules"], "layers that get an adapter"),
                ("MODULES_TO_SAVE", adapter.get("modules_to_save"), "modules trained in full"),
                ("RSLORA", lora.rslora, ""),
                ("DORA", lora.dora, ""),
                ("START", STARTS[lora.init], "how the matrices begin"),
                ("TRANSPOSED", adapter.get("fan_in_fan_out", False), "whether layers hold their matrix transposed"),
            ]
        )
    if ejected.vocabulary:
        groups.append([("VOCABULARY", ejected.vocabulary, "rows that the embedding grows to")])
    if make_method(recipe.method).quantizes:
        groups.append([("LEFT_WHOLE", ejected.left_whole, "layers that are not quantized")])
    return "\n\n".join("\n".join(_constant(*one) for one in group) for group in groups)


def _plus_ratio(recipe: Recipe) -> float:
    ratio = recipe.lora.plus_ratio
    return 1.0 if recipe.method == "full" or ratio is None else float(ratio)


def _constant(name: str, value: Any, comment: str) -> str:
    return f"{name} = {_literal(value)}" + (f"  # {comment}" if comment else "")


def _literal(value: Any) -> str:
    """A value as Python code, with double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(inner)}' for key, inner in value.items())}}}"
    return repr(value)


def _load(recipe: Recipe, ejected: Ejected, is_quantized: bool) -> str:
    dtype = "torch.float32" if recipe.method == "full" else "DTYPES[PRECISION]"
    bits = parts.FOUR_BITS if recipe.method == "qlora" else parts.EIGHT_BITS if is_quantized else ""
    tokens = parts.NEW_TOKENS if ejected.vocabulary else ""
    after = parts.QUANTIZED if is_quantized else "    network = network.to(DEVICE)\n"
    return parts.LOAD.format(dtype=dtype, bits=bits, after=after + tokens)
