"""Entities that are marked within a running text, and the text without the marks.

<PER>Anna</PER> lives in <LOC>Rome</LOC>.          [PER]Anna[/PER] lives in [LOC]Rome[/LOC].
<ENAMEX TYPE="PER">Anna</ENAMEX> lives in Rome.    <START:person> Anna <END> lives in Rome .
[Anna](PER) lives in [Rome](LOC).                  [PER Anna] lives in [LOC Rome].
{Anna|PER} lives in {Rome|LOC}.                    [Anna|PER] lives in [Rome|LOC].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import RowError, pick, quoted
from burnish.data.rows.settled import Asked, Settled
from burnish.data.tags.entities import entities_record
from burnish.recipe.schema import AUTO

_TYPE = r"(?P<label>[A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*)"
_TYPE_KEYS = "type|class|label|category|entity|sem"
FORMS = {
    "tags": re.compile(rf"<{_TYPE}>(?P<said>[^<>]+)</(?P=label)>"),
    "attributes": re.compile(
        rf"<(?P<tag>\w+)\s[^<>]*?\b(?:{_TYPE_KEYS})\s*=\s*[\"']{_TYPE}[\"'][^<>]*>(?P<said>[^<>]+)</(?P=tag)>",
        re.IGNORECASE,
    ),
    "starts": re.compile(rf"<START:{_TYPE}>(?P<said>[^<>]+)<END>"),
    "brackets": re.compile(rf"\[{_TYPE}\](?P<said>[^\[\]]+)\[/(?P=label)\]"),
    "links": re.compile(rf"\[(?P<said>[^\[\]]+)\]\({_TYPE}\)"),
    "heads": re.compile(rf"\[{_TYPE}:?\s(?P<said>[^\[\]]+)\]"),
    "bars": re.compile(rf"(?<!\{{)\{{(?P<said>[^{{}}|]+)\|{_TYPE}\}}(?!\}})"),
    "bars in brackets": re.compile(rf"(?<!\[)\[(?P<said>[^\[\]|]+)\|{_TYPE}\](?!\])"),
}
"""What each form of a mark looks like, with its `label` and what is `said`."""
_PLAIN_NAMES = (
    "per pers person people name first_name last_name org organisation organization company corporation brand group "
    "norp loc location place city country state address gpe geo facility fac date time year month day duration money "
    "currency price percent quantity number ordinal cardinal product event law language work_of_art title_of_work misc "
    "entity disease drug gene protein chemical species symptom treatment dosage dose cell_line cell_type dna rna "
    "mutation aspect opinion skill job occupation phone email url_name food ingredient animal plant material method "
    "artist song album movie film book"
)
"""Types that are known in lower case, too; of a mark in upper case any other is one."""
_OTHER_NAMES = (
    "a b i u s p q h1 h2 h3 h4 h5 h6 em strong small big sub sup tt br hr li ul ol dl dt dd td tr th table tbody thead "
    "div span font center pre code img image figure fig caption head html body title meta link script style form label "
    "input output option select button url quote list size color spoiler video audio youtube note todo inst mask sep "
    "cls pad unk bos eos sic end begin start think thinking thought thoughts reasoning reflection scratchpad tool "
    "tools tool_call call function result results observation action sql math latex user assistant system human bot ai "
    "model instruction instructions response question answer context text doc docno docid document abstract summary "
    "section subsection header footer paragraph para sent sentence s1 s2 line page chapter file path key value data "
    "row item xml json example examples task prompt query solution explanation step steps dialog speaker turn"
)
"""Names in marks that structure a text, or write it otherwise, and are no types of entities."""
_PLAIN_TYPES, _NO_TYPES = frozenset(_PLAIN_NAMES.split()), frozenset(_OTHER_NAMES.split())
_STRICT = {"heads": 0.8}
_SHARE = 0.5
"""Share of texts with a mark, at least: many sentences have no entity."""
_FEWEST_MARKED, _MARKS_PER_TYPE, _MOST_TYPES = 2, 2, 40
_MOST_WORDS, _NEARLY_ALL = 12, 0.95
"""Words that an entity has, and the share of entities that have no more."""
_SAMPLE = 1_000
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class InlineReading:
    """Takes the marks out of a text, and the entities from the marks."""

    form: str
    """A key of `FORMS`."""
    labels: frozenset[str]
    """The types; other marks stay what they are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row's text with its entities. Raises RowError where a mark is left that belongs to none."""
        name, text = pick(values, ("text", "content"))
        if not isinstance(text, str):
            raise RowError(f"`{name}` is missing")
        plain, begin, entities = "", 0, list[list[Any]]()
        for mark in _marks(self.form, text):
            if mark["label"] not in self.labels:
                continue
            plain += text[begin : mark.start()]
            said = mark["said"].strip()
            entities.append([len(plain), len(plain) + len(said), mark["label"]])
            plain, begin = plain + said, mark.end()
        plain += text[begin:]
        left = next((part for part in self._parts() if part in plain), "")
        if left:
            raise RowError(f"`{left}` in `{name}` is a mark within another, or without its other half")
        return {name: plain, "entities": entities}

    def _parts(self) -> Iterator[str]:
        """What is in a text only as a part of a mark."""
        forms = {
            "tags": ("<%s>", "</%s>"),
            "brackets": ("[%s]", "[/%s]"),
            "links": ("](%s)",),
            "heads": ("[%s ",),
            "bars": ("|%s}",),
        }
        yield from (form % label for form in forms.get(self.form, ()) for label in sorted(self.labels))
        yield from ("<START:", "<END>") if self.form == "starts" else ()


