"""The table of shapes: which columns mean what, and what makes records of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.chat.messages import THOUGHT, are_turns, ends_with_answer
from burnish.data.rows.mapping import WRITTEN
from burnish.data.rows.pairs import RESULT, SOURCE, is_text_pair
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.printed import as_list, as_object
from burnish.data.rows.records import (
    ChatRecord,
    LabelledRecord,
    PictureRecord,
    PreferenceRecord,
    RatedRecord,
    ScoredRecord,
    SpanRecord,
    TaggedRecord,
    TextRecord,
)
from burnish.data.rows.row import pick
from burnish.data.tags.annotations import (
    SPAN_COLUMNS,
    TEXT_COLUMNS,
    WORD_SPAN_COLUMNS,
    WORD_SPAN_WORDS,
    holds_spans,
    holds_word_spans,
)
from burnish.data.tags.listed import is_scheme_tag, words_in


def has_word_tags(values: Mapping[str, Any]) -> bool:
    """Whether words and tags are lists, or as many as each other in texts; of a running text all tags are those of a
    scheme, such as `B-PER` and `O`."""
    (name, words), (tags_name, tags) = pick(values, WORDS), pick(values, TAGS)
    words, tags = as_list(words), as_list(tags)
    if isinstance(words, list) and isinstance(tags, list):
        # a column of this name may as well hold spans of words
        return tags_name not in WORD_SPAN_COLUMNS or 0 < len(words) == len(tags) == sum(map(_is_text, tags))
    found, named = words_in(words), words_in(tags)
    is_even = 0 < len(found) == len(named)
    return is_even and (name in ONLY_WORDS or (all(map(is_scheme_tag, named)) and any("-" in tag for tag in named)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def has_word_spans(values: Mapping[str, Any]) -> bool:
    """Whether a row has words with entities as numbers of words, and no tag for each word."""
    return holds_word_spans(values) and not has_word_tags(values)


def has_picture_parts(values: Mapping[str, Any]) -> bool:
    """Whether a message has an image part."""
    turns = pick(values, TURNS)[1]
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return any(part.get("type") in ("image", "image_url", "input_image") for part in parts)


def has_places(values: Mapping[str, Any]) -> bool:
    """Whether answers are those of a text: any `answers`, or an `answer` that says where it begins."""
    answer = as_object(values.get("answer"))
    if "answer_start" in values:
        return False
    if "context" not in values:
        answers = as_object(values.get("answers"))
        one = answers[0] if isinstance(answers, list) and answers else answers
        return isinstance(one, dict) and "answer_start" in one
    return "answers" in values or (isinstance(answer, dict) and {"text", "answer_start"} <= answer.keys())


def is_answered_pair(values: Mapping[str, Any]) -> bool:
    """Whether a conversation ends with an answer, and a worse one, in words or messages, is beside it."""
    turns, worse = as_list(pick(values, TURNS)[1]), pick(values, WORSE)[1]
    return ends_with_answer(turns) and isinstance(worse, (str, dict, list)) and bool(worse)


def is_dialogue(values: Mapping[str, Any]) -> bool:
    """Whether a row has texts that user and assistant say in turn, and no other text to be written.

    Benchmarks such as MT-Bench have rows with a `question_id`, whose turns are all the user's.
    """
    is_asked = any(name in values for name in ("question_id", *WRITTEN, *RESULT))
    return not is_asked and are_turns(pick(values, DIALOGUES)[1])


SYSTEM = ("system", "system_prompt", "system_message", "systemInstruction", "system_instruction", "preamble")
TOOLS = ("tools", "functions")
TURNS, PROMPT = ("messages", "conversations", "contents"), ("prompt", "question", "instruction")
DIALOGUES = (*TURNS, "dialog", "dialogue", "dialogs", "dialogues", "conversation", "utterances", "turns", "chat")
"""Columns that may hold what is said in turn, as a list of texts."""
ANSWER = ("completion", "response", "output", "answer")
TEXT = (
    "text", "sentence", "review", "comment", "content", "tweet", "utterance", "headline", "reviewtext", "review_text",
    "review_body",
)  # fmt: skip
LABEL = (
    "label", "labels", "gold_label", "category", "class", "sentiment", "intent", "topic", "emotion", "stance", "target",
    "accept",
)  # fmt: skip
SCORE = (
    "score", "similarity", "similarity_score", "relatedness", "relatedness_score", "stars", "star_rating", "rating",
    "grade", "points", "overall",
)  # fmt: skip
RATING = (
    "label", "rating", "score", "stars", "reward", "feedback", "thumbs", "vote", "is_good", "is_correct", "correct",
    "accepted", "desirable", "kto_tag",
)  # fmt: skip
FIRST = ("sentence1", "premise", "text1", "text_a", "question1", "question", "text")
SECOND = ("sentence2", "hypothesis", "text2", "text_b", "question2", "text_pair", "sentence")
TAGS = ("tags", "ner_tags", "labels", "pos_tags", "chunk_tags", "word_labels", "bio_tags", "iob_tags", "ner")
ONLY_WORDS = ("tokens", "words")
WORDS = (*ONLY_WORDS, "text", "sentence")
"""Columns with the words of a sentence; the last ones only beside tags of a scheme for each of them."""
PICTURES = ("images", "image")
WORSE = ("rejected_response", "rejected_messages", "rejected")
"""Columns with a worse answer beside a conversation that ends with the better one."""
PAIR, OUTPUTS = (("chosen",), ("rejected",)), (("preferred_output",), ("non_preferred_output",))
CONTEXT, HISTORY = ("context", "passage", "paragraph"), ("history", "chat_history")
_CHAT_ROWS, _PREFERENCES = "burnish.data.chat.rows", "burnish.data.preference.rows"
_CONVERSATION, _ANSWER = f"{_CHAT_ROWS}:conversation_record", f"{_CHAT_ROWS}:answer_record"
_PAIR, _INPUT_PAIR = f"{_PREFERENCES}:pair_record", f"{_PREFERENCES}:input_pair_record"
_DIALOGUES, _RATED = f"{_PREFERENCES}:dialogues_record", f"{_PREFERENCES}:rated_record"
_LABELLED, _SCORED = (f"burnish.data.labels.rows:{name}_record" for name in ("labelled", "scored"))
_SETTLE_LABELS, _SETTLE_TEXT = "burnish.data.labels.settling:settle_labels", "burnish.data.labels.texts:settle_text"
_SETTLE_RATING, _SETTLE_PAIR = (f"burnish.data.preference.ratings:settle_{name}" for name in ("rating", "pair"))
_CHAT = "burnish.data.preference.conversations:settle_conversation"
_TAGGED, _PLAIN = "burnish.data.tags.words:tagged_record", "burnish.data.tokens.text:text_record"
_MARKED, _SETTLE_MARKED = "burnish.data.tags.inline", "burnish.data.tags.inline:settle_marked"
_ENTITY_ROWS, _PAIR_NOTES = "burnish.data.tags.entities", "burnish.data.rows.pairs:pair_notes"
_SPAN_TOO, _SPAN_NOTES = (("id",), ("is_impossible",)), "burnish.data.spans.rows:span_notes"
_SPAN, _PICTURES = "burnish.data.spans.rows:span_record", "burnish.data.images.rows:picture_record"

# The first match is used, so more specific shapes come first: many datasets also have a rendered `text`.
PATTERNS = (
    Pattern(
        "entities",
        TaggedRecord,
        f"{_ENTITY_ROWS}:entities_record",
        (TEXT_COLUMNS, SPAN_COLUMNS),
        (("tokens",), ("answer",)),
        test=holds_spans,
        settle=f"{_ENTITY_ROWS}:settle_entities",
        notes=f"{_ENTITY_ROWS}:entities_notes",
    ),
    Pattern(
        "word-entities",
        TaggedRecord,
        f"{_ENTITY_ROWS}:word_entities_record",
        (WORD_SPAN_WORDS, WORD_SPAN_COLUMNS),
        test=has_word_spans,
        settle=f"{_ENTITY_ROWS}:settle_word_entities",
    ),
    Pattern(
        "preference",
        PreferenceRecord,
        _PAIR,
        (PROMPT, *PAIR),
        (TOOLS, SYSTEM, HISTORY),
        ("input",),
        notes=f"{_PREFERENCES}:pair_notes",
        settle=_SETTLE_PAIR,
        answers=PAIR,
    ),
    Pattern(
        "preference-messages",
        PreferenceRecord,
        _PAIR,
        (TURNS, *PAIR),
        (TOOLS, SYSTEM),
        notes=f"{_PREFERENCES}:pair_notes",
        settle=_SETTLE_PAIR,
        answers=PAIR,
    ),
    Pattern(
        "preference-dialogues",
        PreferenceRecord,
        _DIALOGUES,
        (("chosen", "chosen_messages"), ("rejected", "rejected_messages")),
        (TOOLS, SYSTEM),
        settle=_SETTLE_PAIR,
    ),
    Pattern(
        "preference-answered",
        PreferenceRecord,
        f"{_PREFERENCES}:answered_pair_record",
        (TURNS, WORSE),
        (TOOLS, SYSTEM),
        test=is_answered_pair,
        settle="burnish.data.preference.worse:settle_answered",
        answers=(WORSE,),
    ),
    Pattern(
        "preference-input",
        PreferenceRecord,
        _INPUT_PAIR,
        (("input",), *OUTPUTS),
        notes=f"{_PREFERENCES}:input_notes",
        answers=OUTPUTS,
    ),
    Pattern(
        "rated",
        RatedRecord,
        _RATED,
        (PROMPT, ANSWER, RATING),
        (TOOLS, SYSTEM, HISTORY),
        ("input",),
        notes=f"{_PREFERENCES}:pair_notes",
        settle=_SETTLE_RATING,
        answers=(ANSWER, RATING),
    ),
    Pattern(
        "rated-messages",
        RatedRecord,
        _RATED,
        (TURNS, RATING),
        (TOOLS, SYSTEM),
        settle=_SETTLE_RATING,
        answers=(RATING,),
    ),
    Pattern("pictures", PictureRecord, _PICTURES, (TURNS, PICTURES), (SYSTEM,)),
    Pattern("picture-question", PictureRecord, _PICTURES, (PICTURES, PROMPT, ANSWER), (SYSTEM,), answers=(ANSWER,)),
    Pattern("picture-messages", PictureRecord, _PICTURES, (TURNS,), (SYSTEM,), test=has_picture_parts),
    Pattern(
        "turns",
        ChatRecord,
        _CONVERSATION,
        (DIALOGUES,),
        (TOOLS, SYSTEM),
        test=is_dialogue,
        notes=f"{_CHAT_ROWS}:dialogue_notes",
        settle=_CHAT,
    ),
    Pattern("messages", ChatRecord, _CONVERSATION, (TURNS,), (TOOLS, SYSTEM), settle=_CHAT),
    Pattern(
        "sharegpt",
        ChatRecord,
        _CONVERSATION,
        (("conversations", "messages", "contents"),),
        (TOOLS, SYSTEM),
        settle=_CHAT,
    ),
    Pattern(
        "span",
        SpanRecord,
        _SPAN,
        (CONTEXT, ("question",), ("answers", "answer")),
        _SPAN_TOO,
        test=has_places,
        notes=_SPAN_NOTES,
    ),
    Pattern(
        "span-start",
        SpanRecord,
        _SPAN,
        (CONTEXT, ("question",), ("answer", "answer_text", "answers"), ("answer_start",)),
        _SPAN_TOO,
        notes=_SPAN_NOTES,
    ),
    Pattern(
        "tagged",
        TaggedRecord,
        _TAGGED,
        (WORDS, TAGS),
        (("sentence_id",),),
        test=has_word_tags,
        notes="burnish.data.tags.words:tagged_notes",
    ),
    Pattern("labelled-pair", LabelledRecord, _LABELLED, (FIRST, SECOND, (*LABEL, *SCORE)), settle=_SETTLE_LABELS),
    Pattern("scored-pair", ScoredRecord, _SCORED, (FIRST, SECOND, (*LABEL, *SCORE)), settle=_SETTLE_LABELS),
    Pattern(
        "alpaca",
        ChatRecord,
        _ANSWER,
        (("instruction",), ("output",)),
        (SYSTEM, THOUGHT, HISTORY),
        ("input",),
        settle=_CHAT,
        answers=(("output",),),
    ),
    Pattern(
        "instruction-response",
        ChatRecord,
        _ANSWER,
        (("instruction",), ("response",)),
        (SYSTEM, THOUGHT, HISTORY),
        ("input", "context"),
        settle=_CHAT,
        answers=(("response",),),
    ),
    Pattern(
        "prompt-completion",
        ChatRecord,
        _ANSWER,
        (("prompt",), ANSWER),
        (TOOLS, SYSTEM, THOUGHT, HISTORY),
        settle=_CHAT,
        answers=(ANSWER,),
    ),
    Pattern(
        "question-answer",
        ChatRecord,
        _ANSWER,
        (("question",), ("answer", "answers")),
        (SYSTEM, THOUGHT, HISTORY),
        CONTEXT,
        notes=f"{_CHAT_ROWS}:context_notes",
        settle=_CHAT,
        answers=(("answer", "answers"),),
    ),
    Pattern(
        "source-target",
        ChatRecord,
        _ANSWER,
        (SOURCE, RESULT),
        (SYSTEM, THOUGHT, HISTORY),
        test=is_text_pair,
        notes=_PAIR_NOTES,
        settle=_CHAT,
        answers=(RESULT,),
    ),
    Pattern("labelled-text", LabelledRecord, _LABELLED, (TEXT, (*LABEL, *SCORE)), settle=_SETTLE_LABELS),
    Pattern("scored-text", ScoredRecord, _SCORED, (TEXT, (*LABEL, *SCORE)), settle=_SETTLE_LABELS),
    Pattern("text", TextRecord, _PLAIN, (("text", "content"),), (("ends",),), settle=_SETTLE_TEXT),
    # `text` comes first, and says where entities are marked within the texts
    Pattern("marked-text", TaggedRecord, f"{_MARKED}:marked_record", (("text", "content"),), settle=_SETTLE_MARKED),
)
BY_NAME = {pattern.name: pattern for pattern in PATTERNS}
CONVERSATIONS = ("messages", "sharegpt")
"""Shapes with a list of messages. They differ only in names of keys, so each can read the other."""
