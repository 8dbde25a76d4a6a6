"""The attack of `tools/attack`, short; `python -m tools.attack.kills` and so on are the long one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.attack import fuzz, hostile, kills
from tools.attack.forked import warm_up
from tools.attack.victims import COMMANDS, TRAININGS

_FEW = {"data": 16, "recipes": 6, "pictures": 3, "templates": 6, "models": 4, "runs": 6}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools set the variable themselves, for commands of their own."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "unused"))
    warm_up()


def test_killed_at_file_operations(tmp_path: Path) -> None:
    attack = kills.Attack(tmp_path, seed=1)
    for tally in (attack.training(TRAININGS[0], 5), attack.command(COMMANDS[0], 2)):
        assert tally.kills >= 2
        assert not tally.faults


@pytest.mark.slow
def test_power_cuts(tmp_path: Path) -> None:
    tally = kills.Attack(tmp_path).power_cuts(TRAININGS[0])
    assert tally.kills > 20
    assert not tally.faults


@pytest.mark.slow
@pytest.mark.parametrize("victim", [*TRAININGS, *COMMANDS], ids=lambda victim: victim.name)
def test_killed_at_many_file_operations(victim: kills.Training | kills.Command, tmp_path: Path) -> None:
    attack = kills.Attack(tmp_path)
    tally = attack.command(victim, 10) if isinstance(victim, kills.Command) else attack.training(victim, 20)
    assert tally.kills
    assert not tally.faults


def test_damaged_inputs(tmp_path: Path) -> None:
    good = fuzz.Good(tmp_path)
    assert not [fault for kind, count in _FEW.items() for fault in fuzz.attack(good, kind, count, 7, None).faults]


@pytest.mark.parametrize("name", ["events are a link", "metric in the run folder", "chat template breaks out"])
def test_a_strangers_run(name: str, tmp_path: Path) -> None:
    assert not trapped("run", name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, traps in hostile.KINDS.items() for name in traps])
def test_everything_with_every_trap(kind: str, name: str, tmp_path: Path) -> None:
    assert not trapped(kind, name, tmp_path)


def trapped(kind: str, name: str, folder: Path) -> list[str]:
    """What went wrong with a trap."""
    attack, traps = hostile.Attack(folder), hostile.KINDS[kind]
    faults: list[str] = []
    for words, work in hostile.commands(traps):
        ended, found = attack.spring(traps[name], work)
        faults += [f"{words}: {one}" for one in (*found, *hostile.faults_of(ended))]
    return faults


def test_a_sprung_trap_is_seen(tmp_path: Path) -> None:
    """What the watch reports, and that a good run is given nothing to report."""
    attack = hostile.Attack(tmp_path)
    victims = {
        "runs ": "import sys; sys.path.insert(0, 'runs/made'); import mine",
        "unpickles ": "import pickle; pickle.loads(b'cio\\nopen\\n.')",
        "starts a program: ": "import subprocess; subprocess.run(['true'])",
        "changes ": "open('../outside/new', 'w').close()",
    }
    for said, code in victims.items():
        _, found = attack.spring(lambda place: place.code(place.run), lambda code=code: exec(code) or 0)
        assert re.match(said, found[0]), found
    assert attack.spring(lambda place: None, lambda: 0)[1] == []
