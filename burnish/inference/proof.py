"""An exported file beside the model that it was made of, both asked the same: tokens, next tokens, ends of answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from burnish.errors import BurnishError
from burnish.export.gguf.vocabulary import Vocabulary
from burnish.inference.exported import OutputProof, TokenProof
from burnish.inference.llama_cpp import Completion, LlamaCpp

_SUM_TOLERANCE = 1e-3
"""Nats by which all of one place may differ alike. llama.cpp's server adds the exponentials of all logits one by one in
fp32, so that with fifty thousand tokens every log-probability is off by the same 1e-4, whatever the logits are."""
_TOP = 8
"""Tokens of each place whose log-probabilities are compared."""
_WIDEST_TEXT = 4000
"""Letters of a text that are shown to differ."""
ODD_TEXTS = (
    "In 2024 it cost 1,234,567.89 dollars (+12.5 %), or 0x1F4A9.",
    "I'll say it's they're WE'VE don't.  Two  blanks   and\ttabs.",
    "line one\nline two\n\n\nline five\r\n  indented\n\tby a tab \n",
    "naïve café, Zürich, Ελληνικά, русский, العربية, עברית, हिन्दी",
    "日本語の文章です。中文也可以。한국어 문장.",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 emoji, ½ ² ₃ and ﬁ ligatures… “quotes” – dashes —",
    "def f(x):\n    return {'a': [x**2, -1], \"b\": None}  # code\n",
    " leading and trailing ",
    "",
)
"""Texts on which ways to split differ. None has to be right for a file to be right for its rows."""


def texts_of(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """Rows of token ids as texts, with the names of special tokens in them."""
    return [tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) for ids in rows]


def different_text(llama: LlamaCpp, tokenizer: Any, texts: Sequence[str]) -> str | None:
    """The first text whose tokens differ between the two programs; None if all are equal."""
    for text in texts:
        if llama.tokens(text) != _tokens(tokenizer, text):
            return text
    return None


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def prove_tokens(
    tokenizer: Any,
    vocabulary: Vocabulary,
    names: Sequence[str],
    texts: Sequence[str],
    opened: Callable[[Vocabulary], LlamaCpp],
) -> tuple[Vocabulary, TokenProof]:
    """Finds llama.cpp's way to split these texts as the tokenizer does: of those right in all of them, the one that is
    right in the most odd texts; the earlier of equals.

    Args:
        tokenizer: of transformers.
        vocabulary: of the tokenizer.
        names: ways to split, the most likely first; none if the algorithm has only one.
        texts: of the run's rows.
        opened: a model with that vocabulary, loaded by llama.cpp.

    Raises:
        BurnishError: none of them gives the same tokens.
    """
    best: tuple[Vocabulary, int] | None = None
    different = ""
    for one in [vocabulary.split_by(name) for name in names] or [vocabulary]:
        with opened(one) as llama:
            found = different_text(llama, tokenizer, texts)
            if found is not None:
                different = different or found
                continue
            odd = sum(llama.tokens(text) == _tokens(tokenizer, text) for text in ODD_TEXTS)
        if best is None or odd > best[1]:
            best = one, odd
        if odd == len(ODD_TEXTS):
            break
    if best is None:
        raise BurnishError(
            "llama.cpp splits a text of this run into other tokens than the model was trained with",
            f"The text begins with {different[:80]!r}. The file would answer worse than the run, so it is not kept.",
            "Use the run with transformers or vLLM: `burnish export RUN --to hf`",
        )
    tokens = sum(len(_tokens(tokenizer, text)) for text in texts)
    return best[0], TokenProof(len(texts), tokens, best[1], best[0].split)


def prove_outputs(
    llama: LlamaCpp,
    network: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    controls: Collection[int],
    most: int,
    tolerance: float,
) -> OutputProof:
    """Lets llama.cpp answer greedily, and checks every token, its log-probability and the end of each answer.

    Args:
        llama: the file with fp32 weights.
        network: the model that it was made of, in fp32.
        prompts: as token ids.
        stop_ids: tokens that end an answer.
        controls: special tokens that the file does not name as an end.
        most: new tokens of an answer.
        tolerance: nats by which log-probabilities may differ.

    Raises:
        BurnishError: one differs by more than that.
    """
    largest, tokens, compared, ends = 0.0, 0, 0, []
    for row, ids in enumerate(prompts):
        found = llama.complete(ids, most, _TOP)
        expected = _log_probabilities(network, ids, found)
        for place, token in enumerate(found.ids):
            if token in stop_ids:
                raise _differs(row, place, "llama.cpp does not end the answer where the model does")
            if expected[place].max() - expected[place, token] > tolerance:
                raise _differs(row, place, "llama.cpp finds another token more likely")
            if not found.top[place]:
                continue
            compared += 1
            apart, shift = _apart(expected[place], found.top[place])
            if not (apart <= tolerance and shift <= _SUM_TOLERANCE):
                raise _differs(row, place, f"a log-probability differs by {apart + shift:.2g} nats")
            largest = max(largest, apart)
        tokens += len(found.ids)
        if found.ended_by is not None:
            last = expected[len(found.ids)]
            if last.max() - last[found.ended_by] > tolerance or not _may_end(found.ended_by, stop_ids, controls):
                raise _differs(row, len(found.ids), "llama.cpp ends the answer, and the model goes on")
            ends.append(found.ended_by)
    others = sorted({end for end in ends if end not in stop_ids})
    ended = sum(end in stop_ids for end in ends)
    return OutputProof(len(prompts), tokens, compared, largest, tolerance, ended, others)


def prove_ends(ends: Sequence[int], stop_ids: Sequence[int], tokenizer: Any) -> list[int]:
    """Checks that the tokens which a file names as ends are those of the run.

    Args:
        ends: that the file names.
        stop_ids: tokens that end an answer of the run.
        tokenizer: of the run.

    Returns:
        Ends of the run that the file does not name: it has room for two.

    Raises:
        BurnishError: it names another token.
    """
    if wrong := [one for one in ends if stop_ids and one not in stop_ids]:
        name = tokenizer.convert_ids_to_tokens(wrong[0])
        raise BurnishError(
            f"the exported file ends answers differently from the model: at `{name}`",
            "The run does not end an answer there. The file is not kept.",
            "Use the run with transformers or vLLM, `burnish export RUN --to hf`, and report this",
        )
    return [one for one in stop_ids if one not in ends]


def _may_end(token: int, stop_ids: Sequence[int], controls: Collection[int]) -> bool:
    """Whether a token ends an answer of the run, or has a name at which llama.cpp ends any."""
    return token in stop_ids or token in controls


def _log_probabilities(network: Any, ids: Sequence[int], found: Completion) -> torch.Tensor:
    """`[generated tokens + 1, vocabulary]` fp32: the model's own, at the place of each token and behind the last."""
    whole = torch.tensor([[*ids, *found.ids]], device=network.device)
    with torch.no_grad():
        logits = network(input_ids=whole, use_cache=False).logits[0, len(ids) - 1 :]
    return logits.float().log_softmax(-1).cpu()


def _apart(expected: torch.Tensor, top: Mapping[int, float]) -> tuple[float, float]:
    """How far log-probabilities of one place are apart beyond what they have in common, and that."""
    apart = [float(expected[one]) - value for one, value in top.items()]
    shift = sum(apart) / len(apart)
    return max(abs(one - shift) for one in apart), abs(shift)


def _differs(row: int, place: int, what: str) -> BurnishError:
    return BurnishError(
        f"the exported file answers differently from the model: {what}",
        f"Token {place + 1} of the answer to prompt {row + 1}, both in fp32. The file is not kept.",
        "Use the run with transformers or vLLM, `burnish export RUN --to hf`, and report this",
    )