def marked_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """A record of words and tags, as `entities_record` makes it; a text that no reading has taken apart has no entity.

    Raises:
        RowError: there is no text, or an entity cuts a word.
    """
    name, text = pick(values, pattern.required[0])
    if not isinstance(text, str):
        raise RowError(f"`{name}` is missing")
    return entities_record(pattern, {"text": text, "entities": values.get("entities", [])}, place)


def marked_texts(rows: Sequence[Mapping[str, Any]], asked: Asked) -> Settled | None:
    """The settled meaning of texts alone in which entities are marked; None for other texts.

    Args:
        rows: values by column.
        asked: what the user has set about their meaning.
    """
    may_be = asked.shape == AUTO and (not asked.records or TaggedRecord in asked.records)
    if not may_be or not set(asked.columns) <= {"text"}:
        return None
    pattern = BY_NAME["marked-text"]
    return _settle(pattern, rows, is_sure=bool(asked.records))


def settle_marked(pattern: Pattern, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Settled:
    """The settled meaning of texts that are known to have entities marked within them, in all or in a few."""
    return _settle(pattern, rows, is_sure=True) or Settled(pattern)


def _settle(pattern: Pattern, rows: Sequence[Mapping[str, Any]], *, is_sure: bool) -> Settled | None:
    texts = [text for values in rows if isinstance(text := pick(values, pattern.required[0])[1], str)]
    found = marked_form(texts, is_sure=is_sure)
    if found is None:
        return None
    labels = frozenset(mark["label"] for text in texts for mark in _marks(found, text) if _is_type(mark))
    first = next(mark[0] for text in texts for mark in _marks(found, text) if mark["label"] in labels)
    note = (
        f"The texts have entities marked within them, as in `{first}`: the words are tagged with "
        f"{quoted(sorted(labels), 8)}, and the marks are left out. To learn the texts as they are: "
        "`--set data.shape=text`."
    )
    return Settled(pattern, (InlineReading(found, labels),), notes=(note,))


def marked_form(texts: Sequence[str], *, is_sure: bool = False) -> str | None:
    """The form in which entities are marked within most of some texts, a key of `FORMS`; None if they are not.

    Args:
        texts: of which the first thousand are examined, unless it is sure.
        is_sure: whether they are known to have entities, so that one mark is enough.
    """
    sample = texts[:_SAMPLE]
    if is_sure:
        counts = {form: sum(_is_type(mark) for text in texts for mark in _marks(form, text)) for form in FORMS}
        most = max(counts, key=lambda form: counts[form])
        return most if counts[most] else None
    return next((form for form in FORMS if _are_marked(form, sample)), None)


def _are_marked(form: str, texts: Sequence[str]) -> bool:
    marks = [found for text in texts if (found := [mark for mark in _marks(form, text) if _is_type(mark)])]
    if len(marks) < max(_FEWEST_MARKED, _STRICT.get(form, _SHARE) * len(texts)):
        return False
    every = [mark for found in marks for mark in found]
    labels = Counter(mark["label"] for mark in every)
    short = sum(len(mark["said"].split()) <= _MOST_WORDS for mark in every)
    beside = sum(_has_words_beside(found) for found in marks)
    return (
        len(labels) <= _MOST_TYPES
        and _MARKS_PER_TYPE * len(labels) <= len(every)
        and short >= _NEARLY_ALL * len(every)
        and 2 * beside > len(marks)
    )


def _marks(form: str, text: str) -> Iterator[re.Match[str]]:
    return FORMS[form].finditer(text)


def _is_type(mark: re.Match[str]) -> bool:
    """Whether a mark names a type of entity: in upper case, or one that is known."""
    label = mark["label"]
    plain = label.lower().replace("-", "_")
    named = mark.re in (FORMS["attributes"], FORMS["starts"], FORMS["links"])  # in these nothing else is named
    is_known = label.isupper() or named or plain in _PLAIN_TYPES
    names = {plain, str(mark.groupdict().get("tag")).lower()}  # `<a class="link">` is of a page
    return is_known and names.isdisjoint(_NO_TYPES) and bool(mark["said"].strip())


def _has_words_beside(marks: Sequence[re.Match[str]]) -> bool:
    """Whether a text has words that are not within its marks."""
    text, begin = marks[0].string, 0
    for mark in marks:
        if _LETTER.search(text, begin, mark.start()):
            return True
        begin = mark.end()
    return _LETTER.search(text, begin) is not None
