"""Short answers against known ones, as SQuAD's scripts count them (Rajpurkar et al. 2016 and 2018).

Both scripts count alike but for one thing: where an answer is nothing but articles and punctuation, the script of
v2.0, which is followed here, drops it from the known ones and gives F1 = 1 for nothing against nothing; that of v1.1
gives 0.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy

from burnish.metrics.measure import Measure, mean, ratio

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower case, without ASCII punctuation, then without English articles, words one space apart.

    Punctuation goes first and leaves no gap: `the-end` becomes `theend`, and `A.` an article.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(given: str, known: Sequence[str]) -> float:
    """1.0 where the answer equals any known one once normalized, else 0.0; no known answer means "there is none"."""
    return float(normalize(given) in _normalized(known))


def token_f1(given: str, known: Sequence[str]) -> float:
    """F1 over the bag of words, the best over the known answers; no known answer means "there is none".

    Two empty answers agree (1.0); an empty one and another do not (0.0).
    """
    words = normalize(given).split()
    return max(_overlap(words, answer.split()) for answer in _normalized(known))


def answer_measures(given: Sequence[str], known: Sequence[Sequence[str]]) -> list[Measure]:
    """Exact match and F1; where some questions have an answer and some have none, also on each kind apart.

    Args:
        given: answer to each question, empty for "there is none".
        known: right answers to each question, none of them where it cannot be answered.
    """
    pairs = list(zip(given, known, strict=True))
    exact = numpy.array([exact_match(answer, right) for answer, right in pairs])
    overlap = numpy.array([token_f1(answer, right) for answer, right in pairs])
    measures = [mean("exact match", exact), mean("F1", overlap)]
    has_answer = numpy.array([len(right) > 0 for right in known], dtype=bool)
    if has_answer.any() and not has_answer.all():
        measures += [
            ratio("exact match, answerable", exact * has_answer, has_answer),
            ratio("F1, answerable", overlap * has_answer, has_answer),
            # An unanswerable question is right or wrong: its exact match and its F1 are one.
            ratio("right, unanswerable", exact * ~has_answer, ~has_answer),
        ]
    return measures


def _normalized(known: Sequence[str]) -> list[str]:
    """The known answers that say something; one empty answer where none does."""
    return [answer for answer in map(normalize, known) if answer] or [""]


def _overlap(given: list[str], right: list[str]) -> float:
    if not given or not right:
        return float(given == right)
    shared = (Counter(given) & Counter(right)).total()
    return 2 * shared / (len(given) + len(right))
