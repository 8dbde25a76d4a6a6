"""Task `fill-mask`: encoding, batches, loss, figures, and what it says to a user."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.masking import NO_WORD, mask
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import InputError, ModelError
from burnish.metrics.measure import value
from burnish.recipe.schema import DataSection, FillMaskSection, Recipe
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.fill_mask import FILL_MASK
from burnish.tasks.task import Segment, Task
from tests.tiny_architectures import make_encoder_tokenizer, save_architecture
from tests.tiny_models import make_tokenizer

TEXT = "Anna has a red hat and a yellow coat. The old man lives by the river in Rome."


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Network and tokenizer of a tiny BERT."""
    folder = save_architecture("BERT", tmp_path_factory.mktemp("bert"))
    return AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def task_of(tokenizer: Any, **options: Any) -> Task:
    """The task with options of its section."""
    return FILL_MASK.make(tokenizer, Recipe(fill_mask=FillMaskSection(**options)))


def record(text: str = TEXT) -> TextRecord:
    """A text."""
    return TextRecord(text, True, "made.txt:1")


def test_a_long_text_becomes_chunks_that_together_hold_every_token() -> None:
    tokenizer = make_encoder_tokenizer()
    row = task_of(tokenizer).encoder.encode(record(), 16)
    examples = row.examples
    assert row.truncated_tokens == 0
    assert len(examples) > 2
    assert all(example.num_tokens <= 16 for example in examples)
    assert all(example.input_ids[0] == tokenizer.cls_token_id for example in examples)
    inner = [token for example in examples for token in example.input_ids[1:-1]]
    assert inner == tokenizer(TEXT, add_special_tokens=False)["input_ids"]


def test_words_are_those_of_the_tokenizer_or_single_tokens() -> None:
    tokenizer = make_encoder_tokenizer()
    whole = task_of(tokenizer).encoder.encode(record(), 96).examples[0]
    single = task_of(tokenizer, whole_words=False).encoder.encode(record(), 96).examples[0]
    assert len(set(whole.words) - {NO_WORD}) < len(set(single.words) - {NO_WORD})
    assert len(set(single.words) - {NO_WORD}) == single.num_tokens - 2
    assert whole.words[0] == whole.words[-1] == single.words[0] == NO_WORD


def test_a_tokenizer_that_knows_no_words_splits_texts_all_the_same(tmp_path: Path) -> None:
    from transformers.models.bert_japanese.tokenization_bert_japanese import BertJapaneseTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghi"]
    (tmp_path / "vocab.txt").write_text("\n".join(names), encoding="utf-8")
    tokenizer = BertJapaneseTokenizer(
        str(tmp_path / "vocab.txt"), word_tokenizer_type="basic", subword_tokenizer_type="character"
    )
    with pytest.raises(ModelError, match="which tokens make up a word") as caught:
        task_of(tokenizer)
    assert "fill_mask.whole_words=false" in caught.value.fix
    encoder = task_of(tokenizer, whole_words=False).encoder
    examples = encoder.encode(record("abc def ghi"), 6).examples
    spelled = ["".join(names[token] for token in example.input_ids) for example in examples]
    assert spelled == ["[CLS]abcd[SEP]", "[CLS]efgh[SEP]", "[CLS]i[SEP]"]
    assert [example.words for example in examples] == [[NO_WORD, 1, 2, 3, 4, NO_WORD]] * 2 + [[NO_WORD, 1, NO_WORD]]
    assert len(encoder.encode(record("abcd"), 6).examples) == 1
    assert encoder.encode(record("\u200b"), 6).examples == []


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(RowError, match="the text is empty"):
        task_of(make_encoder_tokenizer()).encoder.encode(record(" \n"), 16)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(ModelError, match="no mask token"):
        task_of(make_tokenizer())


def test_epochs_hide_other_words_and_evaluation_always_the_same() -> None:
    task = task_of(make_encoder_tokenizer())
    examples = [
        *task.encoder.encode(record(), 96).examples,
        *task.encoder.encode(record("The red hat of Anna."), 96).examples,
    ]
    first, again, other, evaluated, evaluated_again = (
        task.encoder.collate(examples, [[0], [1]], False, epoch) for epoch in (0, 0, 1, None, None)
    )
    assert torch.equal(first.input_ids, again.input_ids)
    assert torch.equal(evaluated.targets, evaluated_again.targets)
    assert not torch.equal(first.targets, other.targets)
    assert not torch.equal(first.targets, evaluated.targets)


