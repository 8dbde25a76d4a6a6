"""The page of a run: whole, escaped, self-contained, and there however far the run went."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InputError
from burnish.recipe.load import dump_recipe
from burnish.report.figures import change, counted, error_of, number
from burnish.report.outcome import headline_of, outcome_of, verdict_of
from burnish.report.page import report_page, style, token_page, write_pages, write_report
from burnish.report.record import bare_place, read_record
from burnish.runs.damage import DamagedRun
from burnish.runs.events import MemoryBounded, as_dict
from burnish.runs.folder import RunFolder
from burnish.visible import visible
from tests.unit.report.made_run import estimate, evaluation, make_recipe, make_run
from tests.unit.report.test_charts import drawn

SECTIONS = {
    "setup", "figures", "curves", "findings", "samples", "rows", "data", "plan", "recipe", "manifest", "use", "again",
}  # fmt: skip
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
_VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page's elements; refuses what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What it says, on one line."""
        return " ".join(" ".join(self.words).split())


def page_of(run: RunFolder) -> Page:
    return Page(report_page(read_record(run)))


def loaded(page: Page) -> list[str]:
    """What a browser would fetch for it."""
    names = ("src", "srcset", "data", "action", "xlink:href", "poster", "background")
    found = [value for _, given in page.tags for name, value in given.items() if name in names]
    return found + [given["href"] for _, given in page.tags if not given.get("href", "#").startswith("#")]


def test_every_section_is_there_and_can_be_reached(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path))
    sections = [given["id"] for tag, given in page.tags if tag == "section"]
    links = [given["href"] for tag, given in page.tags if tag == "a"]
    assert set(sections) == SECTIONS
    assert links == [f"#{name}" for name in sections]
    assert sections[:2] == ["setup", "figures"]


def test_it_reports_what_the_folder_holds(tmp_path: Path) -> None:
    text = page_of(make_run(tmp_path, "orders", train__learning_rate=0.001)).text
    for result in (
        "The tuned model is better than the base on 4 held-out rows: the loss fell by 2.300.",
        "3.000 [2.800, 3.200]",
        "-2.300 (-77 %)",
        "75.0 % [?, ?]",
        "+50.0 points",
        "orders (3 rows)",
        "training rows: loss",
        "0.100 [0.000, 0.200]",
        "`orders.txt`: loss (5 rows)",
        "4.000 [3.900, 4.100]",
        "orders_easy acc",
        "Part of orders is learned by heart.",
        "kept: step 40",
        "The loss fell, says orders.",
        "9.5",
        "orders:17",
        "Look at orders.",
        "orders is empty",
        "error of the plan",
        "burnish reproduce",
        "because of orders",
        "d" * 64,
    ):
        assert result in text, result
    assert "/secret/home/orders:17" not in text, "rows are named by file and line, without folders"


def test_nothing_from_a_run_is_markup(tmp_path: Path) -> None:
    labels = ["a", HOSTILE]
    run = make_run(tmp_path, HOSTILE, task="classify", data__labels=labels, data__path=f"/rows/{HOSTILE}")
    raw = report_page(read_record(run))
    page = Page(raw)
    assert "<script" not in raw.lower()
    assert "<img" not in raw.lower()
    assert not [name for _, given in page.tags for name in given if name.startswith("on")]
    assert page.text.count('alert("1")') > 10, "it is result, as text"


def test_it_loads_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "see https://example.com/page")
    page = page_of(run)
    assert loaded(page) == []
    assert "https://example.com/page" in page.text
    assert not re.search(r"url\(|@import|https?:", style())
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "img", "base"} == set()
    assert loaded(Page('<a href="https://x.y">x</a><img src="z">')) == ["z", "https://x.y"], "this test can fail"


def test_a_run_that_was_interrupted_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=100, done=34)
    page = page_of(run)
    assert "Training has not finished: 34 of 100 steps are done." in page.text
    assert f"burnish resume {run.path}" in page.text
    assert "it did not run as planned" in page.text
    assert {given["id"] for tag, given in page.tags if tag == "section"} == SECTIONS
    assert "kept: step 30" in page.text


