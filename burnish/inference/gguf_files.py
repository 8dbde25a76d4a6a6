"""The GGUF files of one run: written, and tried with llama.cpp.

merged model in fp32 ─► GGUF in fp32 ─► llama.cpp: same tokens, same answers ─► smaller types: what they cost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from burnish.data.rows.records import Record
from burnish.export.gguf.adapter import Adapter, check_adapter, check_matrices, write_adapter
from burnish.export.gguf.layouts import describe
from burnish.export.gguf.types import check_types
from burnish.export.gguf.vocabulary import read_vocabulary
from burnish.export.ollama import Turns, find_turns, modelfile, prove_turns
from burnish.inference.cost import Asked, learned_places
from burnish.inference.exported import Asking, Exported, ExportedFile
from burnish.inference.gguf_writers import ConvertedWriter, GgufWriter, OwnWriter
from burnish.inference.llama_cpp import PACKAGE, LlamaCpp, is_installed
from burnish.inference.proof import prove_ends, prove_outputs, texts_of
from burnish.metrics.own_metric import load_metric
from burnish.models.base import quiet_transformers
from burnish.models.device import free_memory
from burnish.prepare.context import RunContext
from burnish.runs.atomic import write_text
from burnish.runs.events import Note, Progressed, Stage

ROWS = 400
"""Rows whose tokens are compared, at most."""
_PROMPTS, _NEW_TOKENS = 16, 32
"""Answers that are compared token by token."""


@dataclass(slots=True)
class GgufFiles:
    """The files of one model."""

    asking: Asking
    context: RunContext
    model: Path
    """Folder of transformers with the whole model."""
    written: Path
    """Folder that the files are written to."""
    made: Exported
    adapter: Path | None = None
    """Folder of the adapter, if it is written alone."""

    def write(self) -> None:
        """Writes and tries every file."""
        writer = self._writer()
        self.made.notes += writer.notes
        turns = None
        if self.asking.to == "ollama":
            turns = turns_of(self.context, self.made.run)
            self.made.rendered = len(conversations_of(self.context)) if turns else 0
        if is_installed():
            self._write_proved(writer)
        else:
            self.made.notes.append(
                f"Not verified: the package `{PACKAGE}`, which has llama.cpp, is not installed. "
                "`pip install 'burnish[export]'`, and export again."
            )
            if self.adapter is not None:
                self._write_adapter(self.adapter)
            for kind in () if self.adapter else self.asking.types:
                self.made.files.append(self._file(writer, kind))
            self._check_ends(writer)
        self._finish(writer, turns)

    def _writer(self) -> GgufWriter:
        if self.asking.converter is not None:
            return ConvertedWriter(self.asking.converter, self.model)
        folder = self.model if self.adapter is None else self.context.location.folder
        stops = self.context.task.predictor.stop_ids
        return OwnWriter.of(self.made.run, folder, self._config(), self.context.tokenizer, stops)

    def _config(self) -> Any:
        with quiet_transformers():
            from transformers import AutoConfig

            return AutoConfig.from_pretrained(str(self.model), local_files_only=True)

    def _write_proved(self, writer: GgufWriter) -> None:
        """Proves tokens and answers, writes the files, and measures what each type costs."""
        emit = self.context.emit
        emit(Stage("comparing tokens with llama.cpp"))
        place = self.written / "tokens.gguf"
        self.made.tokens = writer.prove_tokens(self.context.tokenizer, self._texts(), place, torch.get_num_threads())
        with quiet_transformers():
            from transformers import AutoModelForCausalLM

            network = AutoModelForCausalLM.from_pretrained(str(self.model), dtype="float32", local_files_only=True)
        network.eval()
        exact = self.written / "exact.gguf"
        emit(Stage("comparing answers with llama.cpp, in fp32"))
        writer.write(exact, "f32")
        self._check_ends(writer)
        adapter = None if self.adapter is None else self._write_adapter(self.adapter)
        self._same_answers(exact, network, writer, adapter)
        if adapter is None:
            asked = self._asked(network.config.vocab_size, writer.context)
            self.made.questions = len(asked.questions)
            before = asked.of_network(network)
            del network
            free_memory()
            for kind in self.asking.types:
                file = self._file(writer, kind)
                emit(Stage(f"answering test rows from {file.name}"))
                with self._opened(self.written / file.name, writer.context) as llama:
                    figures = asked.figures(before, asked.of_file(llama, self._report))
                self.made.files.append(replace(file, figures=figures))
        exact.unlink()

    def _write_adapter(self, folder: Path) -> Path:
        """Writes the adapter alone, with the run's chat template, which the file of the base model may not have."""
        self.context.emit(Stage("writing the adapter"))
        path, config = self.written / f"{self.made.run}-lora.gguf", self._config()
        adapter = Adapter.of(folder, describe(config, config.vocab_size), config)
        write_adapter(path, adapter, self.made.run)
        check_matrices(path, adapter)
        self.made.files.append(ExportedFile(path.name, "f32", path.stat().st_size, 0.0))
        if template := self.context.tokenizer.chat_template:
            write_text(self.written / "chat_template.jinja", template)
        return path

    def _file(self, writer: GgufWriter, kind: str) -> ExportedFile:
        """Writes one file."""
        self.context.emit(Stage(f"writing {kind}"))
        path = self.written / f"{self.made.run}-{kind}.gguf"
        error = writer.write(path, kind)
        return ExportedFile(path.name, kind, path.stat().st_size, error)

    def _opened(self, file: Path, longest: int, adapter: Path | None = None) -> LlamaCpp:
        context = min(longest, self.context.context_length + self._most())
        return LlamaCpp(file, context, torch.get_num_threads(), adapter)

    def _most(self) -> int:
        return int(self.context.recipe.evaluate.max_new_tokens)

    def _texts(self) -> list[str]:
        """Rows of the run as texts, with the names of special tokens in them."""
        encoder, texts = self.context.task.encoder, list[str]()
        rows = [*self.context.final.encoded.examples, *self.context.training.examples]
        for example in rows[:ROWS]:
            texts += texts_of(self.context.tokenizer, [segment.ids for segment in encoder.segments(example)])
        return texts

    def _same_answers(self, file: Path, network: Any, writer: GgufWriter, adapter: Path | None) -> None:
        """Proves that llama.cpp renders and answers as the model does, from fp32 weights."""
        predictor, questions = self.context.task.predictor, self.context.final_questions(_PROMPTS)
        prompts = [list(question.prompt_ids) for question in questions]
        if not prompts:
            segments = map(self.context.task.encoder.segments, self.context.final.encoded.examples[:_PROMPTS])
            prompts = [list(parts[0].ids[: max(1, len(parts[0].ids) // 2)]) for parts in segments]
        new = min(_NEW_TOKENS, writer.context // 2)
        prompts = [ids[new - writer.context :] for ids in prompts]
        added = self.context.tokenizer.added_tokens_decoder.items()
        controls = {token for token, one in added if one.special} - set(writer.ends())
        with self._opened(file, writer.context, adapter) as llama:
            tolerance = writer.tolerance
            self.made.outputs = prove_outputs(llama, network, prompts, predictor.stop_ids, controls, new, tolerance)
            if self.context.task.reads_turns and self.made.to == "gguf" and adapter is None:
                self._same_rendering(llama)
        if not self.made.outputs.ended and predictor.stop_ids:
            self.made.notes.append(
                f"No answer ended within {new} tokens, so it is not proved that answers end where they should."
            )
        if others := self._named(self.made.outputs.other_ends):
            self.made.notes.append(
                f"llama.cpp also ends answers at {others}, which it knows by name; the run does not."
            )

    def _check_ends(self, writer: GgufWriter) -> None:
        """Proves that no file ends answers where the run does not."""
        stops, tokenizer = self.context.task.predictor.stop_ids, self.context.tokenizer
        if named := self._named(prove_ends(writer.ends(), stops, tokenizer)):
            self.made.notes.append(
                f"The run also ends answers at {named}, and a GGUF file names only two such tokens: give it as a stop "
                "text when you use the file."
            )

    def _named(self, tokens: Sequence[int]) -> str:
        """Tokens as words of a sentence."""
        return ", ".join(f"`{self.context.tokenizer.convert_ids_to_tokens(one)}`" for one in tokens)

    def _same_rendering(self, llama: LlamaCpp) -> None:
        """Proves that llama.cpp writes conversations by the template of the file as the run does."""
        values, predictor = self.context.recipe.template.kwargs, self.context.task.predictor
        for turns in conversations_of(self.context):
            expected = list(predictor.prompt_ids(list(turns)))
            if llama.tokens(llama.render(turns, values)) != expected:
                self.made.notes.append(
                    "llama.cpp's chat writes a conversation by this template otherwise than transformers does, first "
                    f"one that begins with {str(turns[0]['content'])[:60]!r}. Give prompts as text, or use "
                    "`--to ollama`, whose template is proved."
                )
                return
            self.made.rendered += 1

    def _asked(self, rows: int, longest: int) -> Asked:
        own, context = self.context.recipe.evaluate.metric, self.context
        room = longest - self._most()
        questions = context.final_questions(self.asking.answers)
        places = learned_places(context.task.encoder, context.final.encoded.examples)
        return Asked(
            questions=[one for one in questions if one.inputs is None and len(one.prompt_ids) <= room],
            places=[place for place in places if len(place.before) < longest],
            tokenizer=context.tokenizer,
            predictor=context.task.predictor,
            most=self._most(),
            own=(own.partition(":")[2], load_metric(own)) if own else None,
            is_known=context.task.scorer.compares_answers,
            rows=rows,
        )

    def _report(self, done: int, total: int) -> None:
        self.context.emit(Progressed("answers", done, total))

    def _finish(self, writer: GgufWriter, turns: Turns | None) -> None:
        """Writes what belongs beside the files."""
        if self.asking.to != "ollama":
            return
        stops = self.context.tokenizer.convert_ids_to_tokens(writer.ends())
        text = modelfile(self.written / self.made.files[0].name, turns, stops, writer.context)
        write_text(self.written / "Modelfile", text)
        if len(self.made.files) > 1:
            self.context.emit(Note(f"The Modelfile names `{self.made.files[0].name}`, the first of the files."))


def check_form(asking: Asking, context: RunContext, run: str, settings: Any) -> None:
    """Refuses what cannot be written, as far as that is known before the model is merged.

    Args:
        asking: what is wanted.
        context: of the run.
        run: its name.
        settings: its `adapter_config.json`; None if it has no adapter.

    Raises:
        InputError: llama.cpp has no such layout, tokenizer or adapter, or Ollama's language no such template.
        MachineError: a type needs llama.cpp's code, which is not installed.
    """
    if asking.converter is None:
        check_types(asking.types)
        rows = context.config.get_text_config().vocab_size
        describe(context.config, rows)
        read_vocabulary(context.tokenizer, rows, context.task.predictor.stop_ids)
    if asking.adapter:
        check_adapter(settings)
    if asking.to == "ollama":
        turns_of(context, run)


def turns_of(context: RunContext, run: str) -> Turns | None:
    """The fixed texts around turns, proved on the run's conversations; None if the task has no turns."""
    if not context.task.reads_turns:
        return None
    predictor, tokenizer = context.task.predictor, context.tokenizer

    def render(messages: Sequence[Any]) -> str:
        return texts_of(tokenizer, [predictor.prompt_ids([dict(one) for one in messages])])[0]

    turns = prove_turns(find_turns(render), render, conversations_of(context), run)
    first = tokenizer.bos_token
    if first and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:  # Ollama puts it there itself
        turns = replace(turns, start=turns.start.removeprefix(first), start_alone=turns.start_alone.removeprefix(first))
    return turns


def conversations_of(context: RunContext) -> list[list[dict[str, Any]]]:
    """Conversations of the run up to where the last answer begins, those with nothing but texts."""
    found = []
    for record in [*context.final.records, *context.records.train][:ROWS]:
        for dialogue in _plain_dialogues(record):
            found.append([dict(message) for message in dialogue[:-1]])
    return [turns for turns in found if turns]


def _plain_dialogues(record: Record) -> list[Sequence[Any]]:
    """The conversations of a record that end with an answer and have neither tools nor pictures."""
    if getattr(record, "tools", None):
        return []
    return [
        dialogue
        for dialogue in record.dialogues()[:1]
        if dialogue[-1]["role"] == "assistant"
        and all(isinstance(one.get("content"), str) and set(one) <= {"role", "content"} for one in dialogue[:-1])
    ]
