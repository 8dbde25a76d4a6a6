"""`burnish launch-files RUN|RECIPE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import RecipeFlags
from burnish.errors import InputError
from burnish.system.shell import quoted

if TYPE_CHECKING:
    from burnish.cli.launch_files import Target
    from burnish.recipe.load import LoadedRecipe

What = Annotated[
    str,
    typer.Argument(metavar="RUN|RECIPE", help="A recipe.yaml to train, or a run to continue.", show_default=False),
]
Slurm = Annotated[bool, typer.Option("--slurm", metavar="", help="Write a batch script for `sbatch`.")]
Kubernetes = Annotated[bool, typer.Option("--kubernetes", metavar="", help="Write a Job for `kubectl apply -f`.")]
SkyPilot = Annotated[bool, typer.Option("--skypilot", metavar="", help="Write a task for `sky jobs launch`.")]
Nodes = Annotated[int, typer.Option("--nodes", metavar="NUMBER", min=1, help="Number of machines.")]
Gpus = Annotated[
    int,
    typer.Option(
        "--gpus", metavar="NUMBER", min=0, help="GPUs of each machine, with a process each; 0 trains on its processor."
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--max-restarts",
        metavar="NUMBER",
        min=0,
        help="How often torchrun starts all processes again after one has ended; they continue the run.",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image", metavar="IMAGE", help="Container image, for `--kubernetes`. [default: burnish]", show_default=False
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--on", metavar="GPU", help="Kind of GPU, for `--skypilot`. [default: A100]", show_default=False),
]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write. Nothing is overwritten.")]


def launch_files(
    console: Console,
    what: What,
    flags: RecipeFlags,
    slurm: Slurm = False,
    kubernetes: Kubernetes = False,
    skypilot: SkyPilot = False,
    nodes: Nodes = 1,
    gpus: Gpus = 1,
    max_restarts: Restarts = 3,
    image: Image = None,
    on: Kind = None,
    out: Out = Path(),
) -> None:
    """Write files that start a run on a cluster.

    They call torchrun. If a process, a machine or the job ends, the same file continues the run.
    """
    from burnish.cli.launch_files import TARGETS, LaunchJob
    from burnish.runs.atomic import check_target, write_text

    asked = {"slurm": slurm, "kubernetes": kubernetes, "skypilot": skypilot}
    targets = [TARGETS[name] for name, is_asked in asked.items() if is_asked]
    _check_flags(asked, gpus, image, on)
    stem, loaded = _read(what, flags)
    if loaded is not None:
        _check_recipe(loaded, nodes, gpus, targets)
    jobs = [
        LaunchJob(
            target,
            stem,
            tuple(_arguments(what, stem, flags, target, loaded is not None)),
            nodes,
            gpus,
            max_restarts,
            image or "burnish",
            on or "A100",
        )
        for target in targets
    ]
    for job in jobs:
        check_target(out / job.file)
    for job in jobs:
        write_text(out / job.file, job.text())
    for path in _paths_of_this_machine(what, loaded):
        console.warn(f"{path} is an absolute path: it has to be there on every machine.")
    files = [{"to": job.target.name, "path": str(out / job.file)} for job in jobs]
    console.json({"files": files, "nodes": nodes, "gpus": gpus, "command": ["burnish", *jobs[0].arguments]})
    for job in jobs:
        console.result(str(out / job.file))
    console.say()
    console.say("next:", "bold")
    for job in jobs:
        console.command(f"{job.target.start} {quoted(str(out / job.file))}")


def _check_flags(asked: dict[str, bool], gpus: int, image: str | None, on: str | None) -> None:
    """Refuses a command that names no scheduler, and flags without effect.

    Raises:
        InputError: naming the flag.
    """
    if not any(asked.values()):
        raise InputError(
            "`burnish launch-files` needs a scheduler",
            "The files of each are different.",
            "Add `--slurm`, `--kubernetes` or `--skypilot`, or several of them",
        )
    for flag, value, name in (("--image", image, "kubernetes"), ("--on", on, "skypilot")):
        if value is not None and not asked[name]:
            raise InputError(f"`{flag}` has no effect without `--{name}`", "", f"Leave it out, or add `--{name}`")
    if on is not None and not gpus:
        raise InputError("`--on` has no effect with `--gpus 0`", "", "Leave one of them out")


def _read(what: str, flags: RecipeFlags) -> tuple[str, LoadedRecipe | None]:
    """The name of what is started, and its recipe if it is a new run.

    Raises:
        RecipeError: the recipe is wrong.
        InputError: there is no such run, it is finished, or flags are given with it.
    """
    from burnish.recipe.load import RECIPE_SUFFIXES, load_recipe
    from burnish.recipe.schema import AUTO
    from burnish.runs.folder import check_name, check_unfinished, find_run

    if not what.lower().endswith(RECIPE_SUFFIXES):
        folder = find_run(what, str(flags.values.get("runs", "runs")))
        if flags.sets or set(flags.values) - {"runs"}:
            raise InputError(
                f"options of the recipe have no effect on the run `{folder.name}`",
                "It continues with the recipe that it began with.",
                f"Leave them out, or give a recipe: `burnish launch-files {quoted(str(folder.recipe))} ...`",
            )
        check_unfinished(folder)
        return folder.name, None
    loaded = load_recipe(what, flags.values, flags.sets)
    name = loaded.recipe.name if loaded.recipe.name != AUTO else Path(what).stem
    check_name(name)
    return name, loaded


def _check_recipe(loaded: LoadedRecipe, nodes: int, gpus: int, targets: list[Target]) -> None:
    """Refuses what these processes could not train together.

    Raises:
        RecipeError: naming the option.
    """
    from burnish.prepare.first_checks import check_options, check_processes
    from burnish.recipe.schema import SHARDED

    check_options(loaded.recipe)
    check_processes(loaded.recipe, max(1, gpus), nodes * max(1, gpus))
    apart = next((target for target in targets if target.runs is not None), None)
    if apart is not None and nodes > 1 and loaded.recipe.distributed.strategy == SHARDED:
        raise InputError(
            f"`--{apart.name}` writes the run into a bucket, and sharded weights on {nodes} machines need a disk",
            "All processes write their parts of a checkpoint into one folder, and read them at once.",
            "Use `--nodes 1`, or another scheduler",
        )


def _arguments(what: str, stem: str, flags: RecipeFlags, target: Target, is_new: bool) -> list[str]:
    """What follows `burnish`: the same whether the run is to begin or to go on."""
    if not is_new:
        if target.runs is not None:
            return ["resume", stem, "--runs", target.runs]
        return ["resume", what, *(("--runs", flags.values["runs"]) if "runs" in flags.values else ())]
    given = {option: value for option, value in flags.values.items() if option not in ("name", "runs")}
    sets = [*flags.sets, *(f"{option}={_as_yaml(value)}" for option, value in given.items())]
    runs = target.runs or flags.values.get("runs")
    words = ["train", what, "--name", stem, *(("--runs", str(runs)) if runs else ())]
    return [*words, *(word for one in sets for word in ("--set", one)), "--or-resume"]


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _paths_of_this_machine(what: str, loaded: LoadedRecipe | None) -> list[str]:
    """The paths in the command and in a recipe that other machines need not have."""
    found = [f"`{what}`"] if Path(what).is_absolute() else []
    if loaded is not None:
        from burnish.recipe.load import PATHS
        from burnish.recipe.origins import read_file

        given, _ = read_file(Path(what))
        for name in PATHS:
            value = given[name].value if name in given else None
            if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
                found.append(f"`{name}`, `{value}`,")
    return found
