"""The span task: windows, the search for the best span, its loss, and answers over several windows."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForQuestionAnswering, BertConfig, PreTrainedTokenizerFast

from burnish.data.rows.records import SpanRecord
from burnish.data.rows.row import RowError
from burnish.data.spans.windows import SpanFormat, Window
from burnish.errors import DataError, InputError, ModelError, RecipeError
from burnish.methods import make_method
from burnish.metrics.measure import value
from burnish.models.heads import Head, Target
from burnish.recipe.schema import DataSection, LoraSection, Recipe, SpanSection
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.span import SPAN, Found, best_spans
from burnish.tasks.task import Segment, Task

SENTENCE = "who where what is the old man cat met lives in rome paris and then"
WORDS = [*SENTENCE.split(), *"abcdefghijklmn.,?"]
CONTEXT = "The cat met the old man . The old man lives in Rome , and the cat lives in Paris ."


def make_bert_tokenizer():
    """WordPiece without accents or capitals, as BERT's: `[CLS] a [SEP] b [SEP]` with token types."""
    vocabulary = {
        word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "cafe", "##s"])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture(scope="module")
def tokenizer():
    return make_bert_tokenizer()


def read_as(
    answer: str | None = "Rome", context: str = CONTEXT, question: str = "Where is the old man ?"
) -> SpanRecord:
    answers = () if answer is None else ((context.index(answer), answer),)
    return SpanRecord(context, question, answers, "a.json:3")


def make_task(tokenizer, stride: int = 4, context: int = 20, **options) -> Task:
    span = SpanSection(stride=stride, **{"unanswerable": True, **options})
    return SPAN.make(tokenizer, Recipe(data=DataSection(context=context), span=span))


def make_network(tokenizer, seed: int = 0):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    return AutoModelForQuestionAnswering.from_config(config).float().eval()


def all_in_one(task: Task, windows):
    return task.encoder.collate(windows, [[index] for index in range(len(windows))], False, None)


# Windows.


def test_windows_are_those_of_the_tokenizer(tokenizer) -> None:
    record = read_as(context=f"{CONTEXT} {CONTEXT}")
    own = tokenizer(
        record.question, record.context, truncation="only_second", max_length=20, stride=4,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    windows = SpanFormat(tokenizer, 4).encode(record, 20)
    assert len(windows) > 3
    assert [window.input_ids for window in windows] == own["input_ids"]
    assert [window.token_types for window in windows] == own["token_type_ids"]
    for number, window in enumerate(windows):
        places = [own["offset_mapping"][number][at] for at, part in enumerate(own.sequence_ids(number)) if part == 1]
        assert window.characters.tolist() == [list(place) for place in places]


def test_a_window_holds_the_answer_whole_or_points_at_cls(tokenizer) -> None:
    windows = SpanFormat(tokenizer, 4).encode(read_as("old man lives"), 18)
    inside = [window for window in windows if "old man lives" in window.text]
    assert [window.cut(window.first, window.last) for window in inside] == ["old man lives"] * len(inside)
    outside = [window for window in windows if "old man lives" not in window.text]
    assert inside
    assert outside
    assert {(window.first, window.last, window.nothing) for window in outside} == {(0, 0, 0)}
    assert {window.place for window in windows} == {"a.json:3"}
    assert all(window.num_trained == 1 and window.num_tokens <= 18 for window in windows)


def test_a_question_without_an_answer_points_at_cls(tokenizer) -> None:
    (window,) = SpanFormat(tokenizer, 4).encode(read_as(None), 64)
    assert (window.first, window.last) == (0, 0)
    assert window.text == CONTEXT


def test_a_long_stride_shares_half_a_window(tokenizer) -> None:
    one, two = SpanFormat(tokenizer, 1000).encode(read_as(), 20)[:2]
    room = len(one.characters)
    assert (two.characters[0] == one.characters[room - room // 2]).all()


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("The \U0001f469‍\U0001f4bb met \U0001f98a in Zu\u0308rich .", "\U0001f98a"),
        ("The \U0001f469‍\U0001f4bb met \U0001f98a in Zu\u0308rich .", "Zu\u0308rich"),
        ("The \U0001f469‍\U0001f4bb met \U0001f98a in Zürich .", "\U0001f469‍\U0001f4bb"),
        ("Met in the cafe\u0301 .", "cafe\u0301"),
        ("Met in the CAFÉ.", "CAFÉ"),
    ],
)
def test_answers_are_cut_out_character_by_character(tokenizer, tiny_tokenizer, context: str, answer: str) -> None:
    for form in (SpanFormat(tokenizer, 4), SpanFormat(tiny_tokenizer, 4)):
        (window,) = form.encode(read_as(answer, context), 200)
        assert window.first != window.nothing
        assert window.cut(window.first, window.last) == answer


def test_a_decoder_reads_eos_after_question_and_text(tiny_tokenizer) -> None:
    """Its last token has seen everything, and stands for no answer; the space before a word is no part of it."""
    eos = tiny_tokenizer.eos_token_id
    windows = SpanFormat(tiny_tokenizer, 8).encode(read_as("Rome"), 40)
    question = tiny_tokenizer("Where is the old man ?", add_special_tokens=False)["input_ids"]
    assert len(windows) > 1
    for window in windows:
        assert window.input_ids[: window.begin] == [*question, eos]
        assert window.input_ids[-1] == eos
        assert window.nothing == window.num_tokens - 1
        assert window.token_types is None
    found = [window.cut(window.first, window.last) for window in windows if window.first != window.nothing]
    assert set(found) == {"Rome"}


def test_what_cannot_be_read_is_refused(tokenizer) -> None:
    form = SpanFormat(tokenizer, 4)
    with pytest.raises(RowError, match="the question is too long: it takes 32 tokens and leaves room for 0 tokens of"):
        form.encode(read_as(question="is the cat " * 10), 32)
    with pytest.raises(RowError, match="the answer is 13 tokens, and no window of 11 tokens"):
        form.encode(read_as("old man . The old man lives in Rome , and the cat"), 20)
    with pytest.raises(RowError, match="the context has no token"):
        form.encode(read_as(None, context="\u200b"), 20)


def test_a_tokenizer_that_knows_no_characters_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="which characters a token covers"):
        make_task(Slow())


