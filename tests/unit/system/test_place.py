"""The place of a process, from torchrun's variables."""

from __future__ import annotations

import pytest

from burnish.system.place import place_here

GIVEN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "one.example",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_RUN_ID": "burnish-1",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def test_a_process_of_torchrun_knows_its_place() -> None:
    place = place_here(GIVEN)
    assert place is not None
    assert (place.rank, place.world, place.local_rank, place.local_world, place.node) == (5, 8, 1, 4, 1)
    assert (place.host, place.port, place.attempt) == ("one.example", 29500, 2)
    assert not place.is_main
    assert place.is_own_launch
    assert place.has_agent


def test_without_an_agent_the_rest_follows_from_the_rank() -> None:
    place = place_here({name: GIVEN[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")})
    assert place is not None
    assert (place.local_rank, place.local_world, place.node, place.attempt) == (5, 8, 0, 0)
    assert not place.is_own_launch
    assert not place.has_agent


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_process_by_itself_has_none(missing: str) -> None:
    assert place_here({name: value for name, value in GIVEN.items() if name != missing}) is None


@pytest.mark.parametrize("changed", [{"RANK": "8"}, {"RANK": "-1"}, {"WORLD_SIZE": "many"}])
def test_what_makes_no_sense_is_no_place(changed: dict[str, str]) -> None:
    assert place_here({**GIVEN, **changed}) is None
