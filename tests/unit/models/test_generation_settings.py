"""Generation settings of base models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from burnish.models.generation_settings import make_greedy
from tests.tiny_models import make_network


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_generation_settings_in_a_config_do_not_hinder_saving(kind: str, tmp_path: Path) -> None:
    """Old models have them there, and transformers refuses to save such a config."""
    network = make_network(kind)
    before = network.config.to_dict()
    settings = {"temperature": 0.7, "do_sample": True, "num_beams": 4, "top_k": 50, "min_p": 0.1, "max_length": 20}
    for name, value in settings.items():
        setattr(network.config, name, value)
    with pytest.raises(ValueError, match="temperature"):
        network.config.save_pretrained(tmp_path)
    (note,) = make_greedy(network)
    assert re.findall(r"`(\w+)`", note) == ["do_sample", "min_p", "num_beams", "temperature"]
    network.config.save_pretrained(tmp_path)
    after = type(network.config).from_pretrained(tmp_path).to_dict()
    assert {name: after.get(name) for name in before} == before
    assert make_greedy(network) == []