def test_a_word_is_never_replaced_by_a_special_token() -> None:
    tokenizer: Any = make_encoder_tokenizer()
    task = task_of(tokenizer, share=0.9)
    examples = task.encoder.encode(record(), 96).examples
    replacements = set()
    for epoch in range(20):
        batch = task.encoder.collate(examples, [[0]], False, epoch)
        is_replaced = (batch.targets != IGNORED) & (batch.input_ids != batch.targets)
        replacements |= set(batch.input_ids[is_replaced].tolist())
    assert len(replacements - {tokenizer.mask_token_id}) > 5
    assert replacements & set(tokenizer.all_special_ids) == {tokenizer.mask_token_id}


def test_padding_changes_no_loss_and_terms_belong_to_their_example(bert: tuple[Any, Any]) -> None:
    network, tokenizer = bert
    network.eval()
    task = task_of(tokenizer)
    texts = (TEXT, "The red hat of Anna.", "Rome is old.")
    examples = [example for text in texts for example in task.encoder.encode(record(text), 96).examples]
    with torch.no_grad():
        together = task.encoder.collate(examples, [[2], [0], [1]], False, None)
        losses = task.objective.losses(network, together)
        assert len(losses) == together.num_trained == int((together.targets != IGNORED).sum())
        for index in range(3):
            alone = task.objective.losses(network, task.encoder.collate(examples, [[index]], False, None))
            torch.testing.assert_close(losses[together.owners == index], alone, rtol=1e-4, atol=1e-5)


def test_guesses_are_counted_over_all_hidden_tokens(bert: tuple[Any, Any]) -> None:
    network, tokenizer = bert
    task = task_of(tokenizer, share=0.5)
    examples = task.encoder.encode(record(), 20).examples
    batches = [task.encoder.collate(examples, [[index]], False, None) for index in range(len(examples))]
    evaluated = evaluate_rows(network, task, HeldOut(batches, examples, [0] * len(examples)), "fp32")
    perplexity, guessed = task.scorer.measures(evaluated)
    right = total = 0
    with torch.no_grad():
        for batch in batches:
            hidden = batch.targets != IGNORED
            right += int((network(**batch.inputs).logits.argmax(-1) == batch.targets)[hidden].sum())
            total += int(hidden.sum())
    assert value(guessed) == pytest.approx(right / total)
    assert value(perplexity) == pytest.approx(torch.tensor(value(evaluated.loss())).exp().item())
    prompt, expected, given = task.scorer.describe(examples[0], evaluated.outputs[0])
    assert tokenizer.mask_token in prompt
    assert len(expected.split()) > 0
    assert given


def test_it_fills_in_and_says_what_to_write_where_nothing_is_missing(bert: tuple[Any, Any]) -> None:
    network, tokenizer = bert
    task = task_of(tokenizer)
    with torch.no_grad():
        lines = task.predictor.respond(
            network, f"Anna has a {tokenizer.mask_token} hat and a {tokenizer.mask_token} coat."
        )
        assert len(lines.splitlines()) == 2
        assert [line.count("(0.") for line in lines.splitlines()] == [5, 5], "the five most likely words of each"
        shares = [float(word.rpartition("(")[2]) for word in lines.splitlines()[0].replace(")", "").split(", ")]
        assert shares == sorted(shares, reverse=True)
        with pytest.raises(InputError, match="nothing to fill in") as caught:
            task.predictor.respond(network, "Anna has a hat.")
    assert tokenizer.mask_token in caught.value.fix


