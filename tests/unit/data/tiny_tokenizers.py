"""Tokenizers of a few hundred tokens, built in the test, with the pieces that real ones differ in."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "How are you? Fine, thank you. And now? Still fine. Be brief.",
    "the system, the user and the assistant; a tool and its name, arguments and parameters",
    "What is the weather in Rome? It is sunny in Rome, and it was raining in Paris all day long.",
] * 3
# Line breaks in a row are one piece, as in the tokenizers of Llama 3 and Qwen.
LINES = r"\s*[\r\n]+|\s?[^\s]+|\s+"
# GPT-2's: the last of several blanks goes to the word that follows.
GPT2 = r"\s?[^\s]+|\s+(?!\S)|\s+"


def byte_level(
    specials: list[str], eos: str | None, bos: str | None = None, adds_bos: bool = False, pattern: str = LINES
) -> PreTrainedTokenizerFast:
    """Byte-level BPE; `adds_bos` puts BOS in front of every text, as Llama's tokenizer does."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator([*CORPUS, "\n\n", "\n\n"], trainer)
    return _finish(core, specials, eos, bos, adds_bos)


def sentence_piece(specials: list[str], eos: str, bos: str, crosses_lines: bool = False) -> PreTrainedTokenizerFast:
    """SentencePiece-like: blanks are written as U+2581, one stands before the first word, and BOS is added.

    With `crosses_lines`, as in Llama 1 and 2: nothing is split beforehand, so that a token may hold a line break and
    the words around it, and a blank stands behind every special token too.
    """
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    if crosses_lines:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    alphabet = sorted(set("".join(CORPUS)) | set("▁[]/<>|_{}:\"'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", *byte_pieces], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([*CORPUS, "\nFine\nFine"], trainer)
    return _finish(core, specials, eos, bos, adds_bos=True)


def _finish(
    core: Tokenizer, specials: list[str], eos: str | None, bos: str | None, adds_bos: bool
) -> PreTrainedTokenizerFast:
    named = [token for token in (bos, eos) if token]
    core.add_special_tokens([AddedToken(token, normalized=False) for token in dict.fromkeys([*named, *specials])])
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos, eos_token=eos)
