"""Files that start a run on a cluster: Slurm, Kubernetes and SkyPilot, each of which calls torchrun."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from burnish.templates import render
from burnish.version import __version__

PORT = 29500
"""Where torchrun's agents meet: its own default."""
CPUS_OF_A_GPU, CPUS = 8, 8
"""Cores to ask for: beside each GPU, and of a machine without one."""
_LONGEST_NAME = 50
"""Of a job, so that the names of its pods are valid."""


@dataclass(frozen=True, slots=True)
class Target:
    """A scheduler."""

    name: str
    template: str
    ending: str
    """Of the file's name."""
    start: str
    """The command that starts the file."""
    runs: str | None = None
    """Folder of the runs, where it cannot be the recipe's."""


TARGETS = {
    "slurm": Target("slurm", "launch/slurm.sh", ".sbatch", "sbatch"),
    "kubernetes": Target("kubernetes", "launch/kubernetes.yaml", ".kubernetes.yaml", "kubectl apply -f"),
    "skypilot": Target("skypilot", "launch/skypilot.yaml", ".sky.yaml", "sky jobs launch", runs="/burnish-runs"),
}


@dataclass(frozen=True, slots=True)
class LaunchJob:
    """What is started, and on what."""

    target: Target
    stem: str
    """Of the run's name, and of the file's."""
    arguments: tuple[str, ...]
    """What follows `burnish`."""
    nodes: int
    gpus: int
    """Of each node; 0 for its processor."""
    restarts: int
    """By torchrun, of all processes together."""
    image: str = ""
    """For Kubernetes."""
    kind: str = ""
    """Of the GPUs, for SkyPilot."""
    port: int = PORT
    version: str = __version__

    @property
    def name(self) -> str:
        """As all schedulers take it: small letters, digits and hyphens."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.stem.lower())[:_LONGEST_NAME].strip("-")
        return plain if plain[:1].isalpha() else f"run-{plain}".strip("-")

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{self.name}{self.target.ending}"

    @property
    def title(self) -> str:
        """In a sentence."""
        machines = f"{self.nodes} machine{'s' if self.nodes > 1 else ''}"
        each = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else "no GPU"
        return f"The run {self.stem} on {machines} with {each}{' each' if self.nodes > 1 else ''}."

    @property
    def processes(self) -> int:
        """Of each node: one for every GPU, or one for all cores."""
        return max(1, self.gpus)

    @property
    def cpus(self) -> int:
        """Cores of each node."""
        return self.gpus * CPUS_OF_A_GPU or CPUS

    @property
    def claim(self) -> str:
        """Name of the volume, on Kubernetes."""
        return "burnish-work"

    @property
    def runs(self) -> str | None:
        """Folder of the runs, where the scheduler decides it."""
        return self.target.runs

    @property
    def command(self) -> str:
        """What follows `burnish`, as a shell takes it."""
        return shlex.join(self.arguments)

    @property
    def words(self) -> list[str]:
        """The whole command, for a scheduler that uses no shell."""
        return [
            "torchrun",
            *("--nnodes", str(self.nodes), "--nproc-per-node", str(self.processes)),
            *("--max-restarts", str(self.restarts), "--rdzv-backend", "c10d", "--rdzv-id", self.name),
            *("--rdzv-endpoint", f"{self.name}-0.{self.name}:{self.port}", "--local-addr", "$(POD_IP)"),
            *("-m", "burnish", *(word.replace("$(", "$$(") for word in self.arguments)),
        ]

    def text(self) -> str:
        """The file."""
        return render(self.target.template, job=self)
