"""A run that is finished: listed, shown, evaluated, asked and talked with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import burnish as burnish_api
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import SHORT, Burnish
from tests.tiny_classifiers import reviews, save_reader


def test_runs_and_show(runs: Path, burnish: Burnish) -> None:
    result = burnish("runs")
    lines = {line.split()[0]: line for line in result.out.splitlines()[1:]}
    assert lines.keys() == {"whole", "stopped"}
    assert "finished" in lines["whole"]
    assert "4/4" in lines["whole"]
    assert "can be resumed" in lines["stopped"]
    assert "2/4" in lines["stopped"]
    by_name, by_path = burnish("show whole"), burnish("show runs/whole")
    assert by_name == by_path
    assert "4 of 4" in by_name.out
    assert "burnish chat runs/whole" in by_name.out


def test_evaluate_again_gives_the_same_figures(runs: Path, burnish: Burnish) -> None:
    file = runs / "whole" / "evaluation.json"
    at_the_end = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    result = burnish("evaluate whole --answers 0 --json")
    assert result.code == 0, result.err
    again = json.loads(file.read_text(encoding="utf-8"))
    assert again == {name: result.json[name] for name in result.json.keys() - {"warnings", "notes"}}
    assert (again["split"], again["rows"]) == (at_the_end["split"], at_the_end["rows"]) == ("test", 8)
    for name in ("base", "tuned"):
        first, second = (figures["figures"][0][name]["value"] for figures in (at_the_end, again))
        assert second == pytest.approx(first, rel=1e-5)
    assert "is better than the base" in again["verdict"]


def test_evaluate_on_other_rows(runs: Path, here: Path, rows_file: Path, burnish: Burnish) -> None:
    before = (runs / "whole" / "evaluation.json").read_bytes()
    rows = [{"question": f"Who is {number}?", "answer": f"It is blue, {number}."} for number in range(12)]
    (here / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish("evaluate whole other.jsonl")
    assert result.code == 0, result.err
    assert "On 12 rows (`other.jsonl`):" in result.out
    lines = result.out.splitlines()
    table = lines[lines.index("On 12 rows (`other.jsonl`):") + 1 :]
    assert [line.split()[0] for line in table[:3]] == ["metric", "loss", "perplexity"]
    assert "exact match" in result.out
    assert "were trained on" not in result.err
    assert (runs / "whole" / "evaluation.json").read_bytes() == before


def test_evaluate_on_trained_rows_warns(runs: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"evaluate whole {rows_file} --answers 0")
    assert result.code == 0, result.err
    assert "warning: 24 of the 40 rows were trained on, so the figures flatter the tuned model." in result.err


def test_generate(runs: Path, burnish: Burnish) -> None:
    result = burnish('generate whole "What is red?" "What is blue?" --max-new-tokens 8 --json')
    assert result.code == 0, result.err
    assert [answer["prompt"] for answer in result.json["answers"]] == ["What is red?", "What is blue?"]
    tuned = result.json["answers"][0]["answer"]
    base = burnish('generate whole "What is red?" --max-new-tokens 8 --json --base').json["answers"][0]["answer"]
    assert tuned != base
    assert tuned == burnish_api.load_run("whole").generate("What is red?", max_new_tokens=8)
    assert burnish("generate whole - --max-new-tokens 8", stdin="What is red?\n").out.strip() == tuned
    assert burnish('generate whole "What is red?" --max-new-tokens 8 --quiet').out == f"{tuned}\n"


def test_generate_from_a_base_model_that_is_no_run(
    base: Path, runs: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a base model alone may be loaded in bf16, and the run was trained in fp32
    monkeypatch.setattr("burnish.lineage.opened.choose_precision", lambda wanted, device: ("fp32", ""))
    words = '"What is red?" --max-new-tokens 8 --quiet'
    assert burnish(f"generate {base} {words}").out == burnish(f"generate whole {words} --base").out


def test_temperature_samples(runs: Path, burnish: Burnish) -> None:
    words = 'generate whole "What is red?" --max-new-tokens 12 --quiet'
    greedy = {burnish(words).out for _ in range(2)}
    sampled = {burnish(f"{words} --temperature 3").out for _ in range(2)}
    assert len(greedy) == 1
    assert len(sampled) > 1


def test_chat_in_several_turns(runs: Path, burnish: Burnish) -> None:
    result = burnish("chat whole --max-new-tokens 6 --json", stdin="Hello.\n\nWho is the fox?\n/exit\nNot read.\n")
    assert result.code == 0, result.err
    messages = result.json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    run = burnish_api.load_run("whole")
    assert messages[1]["content"] == run.chat(messages[:1], max_new_tokens=6)
    assert messages[3]["content"] == run.chat(messages[:3], max_new_tokens=6)
    assert messages[3]["content"] != run.chat(messages[2:3], max_new_tokens=6), "the earlier turn is not read"
    plain = burnish("chat whole --max-new-tokens 6 --quiet", stdin="Hello.\nWho is the fox?\n")
    assert plain.out == f"{messages[1]['content']}\n{messages[3]['content']}\n"


def test_chat_with_a_system_message_begun_again_and_with_the_base(runs: Path, burnish: Burnish) -> None:
    said = burnish('chat whole --max-new-tokens 6 --json --system "Be kind."', stdin="Hello.\n/reset\nHello.\n").json
    assert [message["role"] for message in said["messages"]] == ["system", "user", "assistant"]
    tuned, base = (
        burnish(f"chat whole --max-new-tokens 6 --json {flag}", stdin="Hello.\n").json["messages"][1]["content"]
        for flag in ("", "--base")
    )
    assert tuned != base


def test_a_prompt_longer_than_the_context(runs: Path, burnish: Burnish) -> None:
    result = burnish(f"generate whole '{'word ' * 100}' --max-new-tokens 5")
    assert result.code == 0, result.err
    assert "only 59 fit next to an answer: the first " in result.err
    with pytest.warns(UserWarning, match="tokens, and only 59 fit next to an answer"):
        burnish_api.load_run("whole").generate("word " * 100, max_new_tokens=5)
    assert "next to an answer" not in burnish("generate whole Hello --max-new-tokens 5").err


def test_rows_that_are_cut_are_named_in_the_evaluation(runs: Path, here: Path, burnish: Burnish) -> None:
    rows = [{"prompt": f"{'word ' * words}{words}", "completion": "Fine."} for words in (1, 55, 2, 90)]
    (here / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish("evaluate whole long.jsonl")
    assert result.code == 0, result.err
    assert "2 test rows are longer than 64 tokens; " in " ".join(result.err.split())
    note = burnish("evaluate whole long.jsonl --json").json["note"]
    assert re.match(r"2 of the 4 prompts .* their beginning was left out: .*long\.jsonl:2, .*long\.jsonl:4\.$", note)


def test_a_text_longer_than_the_context_of_a_classifier(here: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(40)]
    (here / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    model = save_reader(tmp_path / "bert", "bert")
    sets = {"data.context": 16, "evaluate.general": "none"}
    run = burnish_api.train(here / "reviews.jsonl", model=model, name="short", max_steps=1, device="cpu", set=sets)
    with pytest.warns(UserWarning, match="longer than `data.context` of the run"):
        run.generate("the film was " + "very " * 30 + "good")


def test_the_metrics_agree_with_the_summary(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    """Without a test split the comparison is on the validation rows, and so gives the losses of the validations."""
    assert burnish(f"train {rows_file} --model {base} --name mine --set data.test=none {SHORT}").code == 0
    summary = burnish("show mine --json").json
    validations = read_lines(here / "runs" / "mine" / "metrics.jsonl", "Validated")
    best = min(validations[1:], key=lambda line: line["loss"])
    assert summary["best_step"] == best["step"]
    assert summary["validation_loss_best"] == best["loss"]
    assert summary["validation_loss_before"] == pytest.approx(validations[0]["loss"], rel=1e-5)
    assert summary["evaluation"]["figures"][0]["tuned"]["value"] == pytest.approx(best["loss"], rel=1e-5)
