"""A Python script that repeats a run with transformers, peft and trl alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.data.batching.batches import BatchPlan
from burnish.data.preference.format import Answer, PairExample
from burnish.data.rows.row import IGNORED
from burnish.engine.optimizer import EIGHT_BITS
from burnish.engine.schedule import Cycle
from burnish.errors import InputError
from burnish.methods import make_method, method_names
from burnish.recipe.schema import BUNDLED_MODELS, LoraSection, ModelSection, OptimizationSection, TrainSection
from burnish.recipe.task_sections import PreferenceSection
from burnish.tasks import task_facts, task_names
from burnish.templates import render

_INSTEAD = "Its result is a standard folder that other programs load; `burnish merge` merges an adapter into its base"
_LOSSES = {"dpo": "sigmoid", "ipo": "ipo"}
"""Losses over pairs that TRL computes as Burnish does, and its names for them."""


def check_ejectable(
    task: str,
    method: str,
    lora: LoraSection,
    train: TrainSection,
    optimization: OptimizationSection,
    preference: PreferenceSection,
) -> None:
    """Refuses a run that cannot be repeated without Burnish, loss for loss.

    Args:
        task: of the run.
        method: of the run.
        lora: fully resolved, as the other sections.
        train: its optimizer and schedule are those of the script.
        optimization: what the script does not have.
        preference: the loss over pairs.

    Raises:
        InputError: TRL or PEFT has no counterpart, or one that computes something else.
    """
    for obstacle in (
        _of_task(task),
        _of_method(method, lora),
        _of_optimization(train, optimization),
        _of_loss(task, preference),
    ):
        if obstacle is not None:
            raise InputError(*obstacle, _INSTEAD)


Obstacle = tuple[str, str]
"""What keeps a run from being repeated, and why."""


def _of_task(name: str) -> Obstacle | None:
    if task_facts(name).trainer:
        return None
    tasks = _listed(name for name in task_names() if task_facts(name).trainer)
    return (
        f"a run of the task `{name}` cannot be ejected",
        f"No trainer of TRL computes its loss; scripts are written for {tasks}.",
    )


def _of_method(name: str, lora: LoraSection) -> Obstacle | None:
    method = make_method(name)
    if not method.can_eject:
        methods = _listed(name for name in method_names() if make_method(name).can_eject)
        return (
            f"a run of the method `{name}` cannot be ejected",
            f"PEFT has no counterpart that starts from the same weights; scripts are written for {methods}.",
        )
    if not method.trains_base and lora.added_tokens:
        return (
            "a run with `lora.added_tokens` cannot be ejected",
            "PEFT wraps the output layer to train their rows, and TRL's loss reads that layer's weights directly.",
        )
    return None


def _of_optimization(train: TrainSection, optimization: OptimizationSection) -> Obstacle | None:
    unlike = [name for name, value in optimization if value != getattr(_USUAL, name) and name != "decay_share"]
    if train.optimizer in ("muon", "adafactor", "schedule-free"):
        what = f"the optimizer `{train.optimizer}`"
    elif train.schedule == "wsd":
        what = "the schedule `wsd`"
    elif unlike:
        what = f"`optimization.{unlike[0]}`"
    else:
        return None
    return (
        f"a run with {what} cannot be ejected",
        "The script has AdamW with a cosine, linear or constant schedule, and one learning rate for all blocks.",
    )


def _of_loss(task: str, preference: PreferenceSection) -> Obstacle | None:
    if task_facts(task).trainer != _PAIRS or (preference.loss in _LOSSES and not preference.label_smoothing):
        return None
    smoothed = " with `preference.label_smoothing`" if preference.label_smoothing else ""
    return (
        f"a run with the loss `{preference.loss}`{smoothed} cannot be ejected",
        "TRL computes another loss under that name; scripts are written for `dpo` and `ipo` without smoothing.",
    )


_USUAL = OptimizationSection()
_PAIRS = "DPOTrainer"
"""The trainer of TRL that reads pairs of answers."""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


ROWS_BEGIN = (b'{"input_ids": [', b'{"chosen_ids": [')
"""How a file of rows begins."""


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
    """What a script has to know of a run that `check_ejectable` accepts."""

    run: str
    task: str
    method: str
    seed: int
    packing: bool
    """Whether several examples are in one row."""
    model: ModelSection
    """Fully resolved, as all sections."""
    train: TrainSection
    lora: LoraSection
    """Of no account where all weights were trained."""
    preference: PreferenceSection
    """Of no account where no pairs were read."""
    base: str
    """Folder of the base model, or its name on the hub."""
    rows_file: str
    """Name of the file that holds the rows, beside the script."""
    device: str
    pad_id: int
    total_steps: int
    cycles: Sequence[Cycle]
    """The schedules, the planned one first."""
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


def write_script(ejected: Ejected) -> str:
    """The script as text."""
    trainer, method = task_facts(ejected.task).trainer, make_method(ejected.method)
    return render(
        "script/trl.py",
        run=ejected.run,
        rows_file=ejected.rows_file,
        trainer=trainer,
        pairs=trainer == _PAIRS,
        packing=ejected.packing,
        adapter=not method.trains_base,
        is_shifted=not method.trains_base and ejected.lora.init != "default",
        bits=method.bits,
        is_adapted=len(ejected.cycles) > 1,
        optimizer=str(ejected.train.optimizer),
        optimizer_class=EIGHT_BITS.get(str(ejected.train.optimizer), "torch.optim.AdamW"),
        constants=_constants(ejected),
    )


Constants = list[list[tuple[str, Any, str]]]
"""Groups of (name, value, what it means)."""


def _steps(ejected: Ejected) -> list[tuple[str, Any, str]]:
    """How long the run was, and its schedules if there were several."""
    if len(ejected.cycles) == 1:
        return [("TOTAL_STEPS", ejected.total_steps, "optimizer steps that the schedule was made for")]
    cycles = [(one.first, one.steps, one.factor) for one in ejected.cycles]
    return [
        ("TOTAL_STEPS", ejected.total_steps, "optimizer steps"),
        ("CYCLES", cycles, "schedules of the run: steps before each, its steps, and its factor of the learning rate"),
    ]


def _constants(ejected: Ejected) -> Constants:
    """Every number of the run, each with what it means."""
    model, train, method = ejected.model, ejected.train, make_method(ejected.method)
    groups: Constants = [
        [
            ("ROWS_FILE", ejected.rows_file, "beside this script"),
            ("BASE", ejected.base, "the base model" + (_BUNDLED if model.name in BUNDLED_MODELS else "")),
            ("REVISION", model.revision, "its branch, tag or commit on the hub"),
            ("TRUST", model.trust_remote_code, "run the Python code that comes with it"),
            ("SAFETENSORS", None if model.allow_pickle else True, "True: never read its weights from a pickle"),
            ("DEVICE", ejected.device, "where it is trained"),
            ("PRECISION", model.precision, "of the arithmetic: fp32, bf16 or fp16"),
            ("SEED", ejected.seed, "of the adapter's initial weights and its dropout"),
            ("PAD", ejected.pad_id, "the padding token"),
        ],
        [
            *_steps(ejected),
            ("KEPT_STEP", ejected.kept_step, "the step whose weights the run kept: the best on its validation rows"),
            ("STEPS_PER_EPOCH", ejected.steps_per_epoch, "steps in one pass over the rows"),
            ("ROWS_PER_STEP", ejected.rows_per_step, "rows per optimizer step"),
            ("MICRO_ROWS", ejected.micro_rows, "rows per forward and backward pass"),
        ],
        [
            ("LEARNING_RATE", float(train.learning_rate), "at its peak"),
            ("WARMUP", train.warmup, "share of the steps in which the learning rate rises"),
            ("SCHEDULE", train.schedule, "what it does after that: cosine, linear or constant"),
            ("BETAS", tuple(train.betas), "AdamW's two decay rates"),
            ("WEIGHT_DECAY", train.weight_decay, "on matrices only"),
            (
                "PLUS_RATIO",
                _plus_ratio(ejected),
                "learning rate of the B matrices divided by that of all others (LoRA+)",
            ),
            ("CLIP", train.clip, "gradients are clipped to this norm; 0 for no clipping"),
            ("CHECKPOINTING", train.gradient_checkpointing is True, "recompute activations in the backward pass"),
        ],
        [("CONFIG", ejected.no_dropout, "changes to the model's own config: its dropout is switched off")],
    ]
    if task_facts(ejected.task).trainer == _PAIRS:
        kind = _LOSSES[ejected.preference.loss]
        groups.append([("LOSS", kind, "TRL's name for it"), ("BETA", float(ejected.preference.beta), "its strength")])
    if not method.trains_base:
        groups.append(_adapter_constants(ejected.lora, ejected.adapter))
    if method.quantizes:
        groups.append([("LEFT_WHOLE", ejected.left_whole, "layers that are not quantized")])
    return groups


def _adapter_constants(lora: LoraSection, adapter: dict[str, Any]) -> list[tuple[str, Any, str]]:
    return [
        ("RANK", int(lora.rank), "of the adapter's matrices"),
        ("ALPHA", lora.alpha, "their product is scaled by alpha / rank, or alpha / sqrt(rank) with rsLoRA"),
        ("LORA_DROPOUT", lora.dropout, "dropout of the adapter's inputs in training"),
        ("BIAS", lora.bias, "which biases are trained as well"),
        ("TARGETS", adapter["target_modules"], "layers that get an adapter"),
        ("MODULES_TO_SAVE", adapter.get("modules_to_save"), "modules trained in full"),
        ("RSLORA", lora.rslora, ""),
        ("DORA", lora.dora, ""),
        ("START", STARTS[lora.init], "how the matrices are initialized"),
        ("TRANSPOSED", adapter.get("fan_in_fan_out", False), "whether layers store their matrix transposed"),
    ]


def _plus_ratio(ejected: Ejected) -> float:
    ratio = ejected.lora.plus_ratio
    return 1.0 if make_method(ejected.method).trains_base or ratio is None else float(ratio)
