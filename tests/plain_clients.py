"""A trained result as other programs use it: by its card's code, `pipeline`, transformers' classes, and PEFT's.

Each client takes an input of a task and gives the answer as text, as `burnish generate` writes it.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from burnish.methods import make_method
from burnish.report.record import read_record
from burnish.report.snippet import use_snippet
from burnish.tasks import task_facts
from burnish.workflows.run import Run

ANSWER_TOKENS = 8


@dataclass(frozen=True)
class Client:
    """One run, and what it is asked."""

    run: Run
    task: str

    @property
    def result(self) -> Path:
        """The folder of the result."""
        assert self.run.folder.result is not None
        return self.run.folder.result

    @property
    def is_whole(self) -> bool:
        """Whether the result is a model."""
        return self.run.folder.result == self.run.folder.model

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the outputs."""
        return read_record(self.run.folder).labels

    def expected(self, asked: Any) -> str:
        """What Burnish answers."""
        prompt = json.dumps(asked) if isinstance(asked, dict) else asked
        return _bare(self.task, self.run.generate(prompt, max_new_tokens=ANSWER_TOKENS))

    def by_card(self, asked: Any) -> str:
        """What the card's code prints, run as code."""
        code = use_snippet(read_record(self.run.folder), str(self.result))
        for shown, given in _replacements(self.task, asked).items():
            assert shown in code, code
            code = code.replace(shown, given)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "the card", "exec"), {})
        return _from_print(self.task, printed.getvalue(), asked)

    def network(self) -> Any:
        """The result, loaded as its documentation says: by PEFT's Auto classes where it is an adapter."""
        auto = task_facts(self.task).auto_class
        if self.is_whole:
            return getattr(transformers, auto).from_pretrained(str(self.result)).eval()
        options: dict[str, Any] = {}
        if self.labels:  # the config of the base, which PEFT loads, does not know them
            names = {"id2label": dict(enumerate(self.labels)), "label2id": {n: i for i, n in enumerate(self.labels)}}
            options = {**names, "ignore_mismatched_sizes": True}
        if self.task == "reward":
            options = {"num_labels": 1, "ignore_mismatched_sizes": True}
        network = getattr(peft, _peft_class(self)).from_pretrained(str(self.result), **options).eval()
        if task_facts(self.task).generates:
            network.generation_config = transformers.GenerationConfig.from_pretrained(str(self.result))
        return network

    def by_classes(self, asked: Any) -> str:
        """What the logits of the plain classes say."""
        network, tokenizer = self.network(), transformers.AutoTokenizer.from_pretrained(str(self.result))
        return _READERS[self.task](self, network, tokenizer, asked)

    def by_pipeline(self, asked: Any) -> str:
        """What `pipeline` answers."""
        return _PIPELINES[self.task](self, transformers.AutoTokenizer.from_pretrained(str(self.result)), asked)


def _bare(task: str, answer: str) -> str:
    """An answer without its probabilities, and the best of several."""
    if task in ("classify", "fill-mask"):
        return answer.partition(" (")[0]
    return answer


def _replacements(task: str, asked: Any) -> dict[str, str]:
    """What stands in the card's code for an input, and the input as code."""
    if task == "tag":
        return {'"Your sentence".split()': repr(asked["tokens"])}
    if task == "span":
        return {'"Your question"': repr(asked["question"]), '"The text that holds the answer"': repr(asked["context"])}
    if task == "reward":
        return {'"A question"': repr(asked["prompt"]), '"An answer"': repr(asked["chosen"])}
    if task == "fill-mask":
        return {'f"A word is {tokenizer.mask_token} here."': repr(asked)}
    if task == "vision":
        return {'"picture.png"': repr(asked["images"][0]), '"Your question"': repr(asked["prompt"])}
    if task == "classify" and isinstance(asked, dict):
        return {'["A text", "another"]': repr(list(asked.values()))}
    shown = {
        "classify": '"Your text"',
        "text": '"The beginning of a text"',
        "text-to-text": '"The beginning of a text"',
    }
    return {shown.get(task, '"Your prompt"'): repr(asked)}


def _from_print(task: str, printed: str, asked: Any) -> str:
    """What was printed, in Burnish's words."""
    text = printed.strip()
    if task == "classify":
        return text.rpartition(" ")[0]
    if task == "tag":
        return "\n".join(_entities([line.split()[1] for line in text.splitlines()], asked["tokens"]))
    if task == "reward":
        return f"{float(text):+.3f}"
    if task == "fill-mask":
        return json.loads(text.replace("'", '"'))[0]
    return text.removeprefix(asked).strip() if task == "text" else text


def _entities(tags: list[str], words: list[str]) -> list[str]:
    from burnish.tasks.tag import Tags

    return Tags([], "IOB2").in_words(words, tags) or ["no entity"]


@torch.no_grad()
def _read_label(client: Client, network: Any, tokenizer: Any, asked: Any) -> str:
    texts = list(asked.values()) if isinstance(asked, dict) else [asked]
    read = tokenizer(*texts, return_tensors="pt", return_token_type_ids="bert" in network.config.model_type)
    return client.labels[int(network(**read).logits[0].argmax())]


