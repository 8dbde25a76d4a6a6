"""`burnish export`: a run's model in the form of another program, tried with that program before it is kept.

What becomes of GGUF files is `inference/gguf_files.py`.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.errors import InputError, MachineError
from burnish.export.vllm import hindrances, largest_rank
from burnish.inference.exported import Asking, Exported
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base, rows_of
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.prepare.context import RunContext, encode, open_context
from burnish.recipe.schema import Recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import check_target, temporary_folder, write_folder, write_json
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Warned
from burnish.runs.folder import RunFolder, result_of
from burnish.runs.lock import lock_for
from burnish.system.shell import quoted
from burnish.tasks import task_facts
from burnish.visible import parse_json
from burnish.workflows.merge import write_merged


def export(
    folder: RunFolder,
    asking: Asking,
    out: Path | None = None,
    listeners: Iterable[Listener] = (),
    base_model: str | None = None,
) -> Exported:
    """Writes a run's model for another program, and proves that it answers there as it was trained.

    Args:
        folder: of the run.
        asking: what is wanted.
        out: folder to write; None for one in the run folder.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no result, or it cannot be written in that form; or `out` exists.
        MachineError: a package that this form needs is not installed.
        Locked: it would be written into the run folder, and another process writes there.
        BurnishError: what was written answers otherwise than the run; nothing is kept.
    """
    target = folder.export(asking.to) if out is None else out
    with lock_for(folder.path, target, "exported"):
        emit = EventLog(None, listeners)
        ready_result(folder, emit, base_model)
        check_target(target)
        recipe = open_recipe(folder, base_model, needs_metric=True)
        check_present(folder, recipe)
        work = _Export(folder, asking, target, recipe, emit)
        made = work.gguf() if asking.to in ("gguf", "ollama") else work.transformers()
        if target == folder.export(asking.to) and folder.step is None:
            write_pages(folder)
    for note in made.notes:
        emit(Warned(note))
    return made


@dataclass(slots=True)
class _Export:
    """One export, as it goes on."""

    folder: RunFolder
    asking: Asking
    target: Path
    recipe: Recipe
    emit: EventLog

    def transformers(self) -> Exported:
        """A folder of transformers or PEFT."""
        if self.asking.to == "mlx" and not task_facts(self.recipe.task).generates:
            raise InputError(
                f"MLX does not answer for the task `{self.recipe.task}`",
                "mlx-lm generates text.",
                "Use the model with transformers: `burnish export RUN --to hf`",
            )
        made = Exported(self.folder.name, self.asking.to, str(self.target))
        settings = self._settings()
        refused = hindrances(settings) if settings is not None and self.asking.to == "vllm" else []
        keeps_adapter = settings is not None and self.asking.to in ("hf", "vllm") and not refused
        made.command = self._command(settings if keeps_adapter else None)
        with write_folder(self.target) as written:
            if keeps_adapter or settings is None:
                shutil.copytree(result_of(self.folder), written, dirs_exist_ok=True)
            else:
                with self._merged("auto") as merged:
                    shutil.copytree(merged, written, dirs_exist_ok=True)
            if refused:
                made.notes.append(f"vLLM does not serve the adapter: {'; '.join(refused)}. So it was merged.")
            write_json(written / "export.json", made.to_dict())
        return made

    def gguf(self) -> Exported:
        """GGUF files, and for Ollama a Modelfile."""
        if importlib.util.find_spec("gguf") is None:
            raise MachineError(
                "GGUF files cannot be written here",
                "The package `gguf`, which knows their format, is not installed.",
                "pip install 'burnish[export]'",
            )
        from burnish.inference.gguf_files import ROWS, GgufFiles, check_form  # imports it

        made = Exported(self.folder.name, self.asking.to, str(self.target))
        context = self._context(ROWS)
        check_form(self.asking, context, self.folder.name, self._settings())
        adapter = self.folder.adapter if self.asking.adapter else None
        with self._merged("fp32") as model, write_folder(self.target) as written:
            GgufFiles(self.asking, context, model, written, made, adapter).write()
            has_template = (written / "chat_template.jinja").is_file()
            made.command = self._command(None, made.files[0].name, has_template)
            write_json(written / "export.json", made.to_dict())
        return made

    def _settings(self) -> Any:
        """The run's `adapter_config.json`; None if it has no adapter."""
        path = self.folder.adapter / "adapter_config.json"
        return parse_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _context(self, most: int) -> RunContext:
        """The run with its test rows and some training rows encoded."""
        records = rows_of(self.folder, self.recipe, "Restore the data: the files are tried on its rows", self.emit)
        context = open_context(self.recipe, records, self.emit)
        if not context.task.generates:
            raise InputError(
                f"a run of the task `{context.task.name}` cannot be written as GGUF",
                "llama.cpp generates text; what this model answers with, it does not give.",
                "Use the model with transformers: `burnish export RUN --to hf`",
            )
        check_base(self.folder, context.location)
        return encode(replace(context, records=replace(records, train=records.train[:most])))

    @contextmanager
    def _merged(self, precision: str) -> Iterator[Path]:
        """A folder of transformers with the whole model: the result itself, or its adapter merged."""
        if not self.folder.adapter.is_dir():
            yield result_of(self.folder)
            return
        with temporary_folder(self.target.with_name(f"{self.target.name}-merged")) as place:
            write_merged(self.folder, self.recipe, place / "model", precision, self.emit)
            yield place / "model"

    def _command(self, settings: Any, file: str = "", has_template: bool = False) -> str:
        """How to use what was written.

        Args:
            settings: of the adapter, if it was left as it is.
            file: the first GGUF file.
            has_template: whether the chat template is a file of its own.
        """
        place, name = quoted(str(self.target)), self.folder.name
        served = f"vllm serve {place}"
        if settings is not None:
            rank = largest_rank(settings)
            served = f"vllm serve {quoted(self.recipe.model.name)} --enable-lora --max-lora-rank {rank}"
            served += f" --lora-modules {name}={place}"
        path = quoted(str(self.target / file))
        llama = f"llama-server --model {f'BASE.gguf --lora {path}' if self.asking.adapter else path} --jinja"
        if has_template:
            llama += f" --chat-template-file {quoted(str(self.target / 'chat_template.jinja'))}"
        return {
            "gguf": llama,
            "ollama": f"ollama create {name} -f {quoted(str(self.target / 'Modelfile'))}",
            "mlx": f'mlx_lm.generate --model {place} --prompt "..."',
            "hf": f"hf upload OWNER/NAME {place}",
            "vllm": served,
        }[self.asking.to]
