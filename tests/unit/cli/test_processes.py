"""Which of several processes reports an error, and which error that is."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from burnish.cli import processes
from burnish.cli.processes import Failure, is_reported_here, place_for, refuse_together, what_failed
from burnish.errors import BurnishError, DataError, InputError, Interrupted, PeerLost
from burnish.system.place import place_here
from tests.together import places

RANK_0, RANK_1 = places(2)


def failure(rank: int, error: BurnishError, timestamp: int = 10) -> Failure:
    parts = (error.what, error.why, error.fix)
    return Failure(rank, 2, *parts, error.exit_code, isinstance(error, PeerLost), timestamp, error.what)


LOST = PeerLost("another process of this run has ended", "", "Continue with `burnish resume r`")
STOPPED = Interrupted("stopped after step 3 of 9; the state is saved", "", "Continue with `burnish resume r`")


def test_the_error_of_the_process_that_failed_is_shown_with_its_rank() -> None:
    found = [failure(0, LOST, 9), failure(1, DataError("a row is broken", "It is.", "Mend it"))]
    shown = what_failed(found, {0: 3, 1: 2}, 2)
    assert (shown.what, shown.why, shown.fix) == ("a row is broken (rank 1 of 2)", "It is.", "Mend it")
    assert shown.exit_code == DataError.exit_code


def test_an_error_that_all_have_needs_no_rank() -> None:
    found = [failure(rank, BurnishError("the loss became nan at step 3")) for rank in (0, 1)]
    assert what_failed(found, {0: 1, 1: 1}, 2).what == "the loss became nan at step 3"


def test_an_interruption_stays_one() -> None:
    shown = what_failed([failure(0, STOPPED), failure(1, STOPPED)], {0: 128 + signal.SIGTERM}, 2)
    assert isinstance(shown, Interrupted)
    assert (shown.what, shown.exit_code) == (STOPPED.what, 130)


@pytest.mark.parametrize("other", [LOST, Interrupted("stopped")])
def test_a_killed_process_is_named_and_not_the_ones_that_the_agent_ended(other: BurnishError) -> None:
    codes = {0: -signal.SIGTERM, 1: -signal.SIGKILL}
    shown = what_failed([failure(0, other), failure(0, LOST)], codes, 2)
    assert shown.what == "rank 1 of 2 was ended by SIGKILL"
    assert shown.fix == "Continue with `burnish resume r`"
    assert shown.exit_code == 1


def test_a_process_that_says_nothing_is_not_passed_over() -> None:
    shown = what_failed([], {1: 7}, 2)
    assert shown.what == "the processes ended without saying why"
    assert "rank 1 with 7" in shown.why


def test_a_process_by_itself_reports_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_0:
        monkeypatch.delenv(name, raising=False)
    assert is_reported_here(BurnishError("made to fail"))
    assert place_for(None) is place_for(4) is None
    refuse_together(["sweep"])


def test_under_a_parent_of_ours_the_error_goes_into_the_agents_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "1" / "error.json"
    for name, value in {**RANK_1, "TORCHELASTIC_RUN_ID": "burnish-7", "TORCHELASTIC_ERROR_FILE": str(file)}.items():
        monkeypatch.setenv(name, value)
    assert not is_reported_here(DataError("a row is broken", "It is.", "Mend it"))
    kept = json.loads(file.read_text())
    assert (kept["rank"], kept["what"], kept["exit_code"], kept["is_lost"]) == (1, "a row is broken", 2, False)
    assert kept["message"] == "a row is broken It is. Mend it"  # which the agent reads


def test_only_commands_that_share_their_work_run_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RANK_1.items():
        monkeypatch.setenv(name, value)
    refuse_together(["--quiet", "train", "rows.jsonl"])
    refuse_together(["resume", "runs/made"])
    for words in (["sweep", "rows.jsonl"], ["quickstart"], []):
        with pytest.raises(InputError, match="runs in one process, and torchrun has started 2"):
            refuse_together(words)
    assert place_for(2) == place_for(None) == place_here()
    with pytest.raises(InputError, match="`--processes 3` does not fit torchrun, which has started 2"):
        place_for(3)


def test_an_agent_that_ends_the_others_does_not_cut_off_what_they_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It sends SIGTERM as soon as one has failed; a handler that raises would end the report with a traceback."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def is_first(place: object, error: object) -> bool:
        seen.append(signal.getsignal(signal.SIGTERM))
        return True

    monkeypatch.setattr(processes, "_is_first", is_first)
    for name, value in RANK_1.items():
        monkeypatch.setenv(name, value)
    assert is_reported_here(BurnishError("made to fail"))
    assert seen == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGTERM) == before
