"""Run folders, models, recipes and data as an attacker makes them: every command is given each, and nothing may happen.

    python -m tools.attack.hostile [--only PATTERN]

Each is made from good files, with one trap. Commands and calls of the Python package are run on it in processes that
report what they do (`watching.py`): run or import a stranger's file, unpickle, start a program, connect, link a
library, or write anywhere but into the current folder and the cache. Traps also leave a trace themselves if they are
sprung, and a folder beside must stay as it is. A command may refuse, or work as if the trap were not there; it may not
end by a fault of Burnish, take longer than 10 seconds or 1.5 GB.

Prints a table; the exit code is 1 if a trap was sprung or a command ended otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.architecture_table import rows_for
from tests.tiny_architectures import save_architecture
from tools.attack.forked import Ended, faults_of, in_child, run_command, warm_up
from tools.attack.oddities import Oddity, all_oddities
from tools.attack.traps import KINDS, MODELS, OUTSIDE, RECIPES, RUNS, SPRUNG, Place, Trap
from tools.attack.victims import RUN, settings
from tools.attack.watching import report

_PATIENCE = 120.0
_TRAIN = settings(
    {"model.device": "cpu", "model.precision": "fp32", "train.max_steps": 1, "evaluate.answers": 1, "data.context": 64}
)
_ON_RUN = [
    ["runs"],
    ["show", RUN],
    ["report", RUN],
    ["resume", RUN],
    ["generate", RUN, "Hello", "--max-new-tokens", "2"],
    ["evaluate", RUN, "--answers", "1"],
    ["evaluate", RUN, "rows.jsonl", "--answers", "1"],
    ["merge", RUN, "--out", "merged"],
    ["eject", RUN, "--out", "script.py"],
    ["reproduce", RUN, "--steps", "1"],
    ["compare", RUN, RUN],
    ["check", f"{RUN}/recipe.yaml"],
    ["plan", f"{RUN}/recipe.yaml"],
]
_ON_RUN_IN_PYTHON = {
    "resume()": "burnish.resume({run!r})",
    "evaluate()": "burnish.load_run({run!r}).evaluate(answers=1)",
    "generate()": "burnish.load_run({run!r}).generate('Hello', max_new_tokens=2)",
}


def commands(kind: dict[str, Trap]) -> Iterator[tuple[str, Callable[[], int]]]:
    """What is done to each trap of a kind: its name, and the work."""
    given: list[list[str]] = []
    calls: dict[str, str] = {}
    if kind is RUNS:
        given, calls = _ON_RUN, _ON_RUN_IN_PYTHON
    elif kind is MODELS:
        with_model = ["rows.jsonl", "--model", "model"]
        given = [["check", *with_model], ["plan", *with_model], ["train", *with_model, *_TRAIN]]
        calls = {"train()": "burnish.train('rows.jsonl', model='model', max_steps=1, answers=1)"}
    elif kind is RECIPES:
        given = [["check", "recipe.yaml"], ["plan", "recipe.yaml"], ["train", "recipe.yaml", *_TRAIN]]
        calls = {"train()": "burnish.train('recipe.yaml', max_steps=1)"}
    else:
        given = [["check", "data.zip", "--model", "model"], ["train", "data.zip", "--model", "model", *_TRAIN]]
        calls = {"check_data()": "burnish.check_data('data.zip', model='model')"}
    for words in given:
        yield f"burnish {' '.join(words)}", lambda words=words: _command(words)
    for name, text in calls.items():
        yield name, lambda text=text: _call(text.format(run=RUN))


def all_traps() -> Iterator[tuple[str, Trap, list[tuple[str, Callable[[], int]]]]]:
    """Traps and oddities: the name of each, what lays it down, and what is then done."""
    for called, kind in KINDS.items():
        for name, lay in kind.items():
            yield f"{called}: {name}", lay, list(commands(kind))
    for name, oddity in all_oddities():
        yield f"odd: {name}", oddity.lay, given_to(oddity)


def given_to(oddity: Oddity) -> list[tuple[str, Callable[[], int]]]:
    """Its commands, and the work of each."""
    return [(f"burnish {words}", lambda words=words: _command(shlex.split(words))) for words in oddity.commands]


def _command(words: list[str]) -> int:
    from burnish.cli.main import main

    return main(words)


def _call(text: str) -> int:
    """A call of the package; a refusal is no fault."""
    import burnish
    from burnish.errors import BurnishError

    try:
        eval(text, {"burnish": burnish})
    except BurnishError as error:
        print(error)
        return error.exit_code
    return 0


class Attack:
    """Lays traps in folders below one.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        os.environ["BURNISH_CACHE"] = str(self.cache)
        self.good = root / "good"
        self.good.mkdir()
        save_architecture("Llama", self.good / "model")
        rows_for("chat", self.good).rename(self.good / "rows.jsonl")
        words = ["train", "rows.jsonl", "--model", "model", "--name", "made", "--method", "lora"]
        made = run_command([*words, *settings({"save.every": 1}), *_TRAIN], self.good, 120)
        if made.code:
            raise SystemExit(made.output)

    def spring(self, lay: Trap, work: Callable[[], int]) -> tuple[Ended, list[str]]:
        """Lays a trap in fresh folders, and does something with it; returns how that ended, and what must not be."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            place = Place(Path(folder) / "here", Path(folder) / OUTSIDE)
            shutil.copytree(self.good, place.here)
            place.outside.mkdir()
            (place.outside / "profile").write_text("mine\n", encoding="utf-8")
            lay(place)
            before = _contents(place.outside)
            seen = Path(folder) / "seen"

            def watched() -> int:
                report((place.here, place.outside), place.outside, (place.here, self.cache), seen)
                return work()

            ended = in_child(watched, place.here, _PATIENCE)
            found = list(dict.fromkeys(seen.read_text(encoding="utf-8").splitlines())) if seen.exists() else []
            found += ["the trap was sprung"] if list(Path(folder).rglob(SPRUNG)) else []
            found += [f"`{OUTSIDE}` has changed"] if _contents(place.outside) != before else []
            found += ["escape codes reach the terminal"] if "\x1b]0;" in ended.output else []
            return ended, found


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warm_up()
    faults: list[str] = []
    print("| trap | tried | refused | sprung | other faults |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder))
        for name, lay, given in all_traps():
            if not re.search(options.only, name):
                continue
            tried = refused = sprung = others = 0
            for words, work in given:
                ended, found = attack.spring(lay, work)
                wrong = faults_of(ended)
                tried, refused = tried + 1, refused + (ended.code != 0)
                sprung, others = sprung + bool(found), others + bool(wrong)
                faults += [f"{name}: `{words[:200]}`: {one}" for one in (*found, *wrong)]
            print(f"| {name} | {tried} | {refused} | {sprung} | {others} |", flush=True)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
