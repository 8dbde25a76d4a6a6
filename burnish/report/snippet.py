"""Code that uses a run's result without Burnish: plain transformers, and peft where the result is an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.recipe.schema import BUNDLED_MODELS
from burnish.report.record import RunRecord, is_local

_CLASSES = {
    "text": "AutoModelForCausalLM",
    "chat": "AutoModelForCausalLM",
    "preference": "AutoModelForCausalLM",
    "text-to-text": "AutoModelForSeq2SeqLM",
    "classify": "AutoModelForSequenceClassification",
    "reward": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
}
_HEADS = {
    "classify": ", num_labels=len(labels), ignore_mismatched_sizes=True",
    "reward": ", num_labels=1, ignore_mismatched_sizes=True",
    "tag": ", num_labels=len(labels)",
}
_USUAL_LENGTH = 200
_WRITING = ("text", "chat", "preference", "text-to-text")
_GROW = """\
if len(tokenizer) > model.get_input_embeddings().num_embeddings:
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
"""

_CHAT = """\
messages = [{"role": "user", "content": "Your prompt"}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
with torch.no_grad():
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=LENGTHSTOP)
print(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))
"""
_TEXT = """\
text = "The beginning of a text"
read = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
with torch.no_grad():
    written = model.generate(**read, max_new_tokens=LENGTHSTOP)
print(tokenizer.decode(written[0], skip_special_tokens=True))
"""
_CLASSIFY = """\
texts = [TEXTS]
READwith torch.no_grad():
    scores = model(**read).logits[0].float()
SHOW
"""
_CLOSED = """\
read = tokenizer(*texts, return_tensors="pt")
if getattr(model.config, "type_vocab_size", 0) < 2:  # this model does not tell a first text from a second
    read.pop("token_type_ids", None)
"""
_OPEN = """\
ids = tokenizer(texts[0])["input_ids"] + [tokenizer.eos_token_id]  # every text was trained with its end
for text in texts[1:]:
    ids += tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
read = {"input_ids": torch.tensor([ids])}
model.config.get_text_config().pad_token_id = None  # one row at a time: its last token counts
"""
_ONE_LABEL = """\
shares = scores.softmax(-1)
print(labels[int(shares.argmax())], round(float(shares.max()), 3))"""
_SEVERAL_LABELS = """\
print([label for label, share in zip(labels, scores.sigmoid()) if share > 0.5])"""
_SCORED = """\
messages = [{"role": "user", "content": "A question"}, {"role": "assistant", "content": "An answer"}]
text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()
ids = tokenizer(text, add_special_tokens=False)["input_ids"]
model.config.get_text_config().pad_token_id = None  # one row at a time: its last token counts
with torch.no_grad():
    print(float(model(input_ids=torch.tensor([ids])).logits))  # the higher, the better the answer
"""
_TAG = """\
text = "Your sentence"
read = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
with torch.no_grad():
    numbers = model(**read).logits[0, -read["input_ids"].shape[1] :].argmax(-1).tolist()
pieces = zip(read.word_ids(), numbers)
tags = {word: labels[number] for word, number in PIECES if word is not None}  # the PLACE piece of a word decides
for word, tag in sorted(tags.items()):
    begin, end = read.word_to_chars(word)
    print(text[begin:end].strip(), tag)
"""
_SPAN = """\
question, text = "Your question", "The text that holds the answer"
read = tokenizer(question, text, return_tensors="pt")
width = read["input_ids"].shape[1]
inputs = dict(read)
if getattr(model.config, "type_vocab_size", 0) < 2:  # this model does not tell a first text from a second
    inputs.pop("token_type_ids", None)
with torch.no_grad():
    output = model(**inputs)
first, last = output.start_logits[0, -width:].tolist(), output.end_logits[0, -width:].tolist()
inside = [place for place, part in enumerate(read.sequence_ids()) if part == 1]
inside = [place for place in inside if text[slice(*read.token_to_chars(place))].strip()]
spans = [(begin, end) for begin in inside for end in inside if 0 <= end - begin < LONGEST]
begin, end = max(spans, key=lambda span: first[span[0]] + last[span[1]])
found = text[read.token_to_chars(begin).start : read.token_to_chars(end).end]
SAY
"""
_MAY_SAY_NOTHING = """\
nothing = first[0] + last[0] - first[begin] - last[end]  # by how much "no answer" beats the best one
print(found if nothing <= MARGIN else "(no answer)")"""
_FILL = """\
text = f"A word is {tokenizer.mask_token} here."
read = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
width = read["input_ids"].shape[1]
with torch.no_grad():
    scores = model(**read).logits[0, -width:][read["input_ids"][0] == tokenizer.mask_token_id]