def test_a_model_without_token_types_fills_in(bert: tuple[Any, Any]) -> None:
    network, tokenizer = bert[0], copy.deepcopy(bert[1])
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]

    class Bare(torch.nn.Module):
        """Takes ids and a mask alone."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.inner(input_ids=input_ids, attention_mask=attention_mask)

    assert "token_type_ids" in tokenizer("a")
    with torch.no_grad():
        assert task_of(tokenizer).predictor.respond(Bare().eval(), f"A {tokenizer.mask_token} hat.")


def test_a_long_text_is_filled_in_part_by_part(bert: tuple[Any, Any]) -> None:
    """As it is split in training: a model has no positions for more than its context."""
    network, tokenizer = bert
    task = FILL_MASK.make(tokenizer, Recipe(data=DataSection(context=16)))
    mask_token = tokenizer.mask_token
    text = f"A {mask_token} hat. {'The old man lives by the river in Rome. ' * 30}{mask_token} is {mask_token}."
    widths: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, given, named: widths.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    with torch.no_grad():
        lines = task.predictor.respond(network, text).splitlines()
    handle.remove()
    assert len(lines) == 3
    parts = [ids for ids, _ in task.encoder.parts(text, 16) if tokenizer.mask_token_id in ids]
    assert widths == [len(ids) for ids in parts], "parts without a mask are not computed"
    assert widths[0] == 16


def test_a_batch_hides_what_fills_it_up() -> None:
    tokenizer: Any = make_encoder_tokenizer()
    task = task_of(tokenizer, share=0.5)
    examples = [task.encoder.encode(record(text), 96).examples[0] for text in ("Rome.", TEXT)]
    batch = task.encoder.collate(examples, [[1], [0]], False, 0)
    long, short = examples[1].num_tokens, examples[0].num_tokens
    assert batch.inputs["attention_mask"].tolist() == [[1] * long, [1] * short + [0] * (long - short)]
    assert (batch.input_ids[1, short:] == tokenizer.pad_token_id).all()
    assert (batch.targets[1, short:] == IGNORED).all()
    assert (batch.examples, batch.num_tokens) == ((1, 0), long + short)
    assert batch.owners.tolist() == [1] * int((batch.targets[0] != IGNORED).sum()) + [0] * int(
        (batch.targets[1] != IGNORED).sum()
    )


def test_evaluation_has_the_first_draw_and_the_epochs_those_after_it() -> None:
    """So a run hides the same words as before, whatever is done in between."""
    tokenizer: Any = make_encoder_tokenizer()
    task = task_of(tokenizer, share=0.3)
    examples = task.encoder.encode(record(), 96).examples
    ordinary = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids]
    for epoch, draw in ((None, 0), (0, 1), (1, 2)):
        ids, targets = mask(examples[0], tokenizer.mask_token_id, ordinary, (0, draw, 0))
        batch = task.encoder.collate(examples, [[0]], False, epoch)
        assert batch.input_ids.tolist() == [ids.tolist()]
        assert batch.targets.tolist() == [targets.tolist()]


def test_the_words_that_may_be_hidden_are_shown() -> None:
    tokenizer: Any = make_encoder_tokenizer()
    task = task_of(tokenizer, share=0.25)
    (example,) = task.encoder.encode(record("Rome."), 96).examples
    expected = [token not in tokenizer.all_special_ids for token in example.input_ids]
    note = "25 % of these words are hidden, different ones in each epoch"
    assert task.encoder.segments(example) == [Segment("", example.input_ids, expected, note)]


def test_an_example_in_words_and_the_share_that_is_guessed() -> None:
    tokenizer: Any = make_encoder_tokenizer()
    task = task_of(tokenizer)
    ids = tokenizer("Rome", add_special_tokens=False)["input_ids"]
    shown = [tokenizer.cls_token_id, *ids, tokenizer.mask_token_id, tokenizer.sep_token_id]
    gold, given = ids[:1], ids[-1:]
    prompt, hidden, guessed = task.scorer.describe(None, (shown, gold, given))
    assert prompt == tokenizer.decode([*ids, tokenizer.mask_token_id])
    assert (hidden, guessed) == (tokenizer.decode(gold).strip(), tokenizer.decode(given).strip())
    outputs = [(shown, [7, 8], [7, 9]), (shown, [5], [5]), (shown, [], []), (shown, [5], [6])]
    evaluated = EvaluatedExamples([None] * 4, [0, 0, 1, 2], outputs, numpy.ones(4), numpy.array([2, 1, 0, 1]))
    _, share = task.scorer.measures(evaluated)
    assert (share.name, share.table.tolist()) == ("hidden tokens guessed", [[2.0, 3.0], [0.0, 1.0]])
    assert value(share) == 0.5


def test_what_a_batch_outputs(bert: tuple[Any, Any]) -> None:
    network, tokenizer = bert
    network.eval()
    task = task_of(tokenizer, share=0.3)
    examples = [task.encoder.encode(record(text), 96).examples[0] for text in (TEXT, "Rome.")]
    batch = task.encoder.collate(examples, [[0], [1]], False, None)
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
        best = network(**batch.inputs).logits.argmax(-1)
        torch.testing.assert_close(outcome.losses, task.objective.losses(network, batch))
    for row, (shown, gold, given) in enumerate(outcome.outputs):
        hidden = batch.targets[row] != IGNORED
        assert shown == batch.input_ids[row, : examples[row].num_tokens].tolist()
        assert (gold, given) == (batch.targets[row][hidden].tolist(), best[row][hidden].tolist())


def test_the_folder_of_a_run_is_found_again(tmp_path: Path) -> None:
    """Through training, by LoRA and in full: text and an encoder make the task by themselves."""
    from burnish.workflows.run import load_run
    from burnish.workflows.train import train
    from tests.architecture_table import rows_for
    from tests.tiny_data import make_recipe

    model = save_architecture("ModernBERT", tmp_path / "model")
    for method in ("lora", "full"):
        recipe = make_recipe(rows_for("text", tmp_path), model, tmp_path / "runs", method=method, train__max_steps=2)
        run = train(recipe)
        assert run.summary["recipe"]["task"] == "fill-mask"
        assert len(load_run(str(run.path)).generate("Anna has 3 [MASK] hats.").split(",")) == 5
