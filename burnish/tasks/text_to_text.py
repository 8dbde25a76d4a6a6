"""Task `text-to-text`: instructions and conversations for models with an encoder and a decoder, such as T5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import RowError
from burnish.data.tokens.text import SequencePair, collate_pairs
from burnish.data.tokens.tokens import Tokens
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure
from burnish.models.heads import Head
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.task import EncodedRow, Judged, Outcome, Question


class TextToTextTask(TaskDefaults):
    """Reads the turns so far with the encoder, and learns to write the answer with the decoder."""

    name: ClassVar[str] = "text-to-text"
    snippets: ClassVar[tuple[str, str]] = ("text-to-text", "text-to-text")
    learned: ClassVar[str] = "writes the text that belongs to a text"
    usual_rows: ClassVar[tuple[int, int] | None] = (1_000, 50_000)
    reads_turns: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("seq2seq",)
    generates: ClassVar[bool] = True

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._lead = Tokens(tokenizer).lead

    @property
    def head(self) -> Head:
        """A language model on encoder and decoder."""
        return Head("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM")

    @property
    def stop_ids(self) -> list[int]:
        """EOS, where the tokenizer has one."""
        return [] if self._tokenizer.eos_token_id is None else [self._tokenizer.eos_token_id]

    def encode(self, record: ChatRecord, context: int) -> EncodedRow:
        """One example for each answer; an over-long source loses its beginning, an over-long answer its row."""
        examples, num_cut = [], 0
        for number, message in enumerate(record.messages):
            if message["role"] != "assistant":
                continue
            if message.get("tool_calls") or not isinstance(message.get("content"), str):
                raise RowError("an answer is a tool call, which the task `text-to-text` does not write")
            source = self._source_ids(record.messages[:number])
            target = self._with_end(self._tokenizer(text_target=message["content"])["input_ids"])
            if len(target) > context:
                raise RowError(f"the answer alone is {len(target)} tokens, more than the context of {context}")
            kept = self._cut(source, context)
            num_cut += len(source) - len(kept)
            examples.append(SequencePair(kept, target, record.place))
        return EncodedRow(examples, num_cut)

    def _source_ids(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """A single instruction as it is; of several turns, each behind its role."""
        said = [message for message in messages if message.get("content")]
        asked = [message for message in said if message["role"] != "system"]
        if len(asked) == 1:
            text = "\n\n".join(str(message["content"]) for message in said)
        else:
            text = "\n".join(f"{message['role']}: {message['content']}" for message in said)
        return self._tokenizer(text)["input_ids"]

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

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of each token of the answers."""
        shifted = network.prepare_decoder_input_ids_from_labels(labels=batch.targets)
        output = network(**batch.inputs, decoder_input_ids=shifted, use_cache=False)
        return token_losses(output.logits, batch.targets)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses are all there is to see."""
        return Outcome(self.losses(network, batch), [])

    def measures(self, judged: Judged) -> list[Measure]:
        """Perplexity, the loss on another scale."""
        return [judged.perplexity()]

    def prompt_ids(self, prompt: str | list[dict[str, Any]]) -> list[int]:
        """What the encoder reads: an instruction, or the turns so far."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return self._source_ids(turns)

    def answer_in(self, text: str) -> str:
        """All of it."""
        return text.strip()

    def question(self, record: ChatRecord) -> Question | None:
        """The last answer, asked for by everything before it."""
        *earlier, last = record.messages
        asked = next((message["content"] for message in reversed(earlier) if message.get("content")), "")
        return Question(self._source_ids(earlier), str(asked), str(last["content"]).strip(), record.place)
