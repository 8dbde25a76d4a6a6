"""`burnish launch-files`: files that parsers of their formats read, and a script that runs with stand-ins for Slurm."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.cli.main import main

RECIPE = """\
model: {name: seedling}
method: full
data: {path: rows.jsonl}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def write(words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command says that it has written."""
    assert main(["launch-files", *shlex.split(words), "--json"]) == 0, capsys.readouterr().out
    return json.loads(capsys.readouterr().out)


def refuse(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The error with which the command ends; nothing is written."""
    before = sorted(Path().iterdir())
    assert main(["launch-files", *shlex.split(words)]) == 2
    assert sorted(Path().iterdir()) == before
    return " ".join(capsys.readouterr().err.split())


def directives(script: str) -> dict[str, str | None]:
    """The options of a batch script as sbatch reads them: up to the first line that is neither blank nor a comment."""
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    found: dict[str, str | None] = {}
    for line in lines[1:]:
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            (word,) = shlex.split(line)[1:]
            name, _, value = word.removeprefix("--").partition("=")
            assert word.startswith("--"), line
            assert name not in found, line
            found[name] = value or None
    return found


def torchrun_of(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options of torchrun, and what follows `-m burnish`, as torchrun's own parser reads them."""
    from torch.distributed.run import get_args_parser

    assert words[0] == "torchrun"
    read = get_args_parser().parse_args(words[1:])
    assert (read.module, read.training_script) == (True, "burnish")
    return vars(read), read.training_script_args


def test_a_batch_script_starts_an_agent_on_each_node(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    words = "recipe.yaml --slurm --nodes 2 --gpus 8 --max-restarts 5 --name 'Big.run_1' --epochs 2"
    made = write(words, capsys)
    (file,) = made["files"]
    assert file == {"to": "slurm", "path": "big-run-1.sbatch"}
    script = Path(file["path"]).read_text()
    assert subprocess.run(["bash", "-n", file["path"]], check=False).returncode == 0
    found = directives(script)
    assert {
        name: found[name] for name in ("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task")
    } == {
        "job-name": "big-run-1",
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "8",
        "cpus-per-task": "64",
    }
    assert re.fullmatch(r"\d+:\d\d:\d\d", found["time"] or "")
    assert "requeue" in found
    given, command = torchrun_of(run_with_stand_ins(here, file["path"]))
    assert (given["nnodes"], given["nproc_per_node"], given["max_restarts"]) == ("2", "8", 5)
    assert (given["rdzv_backend"], given["rdzv_id"], given["rdzv_endpoint"]) == ("c10d", "77", "node-a:29500")
    assert command == made["command"][1:]
    assert command[:4] == ["train", "recipe.yaml", "--name", "Big.run_1"]
    assert command[-3:] == ["--set", "train.epochs=2", "--or-resume"]


def run_with_stand_ins(here: Path, script: str) -> list[str]:
    """The command that a batch script gives to `srun`; it ends with its exit code."""
    tools = here / "tools"
    tools.mkdir()
    for name, body in {
        "srun": 'shift; printf "%s\\n" "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE" "$@" > given; exit 3',
        "scontrol": 'printf "node-a\\nnode-b\\n"',
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node-[a-b]"}
    assert subprocess.run(["bash", script], env=environment, cwd=here, check=False).returncode == 3
    stores, *words = (here / "given").read_text().splitlines()
    assert stores == "1"
    return words


def test_a_job_of_kubernetes_has_a_pod_for_each_node(capsys: pytest.CaptureFixture[str]) -> None:
    made = write("recipe.yaml --kubernetes --nodes 3 --gpus 4 --image 'registry/burnish:1' --name run-1", capsys)
    service, job = yaml.safe_load_all(Path(made["files"][0]["path"]).read_text())
    assert (service["kind"], service["metadata"]["name"], service["spec"]["clusterIP"]) == ("Service", "run-1", "None")
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (3, 3)
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    assert container["image"] == "registry/burnish:1"
    assert container["resources"] == {"requests": {"cpu": 32}, "limits": {"nvidia.com/gpu": 4}}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment == {"POD_IP": None, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    given, command = torchrun_of(container["command"])
    assert (given["nnodes"], given["nproc_per_node"], given["max_restarts"]) == ("3", "4", 3)
    assert (given["rdzv_endpoint"], given["local_addr"]) == ("run-1-0.run-1:29500", "$(POD_IP)")
    assert command == made["command"][1:]


def test_a_task_of_skypilot_writes_into_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    made = write("recipe.yaml --skypilot --nodes 2 --gpus 8 --on H100 --name run-1", capsys)
    task = yaml.safe_load(Path(made["files"][0]["path"]).read_text())
    assert (task["name"], task["num_nodes"], task["workdir"]) == ("run-1", 2, ".")
    assert task["resources"]["accelerators"] == "H100:8"
    assert task["resources"]["job_recovery"] == {"max_restarts_on_errors": 3}
    (mount,) = task["file_mounts"]
    assert task["file_mounts"][mount]["mode"] == "MOUNT_CACHED"
    Path("script").write_text(task["run"])
    assert subprocess.run(["bash", "-n", "script"], check=False).returncode == 0
    *_, last = task["run"].replace("\\\n", " ").strip().splitlines()
    given, command = torchrun_of(shlex.split(last))
    assert (given["nnodes"], given["nproc_per_node"]) == ("2", "8")
    assert command == ["train", "recipe.yaml", "--name", "run-1", "--runs", mount, "--or-resume"]


def test_without_gpus_each_node_has_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    made = write("recipe.yaml --slurm --kubernetes --skypilot --gpus 0 --name run-1", capsys)
    script, job, task = (Path(file["path"]).read_text() for file in made["files"])
    assert "gpus-per-node" not in directives(script)
    assert "--nproc-per-node 1 " in script
    assert "nvidia.com/gpu" not in job
    assert "accelerators" not in yaml.safe_load(task)["resources"]


def test_odd_characters_stay_data(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    """Words that a shell, YAML or Kubernetes would take for its own arrive as they are."""
    odd = "evaluate.general=a b'$(touch x)\"#:.txt"
    Path("a b'$(touch x)\"#:.txt").write_text("A passage that is long enough to be read as one.\n\n" * 30)
    made = {}
    for to in ("slurm", "kubernetes", "skypilot"):
        assert main(["launch-files", "recipe.yaml", f"--{to}", "--set", odd, "--json"]) == 0, capsys.readouterr().out
        made[to] = json.loads(capsys.readouterr().out)["files"][0]["path"]
    _, job = yaml.safe_load_all(Path(made["kubernetes"]).read_text())
    words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert odd.replace("$(", "$$(") in words
    assert odd in shlex.split(yaml.safe_load(Path(made["skypilot"]).read_text())["run"].replace("\\\n", " "))
    assert odd in run_with_stand_ins(here, made["slurm"])
    assert not Path("x").exists()


def test_a_run_is_continued(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run = here / "runs" / "sft"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(RECIPE)
    assert write("runs/sft --slurm", capsys)["command"] == ["burnish", "resume", "runs/sft"]
    assert write("sft --skypilot", capsys)["command"] == ["burnish", "resume", "sft", "--runs", "/burnish-runs"]
    assert "have no effect on the run `sft`" in refuse("sft --kubernetes --epochs 3", capsys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("recipe.yaml", "needs a scheduler"),
        ("recipe.yaml --slurm --image x", "`--image` has no effect without `--kubernetes`"),
        ("recipe.yaml --slurm --on H100", "`--on` has no effect without `--skypilot`"),
        ("recipe.yaml --skypilot --gpus 0 --on H100", "`--on` has no effect with `--gpus 0`"),
        ("recipe.yaml --slurm --gpus 2 --method lora --set distributed.strategy=sharded", "which this run cannot be"),
        ("recipe.yaml --skypilot --nodes 2 --set distributed.strategy=sharded", "need a disk"),
        ("recipe.yaml --slurm --set train.epocs=2", "train.epocs"),
        ("nothing --slurm", "there is no run `nothing`"),
    ],
)
def test_what_cannot_be_started_is_refused(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in refuse(words, capsys)


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    made = write("recipe.yaml --slurm --name run-1", capsys)
    before = Path(made["files"][0]["path"]).read_bytes()
    assert main(["launch-files", "recipe.yaml", "--slurm", "--kubernetes", "--name", "run-1", "--gpus", "2"]) == 2
    assert Path(made["files"][0]["path"]).read_bytes() == before
    assert not list(Path().glob("*.kubernetes.yaml"))


def test_absolute_paths_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("rows.jsonl", "/data/rows.jsonl"))
    assert any("`data.path`, `/data/rows.jsonl`," in text for text in write("recipe.yaml --slurm", capsys)["warnings"])
