"""What is looked for in single texts, conversations and labels."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ftfy.badness import BADNESS_RE

from burnish.check import contents as privacy
from burnish.check.contents import LanguageMix, SpecialTokens, find_mojibake, odd_characters, private_strings
from burnish.check.finding import Tally, kind_of, kinds
from burnish.check.labels import LabelCounts, is_far_too_small, odd_turns, spelled_alike, usual_size
from burnish.check.repair import repaired
from burnish.check.token_view import TokenStatistics
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, EncodedRow, Example
from burnish.tasks.task import Task


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, 12:30, 3.14; (a + b) * 2 = 4 …",
        "Zürich, naïve café, Œuvre, Ærø, „so“, “so”, — – …",
        "Ça va, à bientôt; über Größe; ¿qué? São Paulo; Łódź",
        "日本語のテキスト。 العربية. Привет, мир! 한국어",
        "tabs\tand\nlines\r\n",
        "emoji 🙂 and 👩‍🚀 joined by a joiner of no width, as they must be",
        "The number 1234567890123 is no card, 2024-11-21 no date of one",
        "ISBN 978-3-16-148410-0, tracking 4242 4242, +49 30 1234567",
        "user at example dot com, @handle, a@b, name@example.com",
        "skip-list, desk-top, gh-pages, sk-learn, AKIA, hf_hub, eyJust",
    ],
)
def test_what_is_well_raises_nothing(text: str) -> None:
    assert list(odd_characters(text)) == []
    assert list(private_strings(text)) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail-addresses", "mail bo.li+x@mail.co.uk now"),
        ("card-numbers", "pay 5555-5555-5555-4444"),
        ("card-numbers", "378282246310005"),
        ("secrets", "AKIAIOSFODNN7EXAMPLE"),
        ("secrets", "ghp_" + "a1B2" * 10),
        ("secrets", "hf_" + "aBcD" * 9),
        ("secrets", "xoxb-123456789012-abcdef"),
        ("secrets", "AIza" + "x" * 35),
        ("secrets", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2QT4"),
    ],
)
def test_private_data_is_found(kind: str, text: str) -> None:
    assert [found for found, _ in private_strings(text)] == [kind]


def test_a_secret_is_not_repeated_whole() -> None:
    for text in ("sk-" + "a1B2c3D4" * 5, "4012888888881881"):
        assert all(text not in seen for _, seen in private_strings(text))


@pytest.mark.parametrize("digits", ["4012888888881882", "9012888888881881"])
def test_numbers_that_no_card_has(digits: str) -> None:
    assert list(private_strings(digits)) == []


def turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": "x"} for role in roles]


@pytest.mark.parametrize(
    "roles",
    [
        ("user", "assistant"),
        ("system", "user", "assistant", "user", "assistant"),
        ("user", "assistant", "tool", "assistant"),
        ("user", "assistant", "tool", "tool", "assistant"),
    ],
)
def test_turns_in_order(roles: tuple[str, ...]) -> None:
    assert list(odd_turns(turns(*roles))) == []


@pytest.mark.parametrize(
    "roles",
    [("assistant", "user", "assistant"), ("user", "assistant", "assistant"), ("user", "tool", "assistant")],
)
def test_turns_out_of_order(roles: tuple[str, ...]) -> None:
    assert [kind for kind, _ in odd_turns(turns(*roles))] == ["turns-out-of-order"]


def test_labels_spelled_alike_go_with_the_commoner_one() -> None:
    assert list(spelled_alike({"Good": 2, "good": 9, "go od": 1, "bad": 5})) == [("Good", "good"), ("go od", "good")]


def test_ways_to_write_true_and_false_are_spelled_alike_beside_other_labels() -> None:
    found = list(spelled_alike({"true": 9, "1": 2, "maybe": 5, "no": 1, "T": 1, "2": 1}))
    assert found == [("1", "true")]
    counts = LabelCounts()
    for label in ("true", "true", "1", "maybe"):
        counts.add((label,), "a.jsonl:1")
    tally = Tally()
    counts.tally(tally, True)
    (place,) = tally.places["labels-spelled-alike"]
    assert '`--set \'annotation.rename={"1": "true"}\'`' in place


def test_labels_as_common_as_each_other_stay_in_the_order_of_the_rows() -> None:
    counts, names = LabelCounts(), tuple(f"label {n * 7 % 40}" for n in range(40))
    counts.add((*names, *names), "a.jsonl:1")
    assert tuple(counts.counts) == names
    assert set(counts.counts.values()) == {1}


def test_many_labels_a_row_are_not_lopsided() -> None:
    counts = LabelCounts()
    for number in range(100):
        counts.add(("a", "b") if number % 10 else ("a",), f"f:{number}")
    single, many = Tally(), Tally()
    counts.tally(single, is_single=True)
    counts.tally(many, is_single=False)
    assert set(single.counts) == {"lopsided-labels"}
    assert not many.counts


def test_special_tokens_are_those_of_the_model() -> None:
    added = {0: SimpleNamespace(content="<s>", special=True), 5: SimpleNamespace(content="plain", special=False)}
    tokenizer = SimpleNamespace(added_tokens_decoder=added, all_special_tokens=["<s>", "</s>"])
    look = SpecialTokens(tokenizer, "<s>")
    assert list(look.found_in("<s>as usual")) == [("double-bos", "<s>")]
    assert list(look.found_in("a plain text</s>")) == [("special-tokens-in-text", "</s>")]
    assert list(look.found_in("a plain text")) == []
    nothing = SpecialTokens(SimpleNamespace(added_tokens_decoder={}, all_special_tokens=[]), "")
    assert list(nothing.found_in("<s>")) == []


def test_an_end_that_is_not_learned_blocks() -> None:
    figures, tally = TokenStatistics([9]), Tally()
    learned = Example([1, 2, 9], [IGNORED, 2, 9], "f:1")
    unlearned = Example([1, 2, 9], [IGNORED, 2, IGNORED], "f:2")
    for example, ends in ((learned, True), (unlearned, True), (unlearned, False)):
        figures.add(TextRecord("x", ends, example.place), EncodedRow([example], 0), tally)
    assert tally.counts == {"end-not-learned": 1}
    assert tally.places["end-not-learned"] == ["f:2"]
    assert tally.findings()[0].blocks
    assert figures.lengths() == (3, 3, 3)
    assert figures.share == pytest.approx(4 / 9)


def test_a_tally_counts_all_and_names_the_first() -> None:
    tally = Tally()
    for place in ("a:0", "a:1", "b:0", "b:1"):
        tally.add("empty", place)
    tally.add("secrets", "b:9")
    result = tally.findings()
    assert [(finding.kind.name, finding.count) for finding in result] == [("secrets", 1), ("empty", 4)]
    assert result[1].places == ("a:0", "a:1", "b:0")


def test_every_kind_says_what_to_do() -> None:
    for kind in kinds().values():
        assert kind.severity in ("blocks", "warns")
        assert kind.what
        assert kind.fix
        assert all(kind_of(f"… {reason} …") == kind.name for reason in kind.reasons if not set("[\\") & set(reason)), (
            kind.name
        )


def test_spoilt_text_is_found_where_ftfy_finds_it() -> None:
    draw = random.Random(0)
    pieces = [*"abZ .,?!-'\"\n", *"ÃÂâœŒàèÐÎØÙé", *"€™œ\u0153\xa0\xad©°²³»“”’…", *"√≈‚ÄвЂГўВβ€āΒΞ±日本", "naïve "]
    found = 0
    for _ in range(20_000):
        text = "".join(draw.choices(pieces, [*[9] * 11, *[1] * (len(pieces) - 11)], k=draw.randrange(1, 14)))
        expected = BADNESS_RE.search(text)
        assert find_mojibake(text) == (expected.start() if expected else None), ascii(text)
        found += expected is not None
    assert 2_000 < found < 18_000


@pytest.mark.parametrize(
    ("text", "repaired_text", "change"),
    [
        ("Rome?\u2028second", "Rome?\nsecond", "1 line separator replaced by a newline"),
        ("a\u2029b\u2028c", "a\nb\nc", "2 line separators replaced by newlines"),
        ("a\x0bb\x0cc", "a\nb\nc", "2 line separators replaced by newlines"),
        ("line\x85next é", "line\nnext é", "1 line separator replaced by a newline"),
        ("\ufeffa\ufeffb", "ab", "2 control characters removed"),
    ],
)
def test_other_line_separators_become_newlines(text: str, repaired_text: str, change: str) -> None:
    assert repaired({"text": text}) == ({"text": repaired_text}, [f"`text`: {change}"])
    assert [kind for kind, _ in odd_characters(text)] == ["control-characters"]
    assert list(odd_characters(repaired_text)) == []


def test_an_ellipsis_that_was_decoded_wrongly_is_no_line_end() -> None:
    assert repaired("\x93wait\x85\x94")[0] == "“wait…”"


def test_texts_deep_inside_are_repaired() -> None:
    value = {"messages": [{"content": "a\u200bb", "n": 3}, {"content": "fiancÃ©"}], "id": None}
    made, changes = repaired(value)
    assert made == {"messages": [{"content": "ab", "n": 3}, {"content": "fiancé"}], "id": None}
    assert changes == ["`messages[0].content`: 1 control character removed", "`messages[1].content`: decoded again"]
    assert repaired({"text": "fine, naïve"}) == ({"text": "fine, naïve"}, [])


def test_languages_are_guessed_from_a_sample() -> None:
    mix = LanguageMix(most=50)
    for number in range(200):
        mix.add(f"a:{number}", f"The keeper of the lighthouse writes a letter number {number} every single morning.")
        mix.add(f"b:{number}", "kurz")
    for number in range(100):
        mix.add(
            f"c:{number}",
            f"Der Wärter des Leuchtturms schreibt jeden Morgen den Brief Nummer {number} an seine Schwester.",
        )
    shares = dict(mix.shares())
    assert set(shares) == {"en", "de"}
    assert 0.4 < shares["en"] < 0.9
    assert "en" in mix.summary() and "50 texts" in mix.summary()
    assert LanguageMix().summary() == ""


def test_sizes_are_reported_where_they_are_known() -> None:
    known = cast(Task, SimpleNamespace(name="classify", usual_rows=(500, 5_000)))
    unknown = cast(Task, SimpleNamespace(name="preference", usual_rows=None))
    assert usual_size(known) == "500 to 5,000 are usual for `classify`"
    assert [is_far_too_small(known, rows) for rows in (49, 50)] == [True, False]
    assert (usual_size(unknown), is_far_too_small(unknown, 1)) == ("", False)


_MAIL = re.compile(r"[\w.+-]{1,64}@(?!example\.)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63})+")
_CARD = re.compile(r"(?<!\d)(?<!\d\.)(?:\d[ -]?){12,18}\d(?!\d|\.\d)")
"""What the quicker ways of `privacy.py` must agree with."""


@pytest.mark.parametrize("letters", ["ab.@-c", "a@.example ", "0123 -.", "45 "])
def test_quick_ways_to_addresses_and_cards_find_what_plain_expressions_find(letters: str) -> None:
    source = random.Random(letters)
    found = 0
    for _ in range(3000):
        text = "".join(source.choices(letters, k=source.randint(1, 90)))
        mail = _MAIL.search(text)
        assert privacy._mail_in(text) == (mail[0] if mail else "")
        cards = [(one.span(), one[0]) for one in _CARD.finditer(text)]
        assert [(one.span(), one[0]) for one in privacy._CARD.finditer(text)] == cards
        assert privacy._has_enough_digits(text) or not cards
        found += bool(mail or cards)
    assert found > 20


def test_the_name_of_an_address_is_cut_where_the_plain_expression_cuts_it() -> None:
    text = "x" * 100 + "@host.com"
    assert privacy._mail_in(text) == _MAIL.search(text)[0] == "x" * 64 + "@host.com"  # type: ignore[index]
