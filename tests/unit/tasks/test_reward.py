"""The task `reward`: one score for a dialogue, from decoders and encoders."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast

from burnish.data.rows.records import PreferenceRecord
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import InputError
from burnish.metrics.measure import value
from burnish.models.heads import Head
from burnish.recipe.schema import DataSection, Recipe
from burnish.tasks import make_task
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Segment
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_pairs import one_each

ASKED = ({"role": "user", "content": "Which colour has the fox?"},)
PAIR = PreferenceRecord(
    ASKED, ({"role": "assistant", "content": "It is red."},), ({"role": "assistant", "content": "No."},), None, "a:1"
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "which", "colour", "has", "the", "fox", "it", "is", "red", "no", ".", "?"]


def make_reward(tokenizer: Any, context: int = CONTEXT) -> Any:
    return make_task("reward", tokenizer, Recipe(data=DataSection(context=context)))


def bert_tokenizer() -> Any:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def scoring_network(layout: str = "llama") -> Any:
    torch.manual_seed(0)
    config = make_network(layout).config
    config.num_labels = 1
    return AutoModelForSequenceClassification.from_config(config).float().eval()


def bert_network() -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        pad_token_id=0, initializer_range=0.25,
    )  # fmt: skip
    config.num_labels = 1
    return AutoModelForSequenceClassification.from_config(config).eval()


def shorter(content: str) -> PreferenceRecord:
    return replace(PAIR, prompt=({"role": "user", "content": content},), place="a:2")


def evaluated_by(task: Any, network: Any, examples: list[Any], size: int | None = None) -> EvaluatedExamples:
    return evaluate_rows(
        network, task, HeldOut(one_each(task, examples, size), examples, list(range(len(examples)))), "fp32"
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_padding_changes_no_score(kind: str, tiny_tokenizer: Any) -> None:
    tokenizer, network = (
        (bert_tokenizer(), bert_network()) if kind == "bert" else (tiny_tokenizer, scoring_network(kind))
    )
    task = make_reward(tokenizer)
    examples = [
        example for record in (PAIR, shorter("fox?")) for example in task.encoder.encode(record, CONTEXT).examples
    ]
    together, alone = evaluated_by(task, network, examples), evaluated_by(task, network, examples, 1)
    assert len({score for output in together.outputs for score in output}) == 4
    for one, other in zip(together.outputs, alone.outputs, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_the_loss_and_the_figures(tiny_tokenizer: Any) -> None:
    task, network = make_reward(tiny_tokenizer), scoring_network()
    examples = [
        example for record in (PAIR, shorter("The fox")) for example in task.encoder.encode(record, CONTEXT).examples
    ]
    evaluated = evaluated_by(task, network, examples)
    margins = torch.tensor([better - worse for better, worse in evaluated.outputs])
    assert evaluated.sums.tolist() == pytest.approx(torch.log1p(torch.exp(-margins)).tolist(), rel=1e-5)
    result = {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}
    assert result == {
        "accuracy": pytest.approx((margins > 0).float().mean().item()),
        "margin": pytest.approx(margins.mean().item(), rel=1e-5),
    }
    assert task.scorer.headline in result
    prompt, expected, given = task.scorer.describe(examples[0], evaluated.outputs[0])
    assert (prompt, expected) == ("Which colour has the fox?", "It is red.")
    assert f"{evaluated.outputs[0][0]:+.3f}" in given


def test_a_decoder_reads_the_rendered_dialogues(tiny_tokenizer: Any) -> None:
    (example,) = make_reward(tiny_tokenizer).encoder.encode(PAIR, CONTEXT).examples
    assert tiny_tokenizer.decode(example.chosen.input_ids).endswith("It is red.<|im_end|>")
    assert example.num_tokens == len(example.chosen.input_ids) + len(example.rejected.input_ids)


def test_an_encoder_without_a_template_reads_a_pair_of_texts() -> None:
    task = make_reward(bert_tokenizer())
    (example,) = task.encoder.encode(PAIR, CONTEXT).examples
    assert [WORDS[token] for token in example.rejected.input_ids][-5:] == ["?", "[SEP]", "no", ".", "[SEP]"]
    assert example.rejected.token_types[-4:] == [0, 1, 1, 1]


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_long_prompts_are_cut_from_the_left(kind: str, tiny_tokenizer: Any) -> None:
    task = make_reward(tiny_tokenizer if kind == "decoder" else bert_tokenizer())
    whole = task.encoder.encode(PAIR, CONTEXT).examples[0]
    room = len(whole.chosen.input_ids) - 3
    row = task.encoder.encode(PAIR, room)
    (cut,) = row.examples
    assert row.truncated_tokens == 3
    assert len(cut.chosen.input_ids) == room
    assert cut.chosen.input_ids[-5:] == whole.chosen.input_ids[-5:]
    assert max(len(one.input_ids) for one in (task.encoder.encode(PAIR, 8).examples[0].chosen, cut.chosen)) <= room


@pytest.mark.parametrize(
    "prompt",
    [
        json.dumps([*ASKED, PAIR.chosen[0]]),
        json.dumps({"messages": [*ASKED, PAIR.chosen[0]]}),
        json.dumps({"prompt": "Which colour has the fox?", "response": "It is red."}),
        "\n\nHuman: Which colour has the fox?\n\nAssistant: It is red.",
    ],
)
def test_a_dialogue_is_scored_as_in_training(prompt: str, tiny_tokenizer: Any) -> None:
    task, network = make_reward(tiny_tokenizer), scoring_network()
    evaluated = evaluated_by(task, network, task.encoder.encode(PAIR, CONTEXT).examples)
    with torch.no_grad():
        assert float(task.predictor.respond(network, prompt)) == pytest.approx(evaluated.outputs[0][0], abs=6e-4)


def test_any_other_text_is_scored_as_it_stands(tiny_tokenizer: Any) -> None:
    task, network = make_reward(tiny_tokenizer), scoring_network()
    with torch.no_grad():
        scores = {task.predictor.respond(network, text) for text in ("The red fox.", "[not JSON", '{"no": "dialogue"}')}
    assert len(scores) == 3
    with pytest.raises(InputError, match="cannot be scored"):
        task.predictor.respond(network, json.dumps(list(ASKED)))


def test_rows_of_a_text_and_of_a_question_with_its_answer_are_scored(tiny_tokenizer: Any) -> None:
    task, network = make_reward(tiny_tokenizer), scoring_network()
    question, answer = ASKED[0]["content"], PAIR.chosen[0]["content"]
    dialogue = json.dumps({"prompt": question, "response": answer})
    with torch.no_grad():
        alone, pair = (task.predictor.predict(network, [row])[0] for row in (["The red fox."], [question, answer]))
        expected = [float(task.predictor.respond(network, text)) for text in ("The red fox.", dialogue)]
    assert [alone, pair] == pytest.approx(expected, abs=6e-4)


def test_the_head_is_trained_under_an_adapter(tiny_tokenizer: Any) -> None:
    from burnish.methods import make_method
    from burnish.models.heads import Target
    from burnish.recipe.schema import LoraSection

    task = make_reward(tiny_tokenizer)
    target = Target(task.objective.head.peft_type, ("score",))
    network = make_method("lora").apply(scoring_network(), Recipe(lora=LoraSection(rank=4)), target)
    (batch,) = one_each(task, task.encoder.encode(PAIR, CONTEXT).examples)
    task.objective.losses(network, batch).sum().backward()
    trained = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert any("score" in name for name in trained)
    assert any("lora_B" in name for name in trained)


def test_both_dialogues_are_in_a_batch_the_better_one_first(tiny_tokenizer: Any) -> None:
    task = make_reward(tiny_tokenizer)
    examples = [task.encoder.encode(one, CONTEXT).examples[0] for one in (PAIR, shorter("fox?"))]
    batch = task.encoder.collate(examples, [[1], [0]], False, None)
    assert len(batch.input_ids) == 4
    assert batch.inputs["attention_mask"].sum(1).tolist() == [
        len(read.input_ids) for index in (1, 0) for read in (examples[index].chosen, examples[index].rejected)
    ]
    assert (batch.examples, batch.owners.tolist(), batch.num_trained) == ((1, 0), [1, 0], 2)
    assert batch.num_tokens == sum(example.num_tokens for example in examples)
    assert (batch.targets.numel(), batch.places.numel()) == (0, 0)
    assert examples[0].num_trained == 1
    chosen, rejected = examples[0].chosen.input_ids, examples[0].rejected.input_ids
    assert task.encoder.segments(examples[0]) == [
        Segment("chosen", chosen, [False] * len(chosen), "learned: a higher score"),
        Segment("rejected", rejected, [False] * len(rejected), "learned: a lower score"),
    ]


def test_the_last_turns_are_shown(tiny_tokenizer: Any) -> None:
    earlier = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."})
    longer = replace(PAIR, prompt=(*earlier, *ASKED))
    (example,) = make_reward(tiny_tokenizer).encoder.encode(longer, 2 * CONTEXT).examples
    assert (example.question, example.answer) == ("Which colour has the fox?", "It is red.")


def test_figures_by_hand(tiny_tokenizer: Any) -> None:
    scorer = make_reward(tiny_tokenizer).scorer

    def figures(outputs: list[Any]) -> dict[str, float]:
        ones = torch.ones(len(outputs)).numpy()
        evaluated = EvaluatedExamples([None] * len(outputs), range(len(outputs)), outputs, ones, ones.astype(int))
        return {measure.name: value(measure) for measure in scorer.measures(evaluated)}

    assert figures([(3.0, 1.0), (1.0, 1.0), None, (0.0, 2.0), (5.0, 1.0)]) == {"accuracy": 2.5 / 4, "margin": 1.0}
    assert figures([]) == {"accuracy": 0.0, "margin": 0.0}
    (accuracy, margin) = scorer.measures(EvaluatedExamples([], [], [], torch.ones(0).numpy(), torch.ones(0).numpy()))
    assert (accuracy.is_share, margin.is_share) == (True, False)
    assert scorer.describe(make_reward(tiny_tokenizer).encoder.encode(PAIR, CONTEXT).examples[0], (1.25, -0.5)) == (
        "Which colour has the fox?",
        "It is red.",
        "scores +1.250, the worse answer -0.500",
    )


def test_the_head_has_one_output(tiny_tokenizer: Any) -> None:
    config = {"num_labels": 1, "ignore_mismatched_sizes": True}
    assert make_reward(tiny_tokenizer).objective.head == Head("AutoModelForSequenceClassification", "SEQ_CLS", config)