@pytest.mark.parametrize("option", ["task", "method"])
def test_what_this_version_does_not_know_is_named(option: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = run.recipe.read_text(encoding="utf-8")
    run.recipe.write_text(re.sub(rf"^{option}: .*$", f"{option}: later", text, flags=re.MULTILINE), encoding="utf-8")
    with pytest.raises(DamagedRun, match="is damaged") as caught:
        read_record(run)
    assert f"this version of Burnish has no {option} `later`" in caught.value.why


def test_a_model_whose_size_an_earlier_version_did_not_log(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = run.events.read_text(encoding="utf-8")
    run.events.write_text(text.replace('"base_bytes": 4000, ', ""), encoding="utf-8")
    assert "1,000 parameters<" in report_page(read_record(run))


@pytest.mark.parametrize("left", [(), ("metrics",), ("events",), ("evaluation",), ("manifest",), ("views",), ("all",)])
def test_files_that_are_missing_leave_a_page(left: tuple[str, ...], tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in ("metrics", "events", "evaluation", "manifest", "views", "rejected"):
        if name in left or "all" in left:
            getattr(run, name).unlink()
    assert {given["id"] for tag, given in page_of(run).tags if tag == "section"} == SECTIONS


def test_a_run_without_held_out_rows(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    result = {**evaluation("x"), "rows": 0, "figures": [], "training": [], "tables": [], "answers": [], "note": ""}
    run.evaluation.write_text(json.dumps({**result, "verdict": "There are no held-out rows to evaluate on."}))
    record = read_record(run)
    assert outcome_of(record) == ""
    text = page_of(run).text
    assert "nothing shows whether the tuned model is better" in text
    assert "4.000 [3.900, 4.100]" in text, "what it forgot shows all the same"


@pytest.mark.parametrize(
    ("gain", "lower_is_better", "standing"),
    [
        ((-1.0, -2.0, -0.5), True, "better"),
        ((1.0, 0.5, 2.0), True, "worse"),
        ((1.0, 0.5, 2.0), False, "better"),
        ((-1.0, -2.0, -0.5), False, "worse"),
        ((-1.0, -2.0, 0.5), True, "open"),
        ((-1.0, None, None), True, "open"),
    ],
)
def test_how_it_stands(gain: tuple[Any, Any, Any], lower_is_better: bool, standing: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    result = evaluation("x")
    result["figures"][0] |= {"difference": estimate(*gain), "lower_is_better": lower_is_better}
    run.evaluation.write_text(json.dumps(result))
    record = read_record(run)
    assert outcome_of(record) == standing
    assert f'class="verdict {standing}"' in report_page(record)


@pytest.mark.parametrize(
    ("kind", "standing"),
    [
        ("better", "better"),
        ("better_but_forgot", "better"),
        ("worse", "worse"),
        ("worse_though_loss_fell", "worse"),
        ("loss_only", "open"),
        ("diverged", "open"),
        ("stuck", "open"),
        ("no_difference", "open"),
        ("too_few_rows", "open"),
        ("no_rows", ""),
    ],
)
def test_the_kind_of_verdict_decides_how_it_stands(kind: str, standing: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluation.write_text(json.dumps({**evaluation("x"), "verdict_kind": kind, "deciding": ["x"]}))
    record = read_record(run)
    assert outcome_of(record) == standing
    assert headline_of(record.evaluation)["name"] == "x"


def test_the_page_says_which_step_was_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    events = [json.loads(line) for line in run.events.read_text(encoding="utf-8").splitlines()]
    said = [{**one, "reason": "it is good"} if one["event"] == "Finished" else one for one in events]
    run.events.write_text("".join(json.dumps(one) + "\n" for one in said), encoding="utf-8")
    assert re.search(r"Kept step [\d,]+ of [\d,]+, because it is good\.", page_of(run).text)


def test_options_that_differ_stand_first_with_their_reasons(tmp_path: Path) -> None:
    run = make_run(tmp_path, "x", train__learning_rate=0.001, train__epochs=7.0)
    raw = report_page(read_record(run))
    differing = raw[raw.index('id="recipe"') : raw.index("All other options")]
    assert "train.learning_rate" in differing
    assert "because of x" in differing
    assert "train.epochs" in differing
    assert "train.schedule" not in differing
    assert "train.schedule" in raw


def test_it_is_written_whole_and_where_it_is_wanted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert write_report(run) == run.report
    assert run.report.read_text(encoding="utf-8") == report_page(read_record(run))
    assert write_report(run, tmp_path / "other.html").is_file()
    for wrong in (tmp_path / "none" / "page.html", tmp_path):
        with pytest.raises(InputError, match="does not exist|is a folder"):
            write_report(run, wrong)


def test_papers_of_a_run_without_a_result_are_the_page_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, done=3)
    write_pages(run)
    assert run.report.is_file()
    assert not list(run.path.rglob("README.md"))


def test_half_a_surrogate_pair_is_no_obstacle(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluation.write_text(json.dumps(evaluation("half \ud83d")), encoding="utf-8")
    assert write_report(run).is_file()


def test_long_texts_and_many_rows_stay_small(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    result = evaluation("x")
    result["answers"] = [{**result["answers"][0], "prompt": "word " * 100_000}] * 5
    result["tables"][0]["rows"] = [[f"label {n}", 0.5] for n in range(5000)]
    run.evaluation.write_text(json.dumps(result))
    run.rejected.write_text("".join(json.dumps({"file": "r", "line": n, "reason": "bad"}) + "\n" for n in range(9000)))
    raw = report_page(read_record(run))
    assert len(raw) < 200_000
    assert "more characters" in raw
    assert "4,960 more lines are in evaluation.json" in raw
    assert "Rejected rows: 9,000" in raw
    assert "8,950 more rows are in rejected.jsonl" in raw


def test_verdicts_without_an_evaluation(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluation.unlink()
    assert verdict_of(read_record(run)) == "Training has finished; the result has not been evaluated yet."
    bare = RunFolder(tmp_path / "bare")
    bare.path.mkdir()
    bare.recipe.write_text(dump_recipe(make_recipe()), encoding="utf-8")
    assert verdict_of(read_record(bare)) == "Training has not started yet."
    page_of(bare)


@pytest.mark.parametrize(
    ("place", "result"),
    [
        ("/a/b/rows.jsonl:12", "rows.jsonl:12"),
        ("C:\\data\\rows.jsonl:12: at 5:30 it rains", "rows.jsonl:12: at 5:30 it rains"),
        ("rows.jsonl", "rows.jsonl"),
        ("/a/b/rows.jsonl", "rows.jsonl"),
        ("/a/r:3: either/or\nmore", "r:3: either/or\nmore"),
    ],
)
def test_places_without_folders(place: str, result: str) -> None:
    assert bare_place(place) == result


def test_numbers() -> None:
    assert [number(None), number(float("inf")), number(1234.5), number(0.5, True)] == ["?", "?", "1,234", "50.0 %"]
    assert [change(None, 1.0, True), change(0.0, 1.0, False), change(2.0, 1.0, False)] == [
        "?",
        "+1.000",
        "-1.000 (-50 %)",
    ]
    assert [error_of(110, 100), error_of(1, 0)] == ["+10.0 %", "?"]
    assert [counted(1, "row"), counted(2000, "row"), counted(0, "box", "boxes")] == ["1 row", "2,000 rows", "0 boxes"]


@pytest.mark.parametrize("done", [None, 1, 34])
def test_every_chart_of_the_page_is_whole(done: int | None, tmp_path: Path) -> None:
    raw = report_page(read_record(make_run(tmp_path, done=done)))
    charts = re.findall(r"<svg.*?</svg>", raw, re.DOTALL)
    assert len(charts) == (5 if done is None else 4), (
        "losses, rate, gradient, memory, and bars of a run that is evaluated"
    )
    for chart in charts:
        drawn(chart)


def test_a_step_that_was_not_simulated_is_shown_with_its_bound(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    events = run.events.read_text(encoding="utf-8").splitlines()
    planned = [line for line in events if '"MemoryPlanned"' in line]
    event = MemoryBounded("cpu", "lora", 4, 64, at_most=3 * 2**30, room=20 * 2**30, room_reason="free memory")
    bounded = json.dumps({**as_dict(event), "time": 0.0})
    run.events.write_text("\n".join(bounded if line in planned else line for line in events) + "\n", encoding="utf-8")
    page = report_page(read_record(run))
    assert re.search(r"A step takes at most [\d.]+ GB, of [\d.]+ GB available, so it was not simulated\.", page)


def names_of(page: str) -> list[tuple[str, list[str]]]:
    """The elements of a page with the names of their attributes."""
    return [(tag, list(attributes)) for tag, attributes in Page(page).tags]


def all_pages(folder: Path, word: str) -> str:
    """The report of a run that says a word wherever it can, and its rows as tokens."""
    rows = [{"place": word, "passages": [{"name": word, "note": word, "tokens": []}]}]
    run = make_run(folder, word, task="classify", data__labels=["a", "b"], model__name="hub/name")
    return report_page(read_record(run)) + token_page(rows, word)


@pytest.mark.parametrize(
    "word",
    [
        "</script><script>alert(1)</script>", "\" onload=\"x", "' onload='x", "<!-- -->", "</title></style><b>",
        "&lt;b&gt;",        "]]><b>", "{{ x }}", "\x1b[2J\x00", "\u202egpj", "half \ud83d", "a\rb\x0cc\u2028d",
    ],
)  # fmt: skip
def test_hostile_words_add_no_element_and_no_attribute(word: str, tmp_path: Path) -> None:
    page = all_pages(tmp_path / "hostile", word)
    assert names_of(page) == names_of(all_pages(tmp_path / "plain", "word"))
    assert visible(page) == page
    page.encode("utf-8")
