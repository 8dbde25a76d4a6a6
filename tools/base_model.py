"""What making the bundled models "seedling" and "acorn" has in common: tokenizer, command lines, facts of a card."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers


def texts(path: Path, every: int = 1, without: Sequence[str] = ()) -> Iterator[str]:
    """The texts of a corpus file.

    Args:
        path: JSON Lines with `text`.
        every: takes one row in so many.
        without: special tokens, which are replaced by line breaks.
    """
    with path.open(encoding="utf-8") as file:
        for index, line in enumerate(file):
            if index % every == 0:
                text = json.loads(line)["text"]
                for token in without:
                    text = text.replace(token, "\n")
                yield text


def train_byte_pairs(
    rows: Iterator[str], split: Sequence[Any], size: int, special: Sequence[str | AddedToken]
) -> Tokenizer:
    """A byte-level BPE tokenizer trained on texts.

    Args:
        rows: the texts.
        split: pre-tokenizers, one after another.
        size: of the vocabulary.
        special: tokens that are never split; they have the first numbers.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(split))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(rows, trainer=trainer)
    return tokenizer


def make_base(usage: str, train_tokenizer: Callable[[Path], Any], random_model: Callable[[Any, int], Any]) -> None:
    """The command line that writes an untrained model: its tokenizer, and weights drawn from a seed."""
    parser = argparse.ArgumentParser(description=usage.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokenizer and the model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokenizer = train_tokenizer(options.corpus)
    model = random_model(tokenizer, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out)
    print(f"{len(tokenizer)} tokens, {model.num_parameters()} weights in {options.out}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def last_event(run: Path, kind: str) -> dict[str, Any]:
    """The last event of a kind in a run's logs."""
    events = [*read_lines(run / "metrics.jsonl"), *read_lines(run / "events.jsonl")]
    return [event for event in events if event["event"] == kind][-1]


def card_facts(run: Path, folder: Path, model: Any) -> dict[str, Any]:
    """What both cards show, by the names that stand in their templates.

    Args:
        run: folder of the run that trained the model.
        folder: where the model is installed.
        model: loaded from there.
    """
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    machine, finished = manifest["machine"], last_event(run, "Finished")
    config = model.config
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": (folder / "model.safetensors").stat().st_size,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        "steps": last_event(run, "StepDone")["step"],
        "minutes": finished["seconds"] / 60,
        "machine": f"{machine['cores']} cores ({machine['processor']}), {manifest['precision']}",
        "loss": last_event(run, "Validated")["loss"],
        "held_out": last_event(run, "DataReady")["validation_rows"],
        "before": finished["loss_before"],
    }


def install(
    usage: str,
    save: Callable[[Path, Path], None],
    model_card: Callable[[Path, Path, Path], str],
    largest_bytes: int,
) -> None:
    """The command line that copies a trained model into the package and writes its card.

    Args:
        usage: docstring of the script.
        save: writes the run's result (first) into a new folder (second).
        model_card: the card, from the folders of the run, of the corpus and of the installed model.
        largest_bytes: that the weights may take.
    """
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    save(options.run / "model", options.out)
    size = (options.out / "model.safetensors").stat().st_size
    if size > largest_bytes:
        raise SystemExit(f"the weights take {size:,} bytes, more than {largest_bytes:,}")
    (options.out / "README.md").write_text(model_card(options.run, options.corpus, options.out), encoding="utf-8")
    print(f"{options.out}: {size:,} bytes of weights")