# The search.


def plain_search(starts, ends, allowed, longest):
    """Every span, one by one."""
    best = (float("-inf"), 0, 0)
    for first in range(len(starts)):
        for last in range(first, min(first + longest, len(starts))):
            if allowed[first] and allowed[last] and starts[first] + ends[last] > best[0]:
                best = (starts[first] + ends[last], first, last)
    return best


@pytest.mark.parametrize(("width", "longest"), [(1, 1), (5, 30), (40, 1), (40, 7), (40, 40)])
def test_the_search_finds_what_a_plain_one_finds(width: int, longest: int) -> None:
    generator = torch.Generator().manual_seed(width + longest)
    # Whole numbers make ties, of which the earliest counts.
    starts, ends = (torch.randint(-4, 4, (50, width), generator=generator).float() for _ in range(2))
    allowed = torch.rand((50, width), generator=generator) < 0.6
    allowed[:, 0] = True
    scores, first, last = best_spans(starts, ends, allowed, longest)
    for row in range(50):
        expected = plain_search(starts[row].tolist(), ends[row].tolist(), allowed[row].tolist(), longest)
        assert (scores[row].item(), first[row].item(), last[row].item()) == expected


def test_the_search_is_fast() -> None:
    scores = torch.randn(1000, 384)
    begin = time.process_time()
    best_spans(scores, scores, torch.ones(1000, 384, dtype=torch.bool), 30)
    assert time.process_time() - begin < 5


# Loss and answers.


def test_the_loss_is_that_of_the_paper(tokenizer) -> None:
    """Softmax over the text and [CLS]; the mean of both ends; one term a window."""
    task, network = make_task(tokenizer), make_network(tokenizer)
    windows = task.encoder.encode(read_as("old man"), 20).examples
    losses = task.objective.losses(network, all_in_one(task, windows))
    for window, loss in zip(windows, losses, strict=True):
        output = network(input_ids=torch.tensor([window.input_ids]), token_type_ids=torch.tensor([window.token_types]))
        candidates = [0, *range(window.begin, window.begin + len(window.characters))]
        expected = 0.0
        for logits, target in ((output.start_logits[0], window.first), (output.end_logits[0], window.last)):
            expected -= torch.log_softmax(logits[candidates], 0)[candidates.index(target)].item() / 2
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_padding_changes_nothing(tokenizer) -> None:
    task, network = make_task(tokenizer), make_network(tokenizer)
    windows = [
        *task.encoder.encode(read_as(), 20).examples,
        *task.encoder.encode(read_as("cat", "The cat ."), 20).examples,
    ]
    together = task.scorer.evaluate_batch(network, all_in_one(task, windows))
    for index, window in enumerate(windows):
        alone = task.scorer.evaluate_batch(network, task.encoder.collate([window], [[0]], False, None))
        torch.testing.assert_close(alone.losses[0], together.losses[index], rtol=1e-4, atol=1e-5)
        assert alone.outputs[0].first == together.outputs[index].first
        assert alone.outputs[0].nothing == pytest.approx(together.outputs[index].nothing, rel=1e-3)


