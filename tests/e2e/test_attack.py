"""The attack of `tools/attack`, short; `python -m tools.attack.kills` and so on are the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.attack import fuzz, hostile, keys, kills, ranks
from tools.attack.forked import faults_of, warm_up
from tools.attack.oddities import all_oddities
from tools.attack.traps import KINDS
from tools.attack.victims import COMMANDS, RUN, TRAININGS

_FEW = {"data": 4, "recipes": 2, "pictures": 1, "templates": 2, "models": 1, "runs": 2}
_SHORT = 8
"""Of the commands on a trap, one in so many is given."""


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools set the variable themselves, for commands of their own."""
    monkeypatch.setenv("BURNISH_CACHE", "unused")
    warm_up()


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hostile.Attack]:
    """Good files, and one run."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BURNISH_CACHE", "unused")  # so that what the tool sets does not outlast it
        yield hostile.Attack(tmp_path_factory.mktemp("traps"))


def test_killed_at_file_operations(tmp_path: Path) -> None:
    attack = kills.Attack(tmp_path, seed=1)
    for tally in (attack.training(TRAININGS[0], 2), attack.command(COMMANDS[0], 1)):
        assert tally.kills
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ranks.VICTIMS)
def test_a_rank_is_lost(name: str, tmp_path: Path) -> None:
    for tally in ranks.attack(tmp_path / name, name, kills=3, seed=2, stops=1):
        assert tally.losses, tally.name
        assert not tally.faults


def test_damaged_inputs(tmp_path: Path) -> None:
    good = fuzz.Good(tmp_path)
    assert not [fault for kind, count in _FEW.items() for fault in fuzz.attack(good, kind, count, 7, None).faults]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["evaluation.json", "events.jsonl", "manifest.json", "metrics.jsonl", "views.json"])
def test_every_key_of_a_run(file: str, tmp_path: Path) -> None:
    folder = keys.make_runs(tmp_path)
    given = [change for change in keys.changes(folder / RUN) if change.file == file]
    assert len(given) > 100
    assert not keys.attack(folder, given)


@pytest.mark.parametrize("name", ["events are a link", "metric in the run folder", "chat template breaks out"])
def test_a_strangers_run(name: str, traps: hostile.Attack) -> None:
    assert not trapped(traps, "run", name, _SHORT)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, traps in KINDS.items() for name in traps])
def test_everything_with_every_trap(kind: str, name: str, traps: hostile.Attack) -> None:
    assert not trapped(traps, kind, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in all_oddities()])
def test_every_oddity(name: str, traps: hostile.Attack) -> None:
    oddity, faults = dict(all_oddities())[name], list[str]()
    for words, work in hostile.given_to(oddity):
        ended, found = traps.spring(oddity.lay, work)
        faults += [f"{words[:200]}: {one}" for one in (*found, *faults_of(ended))]
    assert not faults


def trapped(attack: hostile.Attack, kind: str, name: str, step: int = 1) -> list[str]:
    """What went wrong with a trap: of all commands, or of every `step`-th."""
    lay, faults = KINDS[kind][name], list[str]()
    for words, work in list(hostile.commands(KINDS[kind]))[::step]:
        ended, found = attack.spring(lay, work)
        faults += [f"{words}: {one}" for one in (*found, *faults_of(ended))]
    return faults


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("runs ", "import sys; sys.path.insert(0, 'runs/made'); import mine"),
        ("unpickles ", "import pickle; pickle.loads(b'cio\\nopen\\n.')"),
        ("starts a program: ", "import subprocess; subprocess.run(['true'])"),
        ("changes ", "open('../outside/new', 'w').close()"),
    ],
)
def test_a_sprung_trap_is_seen(said: str, code: str, traps: hostile.Attack) -> None:
    _, found = traps.spring(lambda place: place.code(place.run), lambda: exec(code) or 0)
    assert found and found[0].startswith(said)


def test_a_good_run_springs_nothing(traps: hostile.Attack) -> None:
    assert traps.spring(lambda place: None, lambda: 0)[1] == []
