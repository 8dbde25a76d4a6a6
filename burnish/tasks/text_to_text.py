"""Task `text-to-text`: instructions and conversations for models with an encoder and a decoder, such as T5."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.data.chat.probe import THOUGHT, written_keys
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import EncodedRow, RowError
from burnish.data.tokens.text import SequencePair, collate_pairs
from burnish.data.tokens.tokens import Tokens
from burnish.kernels.loss import token_losses
from burnish.models.heads import Head
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, PerplexityScorer, PredictorDefaults
from burnish.tasks.task import Parts, Question, Segment, TaskFacts


def source_ids(tokenizer: Any, messages: Sequence[dict[str, Any]]) -> list[int]:
    """Input of the model's encoder: a single instruction as it is; several turns each with their role."""
    turns = [message for message in messages if message.get("content")]
    asked = [message for message in turns if message["role"] != "system"]
    if len(asked) == 1:
        text = "\n\n".join(str(message["content"]) for message in turns)
    else:
        text = "\n".join(f"{message['role']}: {message['content']}" for message in turns)
    return tokenizer(text)["input_ids"]


class SequencePairEncoder(EncoderDefaults):
    """Encodes the turns so far as the source, and the answer as the target."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lead = Tokens(tokenizer).lead

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """What is left out of turns and answers."""
        notes = ["thoughts are left out, except where they are a part of an answer's text"] if THOUGHT in keys else []
        # an answer with a call is refused, with or without a thought before it
        if unused := sorted({key.partition(".")[2] for key in written_keys(keys)}):
            notes.append(f"these keys of the messages are not used: {', '.join(f'`{key}`' for key in unused)}")
        return notes

    def encode(self, record: ChatRecord, context: int) -> EncodedRow:
        """One example per answer; an over-long source is cut from the left, an over-long answer is an error."""
        examples, num_cut = [], 0
        for number, message in enumerate(record.messages):
            if message["role"] != "assistant" or message.get("weight") == 0:
                continue
            if message.get("tool_calls") or not isinstance(message.get("content"), str):
                raise RowError("an answer is a tool call, which the task `text-to-text` does not write")
            source = source_ids(self._tokenizer, record.messages[:number])
            target = self._with_end(self._tokenizer(text_target=message["content"])["input_ids"])
            if len(target) > context:
                raise RowError(f"the answer alone is {len(target)} tokens, more than the context of {context}")
            kept = self._cut(source, context)
            num_cut += len(source) - len(kept)
            examples.append(SequencePair(kept, target, record.place))
        return EncodedRow(examples, num_cut)

    def _cut(self, ids: list[int], context: int) -> list[int]:
        return ids if len(ids) <= context else self._lead + ids[len(ids) - context + len(self._lead) :]

    def _with_end(self, ids: list[int]) -> list[int]:
        end = self._tokenizer.eos_token_id
        return ids if end is None or ids[-1:] == [end] else [*ids, end]

    def collate(
        self, examples: Sequence[SequencePair], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Sources and answers, padded."""
        return collate_pairs(examples, rows, self._tokenizer.pad_token_id)

    def segments(self, example: SequencePair) -> list[Segment]:
        """The source and the answer."""
        return [
            Segment("read", example.source_ids, [False] * len(example.source_ids)),
            Segment("written", example.target_ids, [True] * len(example.target_ids)),
        ]


class SequencePairObjective(ObjectiveDefaults):
    """The decoder learns to write the answer."""

    head = Head("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM")

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of each token of the answers."""
        shifted = network.prepare_decoder_input_ids_from_labels(labels=batch.targets)
        output = network(**batch.inputs, decoder_input_ids=shifted, use_cache=False)
        return token_losses(output.logits, batch.targets, batch.places)


class SequencePairPredictor(PredictorDefaults):
    """Writes the answer to the turns so far."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @property
    def ends(self) -> list[int]:
        """EOS, if the tokenizer has one."""
        return [] if self._tokenizer.eos_token_id is None else [self._tokenizer.eos_token_id]

    def prompt_ids(
        self, prompt: str | list[dict[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The source of an instruction or of a conversation."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return source_ids(self._tokenizer, turns)

    def answer_text(self, text: str) -> str:
        """The whole text."""
        return text.strip()

    def question(self, record: ChatRecord) -> Question | None:
        """The last answer, with everything before it as its prompt."""
        *earlier, last = record.messages
        question = next((message["content"] for message in reversed(earlier) if message.get("content")), "")
        prompt = source_ids(self._tokenizer, earlier)
        return Question(prompt, str(question), str(last["content"]).strip(), record.place)

    def served_prompts(self, record: ChatRecord) -> list[list[int]]:
        """The prompts of evaluation and of a user's turns; the latter cannot include tools."""
        turns = [] if record.tools else [list(self.prompt_ids(list(record.messages[:-1])))]
        return [*super().served_prompts(record), *turns]

    def trained_prompt(self, record: ChatRecord, example: SequencePair) -> tuple[list[int], list[int]]:
        """Source and answer."""
        return list(example.source_ids), list(example.target_ids)


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    objective = SequencePairObjective()
    encoder, predictor = SequencePairEncoder(tokenizer), SequencePairPredictor(tokenizer)
    return Parts(encoder, objective, PerplexityScorer(objective), predictor)


TEXT_TO_TEXT = TaskFacts(
    name="text-to-text",
    records=(ChatRecord,),
    kinds=("seq2seq",),
    build=_build,
    auto_class=SequencePairObjective.head.auto_class,
    generates=True,
    reads_turns=True,
    counts_tokens=True,
    learned="turns one text into another",
    usual_rows=(1_000, 50_000),
    sample="helpdesk.jsonl",
    snippets=("text-to-text", "text-to-text"),
)