def test_a_fresh_adapter_sees_the_token_types(tokenizer) -> None:
    """It changes nothing yet, so the losses are the base's; PEFT's own wrapper for this head drops token types."""
    task, network = make_task(tokenizer), make_network(tokenizer)
    batch = all_in_one(task, task.encoder.encode(read_as(), 20).examples)
    before = task.objective.losses(network, batch).detach()
    target = Target(task.objective.head.peft_type, ("qa_outputs",), tokenizer)
    adapted = make_method("lora").apply(network, Recipe(lora=LoraSection(rank=2)), target).eval()
    torch.testing.assert_close(task.objective.losses(adapted, batch), before)


def test_the_best_span_of_any_window_answers(tokenizer) -> None:
    task = make_task(tokenizer, no_answer_margin=1.0)
    one, two = task.encoder.encode(read_as(), 20).examples[:2]
    at = one.begin
    answer = task.scorer.answer([one, two], [Found(1.0, 9.0, at, at + 1), Found(3.0, 4.0, at, at + 2)])
    assert answer == two.cut(at, at + 2)
    # The lowest score of no answer counts, and has to win by more than the margin.
    assert task.scorer.answer([one, two], [Found(1.0, 9.0, at, at), Found(3.0, 4.1, at, at)]) == ""
    always = make_task(tokenizer, unanswerable=False)
    assert always.scorer.answer([one], [Found(1.0, 9.0, at, at)]) == one.cut(at, at)


def evaluated_of(task: Task, result) -> EvaluatedExamples:
    """Outcomes of one-window questions: (accepted answer or None, answer found or None)."""
    windows, outputs = [], []
    for accepted, given in result:
        (window,) = task.encoder.encode(read_as(accepted), 64).examples
        (at,) = task.encoder.encode(read_as(given or "cat"), 64).examples
        windows.append(window)
        outputs.append(Found(1.0, 0.0 if given else 2.0, at.first, at.last))
    sums = numpy.ones(len(windows))
    return EvaluatedExamples(windows, range(len(windows)), outputs, sums, sums.astype(numpy.int64))


def test_figures_and_table(tokenizer) -> None:
    task = make_task(tokenizer)
    evaluated = evaluated_of(
        task, [("Rome", "Rome"), ("old man lives", "old man"), (None, None), (None, "cat"), ("Paris", None)]
    )
    figures = {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}
    assert figures["exact match"] == pytest.approx(2 / 5)
    assert figures["F1"] == pytest.approx((1 + 0.8 + 1) / 5)
    (table,) = task.scorer.tables(evaluated)
    assert table.columns == ("questions", "number", "answered", "exact match", "F1")
    assert table.rows[0] == ("answerable", 3, 2, pytest.approx(1 / 3), pytest.approx(0.6))
    assert table.rows[1] == ("unanswerable", 2, 1, 0.5, 0.5)
    assert task.scorer.tables(evaluated_of(task, [("Rome", "Rome")])) == []
    assert task.scorer.headline in figures


def test_windows_of_a_question_are_one_row_of_the_figures(tokenizer) -> None:
    task = make_task(tokenizer)
    windows = task.encoder.encode(read_as("cat lives in Paris"), 20).examples
    found = [Found(1.0 if window.first else 0.5, 0.0, window.first or window.begin, window.last or window.begin)
             for window in windows]  # fmt: skip
    counts = numpy.ones(len(windows))
    evaluated = EvaluatedExamples(windows, [0] * len(windows), found, counts, counts.astype(numpy.int64))
    assert len(windows) > 1
    assert {measure.name: (value(measure), len(measure.table)) for measure in task.scorer.measures(evaluated)} == {
        "exact match": (1.0, 1),
        "F1": (1.0, 1),
    }


