"""`burnish merge RUN`, `burnish export RUN` and `burnish eject RUN`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from burnish.cli.console import Console
from burnish.cli.options import BaseModel, Run, Runs, Trust
from burnish.cli.table import megabytes
from burnish.errors import InputError

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where to write it. [default: RUN/merged]", show_default=False),
]
Format = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option("--precision", help="Number format of the merged weights; `auto` keeps that of the base model."),
]


def merge(
    console: Console,
    run: Run,
    out: Out = None,
    precision: Format = "auto",
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Merge a run's adapter into its base and verify the result."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_merged
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import check_usable, find_run
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust, takes_step=True)
    target = out or folder.merged
    check_free(folder.path, target, "merged")
    check_usable(folder)
    if out is not None or folder.step is None:
        check_target(target)
    with Progress(console) as progress:
        from burnish.workflows.merge import merge as run_merge

        merged = run_merge(folder, out, precision, [progress], base_model).to_dict()
    console.json(merged)
    if not console.output.json:
        show_merged(console, merged)


To = Annotated[
    Literal["gguf", "ollama", "vllm", "hf", "mlx"],
    typer.Option("--to", help="Program that it is for: `gguf` for llama.cpp, `hf` for transformers and the hub."),
]


class Type(str, Enum):
    """How a GGUF file stores numbers."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_K_M = "q5_k_m"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_K_M = "q4_k_m"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"


Types = Annotated[
    list[Type] | None,
    typer.Option(
        "--type",
        help="Number format of a GGUF file; give it several times for several files.",
        show_default=Type.Q8_0.value,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where to write it. [default: RUN/export-TO]", show_default=False),
]
Answers = Annotated[
    int,
    typer.Option("--answers", metavar="NUMBER", min=0, help="Maximum number of test rows that each GGUF file answers."),
]


AdapterAlone = Annotated[
    bool,
    typer.Option("--adapter", help="Write the LoRA adapter alone, for a GGUF file of the base model, in fp32."),
]


LlamaCpp = Annotated[
    Path | None,
    typer.Option(
        "--llama-cpp",
        metavar="FOLDER",
        help="Folder of llama.cpp whose converter writes the GGUF files, also of models that Burnish does not know.",
        show_default=False,
    ),
]


def export(
    console: Console,
    run: Run,
    to: To,
    types: Types = None,
    adapter: AdapterAlone = False,
    llama_cpp: LlamaCpp = None,
    out: Folder = None,
    answers: Answers = 64,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Export a run to llama.cpp, Ollama, vLLM, MLX or the hub.

    GGUF files are tried with llama.cpp itself before they are kept: the tokens of the run's rows, and greedy answers in
    fp32, must be the same. Then each file answers test rows, so that you see what its number format costs.
    """
    from burnish.cli.exported import show_exported
    from burnish.cli.progress import Progress
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import check_usable, find_run
    from burnish.runs.lock import check_free

    _check_options(to, types, adapter, llama_cpp)
    folder = find_run(run, runs, trust, takes_step=True)
    target = out or folder.export(to)
    check_free(folder.path, target, "exported")
    check_usable(folder)
    if out is not None or folder.step is None:
        check_target(target)
    with Progress(console) as progress:
        from burnish.export.gguf.converter import Converter
        from burnish.inference.exported import Asking
        from burnish.workflows.export import export as run_export

        names = [one.value for one in types or (Type.Q8_0,)]
        converter = Converter.find(llama_cpp, names) if llama_cpp else None
        asking = Asking(to, names, answers, adapter, converter)
        made = run_export(folder, asking, out, [progress], base_model).to_dict()
    console.json(made)
    if not console.output.json:
        show_exported(console, made)


def _check_options(to: str, types: list[Type] | None, adapter: bool, llama_cpp: Path | None) -> None:
    """Refuses options that would have no effect.

    Raises:
        InputError: there is one.
    """
    if types and to not in ("gguf", "ollama"):
        raise InputError(
            f"`--type` has no effect with `--to {to}`", "It is the number format of GGUF files.", "Leave out `--type`"
        )
    if llama_cpp and (adapter or to not in ("gguf", "ollama")):
        other = "`--adapter`" if adapter else f"`--to {to}`"
        raise InputError(
            f"`--llama-cpp` has no effect with {other}",
            "llama.cpp's converter writes GGUF files of whole models.",
            "Leave out `--llama-cpp`",
        )
    if adapter and to != "gguf":
        why = "vLLM and the hub get the adapter as it is; Ollama and MLX the merged model."
        raise InputError(
            f"`--adapter` has no effect with `--to {to}`", why, "Leave out `--adapter`, or use `--to gguf`"
        )
    if adapter and types:
        raise InputError(
            "`--type` has no effect with `--adapter`",
            "An adapter is small, and is written in fp32; the base model's file may have any type.",
            "Leave out `--type`",
        )


Script = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where to write it. [default: RUN/eject.py]", show_default=False),
]


def eject(
    console: Console,
    run: Run,
    out: Script = None,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Write a plain script that repeats a run without Burnish."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_ejected
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import find_run, result_of
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust)
    check_free(folder.path, out or folder.path, "ejected")
    result_of(folder)
    check_target(out or folder.path / "eject.py")
    with Progress(console) as progress:
        from burnish.workflows.eject import eject as write_script

        script, rows = write_script(folder, out, [progress], base_model)
    show_ejected(console, script, rows)


Repository = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="Repository of the hub; made if there is none.", show_default=False)
]
Public = Annotated[bool, typer.Option("--public", metavar="", help="Let all read it. Without this it is private.")]


def push(
    console: Console,
    run: Run,
    repository: Repository,
    public: Public = False,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Upload a run's result to the hub, as a private repository.

    The adapter or model with its tokenizer and card, in one commit; no rows, logs or checkpoints.
    """
    from burnish.cli.progress import Progress
    from burnish.runs.folder import find_run, result_of

    folder = find_run(run, runs, trust)
    result_of(folder)
    with Progress(console) as progress:
        from burnish.workflows.push import push as run_push

        pushed = run_push(folder, repository, public, [progress])
    console.json(pushed.to_dict())
    console.result(pushed.url)
    kind = "private" if pushed.is_private else "public"
    console.say(f"{len(pushed.files)} files, {megabytes(pushed.bytes)}, {kind}, commit {pushed.commit[:12]}")
