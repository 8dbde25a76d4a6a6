"""A run on pictures: trained, then asked about a picture beside its base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.studio.conftest import Tab, end, start
from tests.e2e.studio.pages import Run
from tests.e2e.studio.test_lasting import queue_jobs
from tests.tiny_vision import draw, save_vision_model, write_picture_rows

pytestmark = pytest.mark.slow


def test_both_models_are_asked_about_a_picture(tmp_path: Path, new_tab: Callable[..., Tab]) -> None:
    (tmp_path / "rows").mkdir()
    options: dict[str, object] = {
        "data.path": str(write_picture_rows(tmp_path / "rows")),
        "model.name": str(save_vision_model("qwen2_vl", tmp_path / "base")),
        "train.max_steps": 3,
        "evaluate.answers": 0,
    }
    (job,) = queue_jobs(tmp_path / "project", [options])
    studio = start(tmp_path / "project")
    tab = new_tab()
    run = Run(tab.page, studio.address)
    run.open(f"/runs/{job}")
    run.is_in("finished")
    run.side("Use")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    tab.page.get_by_label("Picture").set_input_files(str(broken))
    run.sees("This is not a picture")
    tab.page.get_by_label("Picture").set_input_files(str(draw(tmp_path / "red.png", "red", (2000, 1500))))
    expect(tab.page.get_by_alt_text("The picture that goes with the message")).to_be_visible()
    tab.page.get_by_label("Your message").fill("Which colour?")
    run.press("Send")
    expect(tab.page.get_by_alt_text("A picture")).to_have_count(2)
    for side in ("Base model", "Tuned model"):
        answer = tab.page.get_by_label(side).locator(".bubble.model")
        expect(answer).not_to_have_text("…")
        assert "[" not in (answer.text_content() or "")[:1], answer.text_content()
    tab.check(studio.address)
    end(studio)