def test_a_window_is_shown_in_words(tokenizer) -> None:
    task = make_task(tokenizer)
    evaluated = evaluated_of(task, [("Rome", "Paris"), (None, None)])
    result = [task.scorer.describe(*pair) for pair in zip(evaluated.examples, evaluated.outputs, strict=True)]
    assert result[0] == (f"Where is the old man ?\n{CONTEXT}", "Rome", "Paris")
    assert result[1][1:] == ("(no answer)", "(no answer)")


def test_a_question_is_answered_from_its_text(tokenizer) -> None:
    task, network = make_task(tokenizer, stride=2, unanswerable=False), make_network(tokenizer)
    asked = json.dumps({"question": "Where is the cat ?", "context": CONTEXT * 8})
    record = SpanRecord(CONTEXT * 8, "Where is the cat ?", (), "")
    windows = task.encoder.encode(record, 20).examples
    assert len(windows) > 16
    with torch.no_grad():
        expected = task.scorer.answer(windows, task.scorer.evaluate_batch(network, all_in_one(task, windows)).outputs)
        assert task.predictor.respond(network, asked) == expected
        assert expected in CONTEXT * 8
        reluctant = make_task(tokenizer, stride=2, no_answer_margin=-1000.0)
        assert reluctant.predictor.respond(network, asked) == "(no answer)"
        (found,) = task.predictor.predict(network, [["Where is the cat ?", CONTEXT * 8]])
        (nothing,) = reluctant.predictor.predict(network, [["Where is the cat ?", CONTEXT * 8]])
    assert (CONTEXT * 8)[found.begin : found.end] == expected
    assert (nothing.begin, nothing.end) == (0, 0)
    assert 0 < found.probability < 1
    assert found.probability == pytest.approx(1 - nothing.probability, abs=1e-6)


@pytest.mark.parametrize("prompt", ["Who?", "[1]", '{"question": "Who?"}', '{"question": "Who?", "context": " "}', "{"])
def test_a_text_alone_is_no_question(tokenizer, prompt: str) -> None:
    with pytest.raises(InputError, match="a question and the text that contains the answer") as caught:
        make_task(tokenizer).predictor.respond(None, prompt)
    assert '{"question": "Who wrote it?", "context":' in caught.value.fix


def test_windows_are_answered_eight_at_a_time(tokenizer) -> None:
    task, network = make_task(tokenizer, stride=2, unanswerable=False), make_network(tokenizer)
    sizes = []
    network.register_forward_pre_hook(
        lambda module, given, named: sizes.append(len(named["input_ids"])), with_kwargs=True
    )
    with torch.no_grad():
        task.predictor.respond(network, json.dumps({"question": "Where is the cat ?", "context": CONTEXT * 8}))
    assert sizes == [8] * (len(sizes) - 1) + sizes[-1:]
    assert 0 < sizes[-1] <= 8
    windows = task.encoder.encode(SpanRecord(CONTEXT * 8, "Where is the cat ?", (), ""), 20).examples
    assert sum(sizes) == len(windows)


@pytest.mark.parametrize(("length", "shown"), [(200, "x" * 200), (201, "x" * 200 + "…")])
def test_a_long_text_is_shown_by_its_beginning(tokenizer, length: int, shown: str) -> None:
    record = SpanRecord("x" * length, "Where ?", ((0, "x"),), "a.json:3")
    window = Window([2, 5, 3, 6, 3], None, 3, numpy.array([[0, length]]), 0, 0, 0, record)
    prompt, expected, given = make_task(tokenizer).scorer.describe(window, Found(1.0, 9.0, 3, 3))
    assert prompt == f"Where ?\n{shown}"
    assert (expected, given) == ("(no answer)", "(no answer)"), "its answer is in another window"


def test_the_answer_of_a_window_is_learned(tokenizer) -> None:
    encoder = make_task(tokenizer).encoder
    (window,) = encoder.encode(read_as("old man lives"), 64).examples
    (segment,) = encoder.segments(window)
    learned = [token for token, is_learned in zip(segment.ids, segment.is_learned, strict=True) if is_learned]
    assert tokenizer.decode(learned) == "old man lives"
    assert segment.note == ""
    (window,) = encoder.encode(read_as(None), 64).examples
    nothing = Segment("", window.input_ids, [False] * window.num_tokens, "no answer in this part of the text")
    assert encoder.segments(window) == [nothing]