print([tokenizer.decode([number]).strip() for number in scores[0].topk(5).indices.tolist()])
"""


def use_snippet(record: RunRecord, result: str) -> str:
    """A script that loads the result and asks it something.

    Args:
        record: of a run that has a result.
        result: how the script names the folder of the result.

    Returns:
        The script; empty for tasks whose inputs take more than a few lines to prepare.
    """
    folder = record.folder.result
    if folder is None or record.task not in _CLASSES:
        return ""
    asks = _asks(record, folder)
    if not asks:
        return ""
    is_whole = folder == record.folder.model
    stops = record.task in _WRITING and not is_whole
    asks = asks.replace("LENGTH", _longest(record)).replace("STOP", ", eos_token_id=stops" if stops else "")
    labels = f"labels = {_labels(record)}\n" if record.task in ("classify", "tag") else ""
    parts = [_imports(record, is_whole, stops), _load(record, result, labels, is_whole, stops), asks]
    return "\n".join(parts).rstrip()


def closes_texts(result: Path) -> bool:
    """Whether the tokenizer in a folder ends a text by itself, as those of encoders do (`[CLS] text [SEP]`)."""
    try:
        told = json.loads((result / "tokenizer.json").read_text(encoding="utf-8")).get("post_processor")
    except (OSError, ValueError):
        return False
    return any(_closes(processor) for processor in (told or {}).get("processors", [told or {}]))


def _closes(processor: dict[str, Any]) -> bool:
    kind = processor.get("type")
    if kind != "TemplateProcessing":
        return kind in ("BertProcessing", "RobertaProcessing")
    single = processor.get("single", [])
    return bool(single) and "SpecialToken" in single[-1]


def _imports(record: RunRecord, is_whole: bool, stops: bool) -> str:
    names = ", ".join([_CLASSES[record.task], "AutoTokenizer", *(["GenerationConfig"] if stops else [])])
    base = str(record.option("model.name"))
    peft = "PeftConfig, PeftModel" if _is_folder(base) else "PeftModel"
    return "import torch\n" + ("" if is_whole else f"from peft import {peft}\n") + f"from transformers import {names}\n"


def _load(record: RunRecord, result: str, labels: str, is_whole: bool, stops: bool) -> str:
    """Tokenizer and model."""
    kind = _CLASSES[record.task]
    trust = ", trust_remote_code=True" if record.option("model.trust_remote_code") else ""
    told = f"result = {json.dumps(result, ensure_ascii=False)}\n"
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained(result{trust})\n"
    if is_whole:
        return f"{told}{labels}{tokenizer}model = {kind}.from_pretrained(result{trust}).eval()\n"
    base, revision = str(record.option("model.name")), record.option("model.revision")
    if _is_folder(base):
        where = " ".join(record.base.split())  # in a comment, which ends with its line
        named = f"PeftConfig.from_pretrained(result).base_model_name_or_path  # or wherever {where} lies now"
        version = ""
    else:
        named, version = json.dumps(base), f", revision={json.dumps(revision)}" if revision else ""
    head = _HEADS.get(record.task, "")
    grow = _GROW if record.option("lora.added_tokens") else ""
    stop = "stops = GenerationConfig.from_pretrained(result).eos_token_id\n" if stops else ""
    return (
        f"{told}base = {named}\n{labels}{tokenizer}{stop}model = {kind}.from_pretrained(base{version}{head}{trust})\n"
        f"{grow}model = PeftModel.from_pretrained(model, result).eval()\n"
    )


def _is_folder(base: str) -> bool:
    """Whether a base model lies in a folder, rather than on the hub."""
    return is_local(base) or base in BUNDLED_MODELS


def _asks(record: RunRecord, result: Path) -> str:
    """The lines that ask the model something; empty where that takes more than a few."""
    task, closes = record.task, closes_texts(result)
    if task in ("chat", "preference"):
        return _CHAT
    if task in ("text", "text-to-text"):
        return _TEXT
    if task == "classify":
        texts = '"A text", "another"' if record.option("data.shape") == "labelled-pair" else '"Your text"'
        show = _SEVERAL_LABELS if record.option("classify.multi_label") else _ONE_LABEL
        return _CLASSIFY.replace("TEXTS", texts).replace("READ", _CLOSED if closes else _OPEN).replace("SHOW", show)
    if task == "reward":
        return "" if closes else _SCORED
    if task == "tag":
        is_first = record.option("tag.pieces") == "first"
        pieces = "reversed(list(pieces))" if is_first else "pieces"
        return _TAG.replace("PIECES", pieces).replace("PLACE", "first" if is_first else "last")
    if task == "span":
        says = _MAY_SAY_NOTHING if record.option("span.unanswerable") else "print(found)"
        asks = _SPAN.replace("LONGEST", str(record.option("span.longest_answer"))).replace("SAY", says)
        return asks.replace("MARGIN", str(record.option("span.no_answer_margin"))) if closes else ""
    return _FILL


def _longest(record: RunRecord) -> str:
    """Tokens of the longest answer: what the run itself was judged with."""
    most = record.option("evaluate.max_new_tokens")
    return str(most if isinstance(most, int) else _USUAL_LENGTH)


def _labels(record: RunRecord) -> str:
    """The labels as a Python list."""
    return f"[{', '.join(json.dumps(label, ensure_ascii=False) for label in record.labels)}]"