@torch.no_grad()
def _read_score(client: Client, network: Any, tokenizer: Any, asked: Any) -> str:
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": asked["prompt"]}, {"role": "assistant", "content": asked["chosen"]}]
        text = tokenizer.apply_chat_template(turns, tokenize=False).rstrip()
        read = tokenizer(text, add_special_tokens=False, return_tensors="pt", return_token_type_ids=False)
    else:
        read = tokenizer(asked["prompt"], asked["chosen"], return_tensors="pt")
    return f"{float(network(**read).logits):+.3f}"


def _write(client: Client, network: Any, tokenizer: Any, asked: Any) -> str:
    """Plain `generate()`, for conversations and for texts."""
    if client.task in ("chat", "preference"):
        turns = [{"role": "user", "content": asked}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    else:
        ids = tokenizer(asked, return_tensors="pt").input_ids
    written = network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=ANSWER_TOKENS)
    begin = 0 if network.config.is_encoder_decoder else ids.shape[1]
    return tokenizer.decode(written[0, begin:], skip_special_tokens=True).strip()


@torch.no_grad()
def _read_mask(client: Client, network: Any, tokenizer: Any, asked: Any) -> str:
    read = tokenizer(asked, return_tensors="pt", return_token_type_ids=False)
    scores = network(**read).logits[0][read["input_ids"][0] == tokenizer.mask_token_id]
    return tokenizer.decode([int(scores[0].argmax())]).strip()


_READERS: dict[str, Callable[[Client, Any, Any, Any], str]] = {
    "classify": _read_label,
    "reward": _read_score,
    "chat": _write,
    "preference": _write,
    "text": _write,
    "text-to-text": _write,
    "fill-mask": _read_mask,
}
"""Clients that only need a few lines; a tag or a span takes the card's."""


def _pipe(client: Client, tokenizer: Any, kind: str, **options: Any) -> Any:
    network = client.network()
    # its layers are within the base model; merged by PEFT, IA3 fails where a module with others inside it is trained
    model = network if client.is_whole else network.get_base_model()
    if task_facts(client.task).generates:
        model.generation_config = network.generation_config
    return transformers.pipeline(kind, model=model, tokenizer=tokenizer, **options)


def _label_by_pipeline(client: Client, tokenizer: Any, asked: Any) -> str:
    pipe = _pipe(client, tokenizer, "text-classification")
    texts = list(asked.values()) if isinstance(asked, dict) else [asked]
    given = {"text": texts[0], **({"text_pair": texts[1]} if len(texts) > 1 else {})}
    alone = pipe(given)
    if client.is_whole:  # in a batch with a longer text, which pads this one
        longer = {name: f"{text} and so on, and so on" for name, text in given.items()}
        together = pipe([given, longer], batch_size=2)[0]
        assert together["label"] == (alone[0] if isinstance(alone, list) else alone)["label"]
    return (alone[0] if isinstance(alone, list) else alone)["label"]


def _tags_by_pipeline(client: Client, tokenizer: Any, asked: Any) -> str:
    how = {"first": "first", "all": "average"}[read_record(client.run.folder).option("tag.pieces")]
    pipe = _pipe(client, tokenizer, "token-classification", aggregation_strategy=how)
    text = " ".join(asked["tokens"])
    found = [(one["entity_group"], text[one["start"] : one["end"]].strip()) for one in pipe(text)]
    return "\n".join(f"{words} [{kind}]" for kind, words in found) or "no entity"


def _text_by_pipeline(client: Client, tokenizer: Any, asked: Any) -> str:
    pipe = _pipe(client, tokenizer, "text-generation")
    is_chat = client.task in ("chat", "preference")
    given = [{"role": "user", "content": asked}] if is_chat else asked
    (made,) = pipe(given, max_new_tokens=ANSWER_TOKENS, return_full_text=False)
    return made["generated_text"].strip()


def _mask_by_pipeline(client: Client, tokenizer: Any, asked: Any) -> str:
    return _pipe(client, tokenizer, "fill-mask")(asked)[0]["token_str"].strip()


_PIPELINES: dict[str, Callable[[Client, Any, Any], str]] = {
    "classify": _label_by_pipeline,
    "tag": _tags_by_pipeline,
    "chat": _text_by_pipeline,
    "preference": _text_by_pipeline,
    "text": _text_by_pipeline,
    "fill-mask": _mask_by_pipeline,
}
"""The pipelines that transformers still has."""


def can_pipe(client: Client) -> bool:
    """Whether a pipeline takes the result: a model, or an adapter within a base that PEFT loads."""
    method = _method(client)
    is_within = method.can_merge and not method.quantizes and hasattr(peft, _peft_class(client))
    return client.task in _PIPELINES and (client.is_whole or is_within)


def can_load(client: Client) -> bool:
    """Whether plain classes load what was evaluated.

    PEFT has no Auto class for masked language models, and loads a base in full precision unless another is given.
    """
    in_full = client.is_whole or (hasattr(peft, _peft_class(client)) and not _method(client).quantizes)
    return client.task in _READERS and in_full


def _peft_class(client: Client) -> str:
    return task_facts(client.task).auto_class.replace("AutoModel", "AutoPeftModel")


def _method(client: Client) -> Any:
    return make_method(read_record(client.run.folder).method)
