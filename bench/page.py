"""What a bench has measured, put into a page of the documentation."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write_between(page: Path, name: str, text: str) -> None:
    """Replaces the text between the two markers of that name.

    Raises:
        SystemExit: the page has no such markers, or more than one pair of them.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = page.read_text(encoding="utf-8")
    head, _, rest = whole.partition(begin)
    _, found, tail = rest.partition(end)
    if not found or whole.count(begin) > 1 or whole.count(end) > 1:
        raise SystemExit(
            f"{page.name} has no place for `{name}`: `{begin}` and `{end}` do not stand in it once each, in this "
            "order.\nWrite both lines where the text belongs, then run the command again"
        )
    page.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")
