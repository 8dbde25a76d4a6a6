"""What tasks have in common where they say nothing else, and the tasks that learn the next token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from burnish.data.batching.batches import collate_tokens
from burnish.data.rows.records import ChatRecord, TextRecord
from burnish.data.rows.row import IGNORED, EncodedRow, Example, RowError
from burnish.metrics.measure import value
from burnish.models.heads import ALL_LOGITS, CAUSAL
from burnish.recipe.schema import ModelSection, Recipe
from burnish.tasks import make_task, task_names, task_sections, writes_text
from burnish.tasks.defaults import (
    EncoderDefaults,
    ObjectiveDefaults,
    PerplexityScorer,
    PredictorDefaults,
    ScorerDefaults,
    split_answer,
)
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Question, Segment
from tests.tiny_models import CONTEXT, make_network


class Lengths(EncoderDefaults):
    """Refuses what is too long."""

    def encode(self, record: Any, context: int) -> EncodedRow:
        if len(record) > context:
            raise RowError("too long")
        return EncodedRow([record], 0)


def test_an_encoder_that_says_nothing() -> None:
    encoder = Lengths()
    assert (encoder.can_pack, encoder.cut_from) == (False, "from the left of their prompts")
    assert encoder.notes == encoder.notes_on({"user.mood"}) == encoder.held_out_remarks([1]) == []
    first, refused, last = encoder.encode_all(["a", "abc", "b"], 2)
    assert (first, last) == (EncodedRow(["a"], 0), EncodedRow(["b"], 0))
    assert (str(refused), getattr(refused, "__traceback__", 0)) == ("too long", None)
    with pytest.raises(NotImplementedError):
        EncoderDefaults().encode("a", 2)


def test_the_first_token_is_never_learned() -> None:
    example = Example([5, 6, 7, 8], [5, 6, IGNORED, 8], "a:1")
    assert EncoderDefaults().segments(example) == [Segment("", [5, 6, 7, 8], [False, True, False, True])]


def test_an_objective_that_says_nothing() -> None:
    objective, examples = ObjectiveDefaults(), [object()]
    assert (objective.head, objective.step_rows, objective.rate_factor) == (CAUSAL, 0, 1.0)
    assert (objective.inspect_model(None), objective.frozen_modules(None), objective.units(None)) == ([], (), {})
    assert objective.prepare_examples(None, examples, [], "fp32") is examples
    assert objective.placeholder_examples(examples) is examples


def test_a_scorer_that_says_nothing() -> None:
    scorer, none = ScorerDefaults(), EvaluatedExamples([], [], [], numpy.zeros(0), numpy.zeros(0))
    assert (scorer.headline, scorer.compares_answers) == ("loss", True)
    assert (scorer.measures(none), scorer.chance_loss(none), scorer.tables(none)) == ([], None, [])
    assert (scorer.remark(none), scorer.describe(None, None)) == ("", None)


def test_perplexity_is_all_that_is_said_of_generated_text(tiny_tokenizer: Any) -> None:
    objective = make_task("text", tiny_tokenizer, Recipe()).objective
    scorer, network = PerplexityScorer(objective), make_network("llama")
    batch = collate_tokens([Example([5, 6, 7], [5, 6, 7], "a:1")], [[0]], pad_id=0, packed=False)
    with torch.no_grad():
        outcome = scorer.evaluate_batch(network, batch)
        assert torch.equal(outcome.losses, objective.losses(network, batch))
    assert outcome.outputs == []
    evaluated = EvaluatedExamples([None], [0], [None], numpy.array([4.0]), numpy.array([2]))
    (measure,) = scorer.measures(evaluated)
    assert (measure.name, value(measure)) == ("perplexity", pytest.approx(numpy.exp(2)))


class Asks(PredictorDefaults):
    """Asks the record."""

    def question(self, record: Any) -> Question | None:
        return Question([1, 2], "a", "b", "a:1") if record else None


def test_a_predictor_that_says_nothing(tmp_path: Path) -> None:
    predictor = PredictorDefaults()
    assert (predictor.stop_ids, predictor.prompt_inputs("a"), predictor.num_cut("a " * 9999)) == ([], None, 0)
    assert (predictor.visible_ids([1, 2]), predictor.answer_text(" a ")) == ([1, 2], " a ")
    assert (predictor.question(None), predictor.served_prompts(None)) == (None, [])
    assert (Asks().served_prompts("row"), Asks().served_prompts("")) == ([[1, 2]], [])
    predictor.save_extras(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for ask in (predictor.prompt_ids, lambda prompt: predictor.respond(None, prompt)):
        with pytest.raises(TypeError, match="PredictorDefaults"):
            ask("a")


@pytest.mark.parametrize(
    ("labels", "start"),
    [
        ([IGNORED, IGNORED, 7, 8], 2),
        ([5, IGNORED, 7, IGNORED], 4),
        ([5, IGNORED, 7, 8], 2),
        ([IGNORED, IGNORED, IGNORED, 8], 3),
        ([5, 6, 7, 8], 0),
    ],
)
def test_the_answer_is_what_is_labelled_at_the_end(labels: list[int], start: int) -> None:
    ids = [5, 6, 7, 8]
    expected = (ids[:start], ids[start:])
    assert split_answer(ids, labels) == expected
    assert PredictorDefaults().trained_prompt(None, Example(ids, labels, "a:1")) == expected
    assert split_answer([], []) == ([], [])


def test_the_output_layer_is_computed_where_tokens_are_learned(tiny_tokenizer: Any) -> None:
    """Unless the kernels are plain, or the model's own logits are others."""
    network = make_network("llama")
    calls: list[Any] = []
    network.lm_head.register_forward_hook(lambda *given: calls.append(given))
    batch = collate_tokens([Example([5, 6, 7], [5, 6, 7], "a:1")], [[0]], pad_id=0, packed=False)

    def objective_of(kernels: Any) -> Any:
        return make_task("text", tiny_tokenizer, Recipe(model=ModelSection(kernels=kernels))).objective

    def num_calls(objective: Any) -> int:
        calls.clear()
        objective.losses(network, batch)
        return len(calls)

    fast, plain = objective_of("fast"), objective_of("plain")
    assert (num_calls(fast), num_calls(plain)) == (0, 1)
    assert fast.inspect_model(network) == plain.inspect_model(network) == []
    assert (num_calls(fast), num_calls(plain)) == (0, 1)

    def tripled(module: Any, given: Any, output: Any) -> Any:
        output.logits = 3 * output.logits
        return output

    network.register_forward_hook(tripled)
    assert fast.inspect_model(network) == [ALL_LOGITS]
    assert plain.inspect_model(network) == []
    assert num_calls(fast) == 1
    assert fast.inspect_model(network) == [], "said once"