def test_a_batch_knows_what_may_be_an_answer(tokenizer) -> None:
    """Text alone, and of it no whitespace; padding and question never."""
    record = SpanRecord("ab", "Where ?", ((0, "a"),), "a.json:3")
    one = Window([2, 5, 3, 6, 7, 3], None, 3, numpy.array([[0, 1], [1, 2]]), 0, 3, 4, record)
    two = Window([2, 5, 3, 6, 3], None, 3, numpy.array([[1, 1]]), 0, 0, 0, record)
    batch = make_task(tokenizer).encoder.collate([one, two], [[1], [0]], False, None)
    assert batch.extras["readable"].int().tolist() == [[0] * 6, [0, 0, 0, 1, 1, 0]]
    assert batch.extras["nothing"].tolist() == [0, 0]
    assert batch.targets.tolist() == [[0, 0], [3, 4]]
    assert (batch.examples, batch.owners.tolist(), batch.num_tokens) == ((1, 0), [1, 0], 11)
    assert batch.input_ids[0].tolist() == [2, 5, 3, 6, 3, 0]


def test_the_scores_of_a_window_are_sums_of_both_ends(tokenizer) -> None:
    record = SpanRecord("a b", "Where ?", ((0, "a"),), "a.json:3")
    window = Window([2, 5, 3, 6, 7, 3], None, 3, numpy.array([[0, 1], [2, 3]]), 0, 3, 3, record)
    task = make_task(tokenizer)
    starts, ends = torch.tensor([[1.0, 9, 9, 4, 2, 9]]), torch.tensor([[0.5, 9, 9, 1, 2, 9]])

    def with_virtual_tokens(**inputs):
        return SimpleNamespace(start_logits=torch.cat([9 * starts, starts], 1), end_logits=torch.cat([ends, ends], 1))

    outcome = task.scorer.evaluate_batch(with_virtual_tokens, task.encoder.collate([window], [[0]], False, None))
    assert outcome.outputs == [Found(6.0, 1.5, 3, 4)]
    first, last = (side[0, [0, 3, 4]].log_softmax(0)[1] for side in (starts, ends))
    torch.testing.assert_close(outcome.losses, -(first + last)[None] / 2)
    assert task.encoder.encode(read_as(), 20).truncated_tokens == 0


def test_rows_of_the_figures_are_in_order(tokenizer) -> None:
    task = make_task(tokenizer)
    evaluated = evaluated_of(task, [("Rome", "Rome"), ("Paris", "cat"), (None, None)])
    given, known = task.scorer._answers(replace(evaluated, owners=[7, 3, 5]))
    assert (given, known) == (["cat", "", "Rome"], [["Paris"], [], ["Rome"]])


# Options.


def test_the_head_has_two_outputs(tokenizer) -> None:
    assert make_task(tokenizer).objective.head == Head(
        "AutoModelForQuestionAnswering", "QUESTION_ANS", {"num_labels": 2}
    )


@pytest.mark.parametrize(("context", "stride"), [(384, 128), (50, 16), (48, 16), (51, 17), (32, 16)])
def test_a_third_of_the_context_is_shared_and_16_tokens_at_least(context: int, stride: int) -> None:
    recipe = Recipe(data=DataSection(context=context))
    assert SPAN.choices([read_as()], recipe)[0][:2] == ("span.stride", stride)
    assert SPAN.choices([], recipe)[1] == ("span.unanswerable", False, "every training row has an answer")


def test_what_auto_stands_for() -> None:
    def chosen(records, **options):
        recipe = Recipe(data=DataSection(context=384), span=SpanSection(**options))
        return {option: (value, reason) for option, value, reason in SPAN.choices(records, recipe)}

    assert chosen([read_as()]) == {
        "span.stride": (128, "a third of the context"),
        "span.unanswerable": (False, "every training row has an answer"),
    }
    assert chosen([read_as(), read_as(None)])["span.unanswerable"] == (
        True,
        "1 of 2 training rows have no answer",
    )
    assert "span.stride" in chosen([read_as()], stride=192)
    with pytest.raises(RecipeError, match="`span.stride` is 193, but two windows of 384 tokens may share at most half"):
        chosen([read_as()], stride=193)
    with pytest.raises(DataError, match="no training row has an answer"):
        chosen([read_as(None)])
