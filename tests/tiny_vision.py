"""Tiny random models that see, of two families, with their processors; and drawn pictures to ask them about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    Idefics3Config,
    Idefics3ImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
)

from burnish.data.images.images import picture_in_file
from burnish.data.rows.records import PictureRecord

FAMILIES = ("qwen2_vl", "idefics3")
CONTEXT = 256
COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220), "green": (20, 160, 40), "white": (250, 250, 250)}
IMAGE_TOKENS = {"qwen2_vl": "<|image_pad|>", "idefics3": "<image>"}
TOWERS = {"qwen2_vl": "model.visual", "idefics3": "model.vision_model"}

_SPECIALS = {
    "qwen2_vl": ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                 "<|video_pad|>"),
    "idefics3": ("<|pad|>", "<|begin|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>",
                 *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))),
}  # fmt: skip
_TEMPLATES = {
    "qwen2_vl": (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}"
        "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "idefics3": (
        "<|begin|>{% for message in messages %}{{ message['role'] | capitalize }}"
        "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>"
        "{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    ),
}
_SENTENCES = ("What colour is the square?", "It is red.", "It is blue.", "It is green.", "It is white.", "User: a")


def make_vision_tokenizer(family: str) -> Any:
    """Byte-level BPE with the family's special tokens and a chat template of its kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[AddedToken(token, special=True) for token in _SPECIALS[family]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=_SPECIALS[family][2], pad_token=_SPECIALS[family][0]
    )
    made.chat_template = _TEMPLATES[family]
    return made


def make_vision_network(family: str, tokenizer: Any, seed: int = 0) -> Any:
    """A random model of a family: fp32, in evaluation mode, equal for equal seeds."""
    torch.manual_seed(seed)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.1,
    }
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKENS[family])
    config: Any
    if family == "qwen2_vl":
        # 4 + 2 + 2: pairs of the head's 8 dimensions that turn by time, height and width
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
        vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 8}
        ids = {
            "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
            "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
            "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        }
        config = Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=image_id, **ids)
    else:
        vision = {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        }
        config = Idefics3Config(
            text_config={"model_type": "llama", **text}, vision_config=vision, image_token_id=image_id, scale_factor=2
        )
    return AutoModelForImageTextToText.from_config(config).float().eval()


def write_processor(family: str, folder: Path) -> None:
    """The processor's file, as a model's folder carries it."""
    if family == "qwen2_vl":
        pictures = Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096})
        settings: dict[str, Any] = {"processor_class": "Qwen2VLProcessor", "video_processor": {"fps": 1}}
    else:
        pictures = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
        settings = {"processor_class": "Idefics3Processor", "image_seq_len": 4}
    settings["image_processor"] = pictures.to_dict()
    (folder / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")


def save_vision_model(family: str, folder: Path) -> Path:
    """Writes a whole model folder: config, weights, tokenizer, processor."""
    tokenizer = make_vision_tokenizer(family)
    make_vision_network(family, tokenizer).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    write_processor(family, folder)
    return folder


def draw(path: Path, colour: str, size: tuple[int, int] = (32, 24)) -> Path:
    """A square of one colour on black."""
    image = Image.new("RGB", size, "black")
    image.paste(COLOURS[colour], (2, 2, size[0] - 2, size[1] - 2))
    image.save(path)
    return path


def drawn_record(pictures: list[Path], question: str, answer: str, place: str = "drawn.jsonl:1") -> PictureRecord:
    """A question about pictures, which stand before it."""
    opened = tuple(picture_in_file(path) for path in pictures)
    parts = [{"type": "image"} for _ in opened]
    messages = (
        {"role": "user", "content": [*parts, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    )
    return PictureRecord(messages, opened, tuple(picture.sha256 for picture in opened), place)


def write_picture_rows(folder: Path, count: int = 24) -> Path:
    """Drawn squares of different sizes, and a file of questions about them in LLaVA's layout."""
    lines = []
    for number in range(count):
        colour = list(COLOURS)[number % len(COLOURS)]
        draw(folder / f"{number}.png", colour, (24 + 4 * (number % 5), 24 + 2 * (number % 7)))
        turns = [
            {"from": "human", "value": f"<image>\nWhat colour is square {number}?"},
            {"from": "gpt", "value": f"It is {colour}."},
        ]
        lines.append(json.dumps({"conversations": turns, "image": f"{number}.png"}) + "\n")
    path = folder / "squares.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path