# Text


def test_a_text_is_asked_for_from_its_beginning(tiny_tokenizer: Any) -> None:
    task = make_task("text", tiny_tokenizer, Recipe())
    ids = tiny_tokenizer("the fox")["input_ids"]
    end = tiny_tokenizer.eos_token_id
    for ends in (True, False):
        record = TextRecord("the fox", ends, "a:1")
        row = task.encoder.encode(record, CONTEXT)
        (example,) = row.examples
        assert row.truncated_tokens == 0
        assert list(example.input_ids) == [*ids, *[end] * ends]
        assert task.predictor.trained_prompt(record, example) == (ids, [end] * ends)
        batch = task.encoder.collate([example, example], [[0, 1]], True, None)
        assert batch.input_ids.tolist() == [[*example.input_ids, *example.input_ids]]
        assert task.predictor.served_prompts(record) == [task.predictor.prompt_ids("the fox")] == [ids]
    assert task.predictor.stop_ids == [end]
    tiny_tokenizer.eos_token = None
    assert make_task("text", tiny_tokenizer, Recipe()).predictor.stop_ids == []


# Chat


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def chat(*messages: dict[str, Any], tools: Any = None) -> ChatRecord:
    return ChatRecord(messages, tools, "a:1")


def test_the_last_answer_is_asked_for(tiny_tokenizer: Any) -> None:
    predictor = make_task("chat", tiny_tokenizer, Recipe()).predictor
    earlier = [turn("user", "Who?"), turn("assistant", "Anna."), turn("user", "Sure?")]
    record = chat(*earlier, turn("assistant", "<think>\nHm.\n</think>\n\n Yes. "))
    question = predictor.question(record)
    assert question is not None
    assert (question.prompt, question.answer, question.place) == ("Sure?", "Yes.", "a:1")
    assert question.prompt_ids == predictor.prompt_ids(earlier)
    assert predictor.served_prompts(record) == [question.prompt_ids, question.prompt_ids]
    encoder = make_task("chat", tiny_tokenizer, Recipe()).encoder
    (example,) = encoder.encode(record, 2 * CONTEXT).examples
    assert encoder.collate([example], [[0]], False, None).input_ids.tolist() == [list(example.input_ids)]
    assert predictor.prompt_ids("Who?") == predictor.prompt_ids([turn("user", "Who?")])
    lone = predictor.question(chat(turn("user", ""), turn("assistant", "Hello.")))
    assert lone is not None
    assert lone.prompt == ""


def test_calls_and_turns_of_others_are_no_answers(tiny_tokenizer: Any) -> None:
    predictor = make_task("chat", tiny_tokenizer, Recipe()).predictor
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    for last in (
        turn("assistant", "I will.", tool_calls=[call]),
        turn("assistant", None),
        turn("user", "And?"),
    ):
        record = chat(turn("user", "Who?"), last)
        assert predictor.question(record) is None
        assert predictor.served_prompts(record) == []


def test_tools_are_in_the_prompt_of_evaluation_and_of_a_user(tiny_tokenizer: Any) -> None:
    predictor = make_task("chat", tiny_tokenizer, Recipe()).predictor
    tool = {"type": "function", "function": {"name": "red", "parameters": {"type": "object", "properties": {}}}}
    messages = (turn("user", "Who?"), turn("assistant", "Anna."))
    evaluated, asked = predictor.served_prompts(chat(*messages, tools=(tool,)))
    assert evaluated == asked
    assert '"name": "red"' in tiny_tokenizer.decode(asked)
    assert len(predictor.served_prompts(chat(*messages))) == 2


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Hm.</think> Yes. ", "Yes."),
        ("Hm.</think>Yes.", "Yes."),
        ("Write <think> and </think>.", "Write <think> and </think>."),
        (" Yes.\n", "Yes."),
    ],
)
def test_an_answer_is_what_follows_the_thought(text: str, answer: str, tiny_tokenizer: Any) -> None:
    assert make_task("chat", tiny_tokenizer, Recipe()).predictor.answer_text(text) == answer


# The table of tasks


def test_what_is_known_before_a_task_is_loaded() -> None:
    writing = {"preference", "text", "chat", "vision", "text-to-text"}
    assert {name for name in task_names() if writes_text(name)} == writing
    assert not writes_text("no such task")
    assert task_sections("text") == ()
    assert task_sections("chat") == ("template",)
