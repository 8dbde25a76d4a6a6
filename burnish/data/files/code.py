"""Text files that are code with data in it, other than a list in Python: refused, with the command that makes JSON of
the data.

DATA = {"train": [...], "test": [...]}        const rows = [{prompt: "Hi.", completion: "Hello."}];

As running text, the code would be learned.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from pathlib import Path

from burnish.data.files.loose_json import Loose, by_json5, conversion, listed, loose_value, of_python
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

_BEGINS = re.compile(
    r"(?:\s|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*(?P<target>(?:export\s+)?(?:const|let|var)\s+[\w$]+\s*(?::[^=\n]+)?=(?!=)"
    r"|export\s+default\b|[^\W\d][\w$.]*\s*=(?!=))?\s*(?=[\[{])",
    re.DOTALL,
)
"""What is before the data: comments of JavaScript, and whose value it is."""
_ENDS = re.compile(
    r"(?:\s|;|//[^\n]*(?:\n|\Z)|/\*.*?\*/|export\s+default\s+[\w$]+|module\.exports\s*=\s*[\w$]+)*\Z", re.DOTALL
)
_OF_PYTHON = re.compile(r"\s*(?:#|import |from |\"\"\"|'''|\{|[^\W\d]\w*\s*(?::[^=\n]+)?=\s*\{)")
_QUOTE = re.compile("[\"'`]")
"""Without one, there is no text in the data."""
_LITERALS = (ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant)


def refuse_code(path: Path, text: str) -> None:
    """Raises DataError where a text as a whole is an object or a list with a name, or one that is not quite JSON.

    Args:
        path: of the file.
        text: all of it.
    """
    if (number := _number_of_dict(text)) is not None:
        script = (
            f'import ast, json; body = ast.parse(open({json.dumps(str(path))}, encoding="utf-8-sig").read()).body; '
            f"print(json.dumps(ast.literal_eval(body[{number}].value), default=list))"
        )
        raise _refused(path, "Python", f"`python -c {shell_quoted(script)} > {_made(path)}`")
    begin = _BEGINS.match(text)
    found = None if begin is None else loose_value(text, begin.end())
    if begin is None or found is None or not _ENDS.match(text, found.end):
        return
    if _QUOTE.search(text, found.start, found.end) is None:
        return
    if begin["target"] is None:
        if found.extras and text[found.end :].strip(" \t\n;") == "" and "{" in text[: found.end]:
            raise _refused(path, "", conversion(path, text, found.extras), found.extras)
        return
    raise _refused(path, "JavaScript", _cutting(path, text, found))


def _number_of_dict(text: str) -> int | None:
    """Which statement of some Python code is an object, where all of them are values without code; else None."""
    if not _OF_PYTHON.match(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that mean nothing
            statements = ast.parse(text.removeprefix("\ufeff")).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    values = [getattr(one, "value", None) for one in statements if not isinstance(one, (ast.Import, ast.ImportFrom))]
    if not all(isinstance(value, _LITERALS) for value in values):
        return None
    dicts = [number for number, one in enumerate(statements) if _is_data(getattr(one, "value", None))]
    return max(dicts, key=lambda number: len(ast.unparse(statements[number]))) if dicts else None


def _is_data(value: ast.expr | None) -> bool:
    """Whether an expression is an object that has something in it, and nothing to be computed."""
    if not isinstance(value, ast.Dict) or not value.keys:
        return False
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _cutting(path: Path, text: str, found: Loose) -> str:
    """What makes JSON of the value of a name in JavaScript; empty where there is no command for it."""
    value = text[found.start : found.end]
    reader, install = ("json5", "pip install json5 && ") if found.extras else ("json", "")
    if found.extras and of_python(value):
        reader, install = "ast", ""
    elif not by_json5(found.extras):
        return ""
    call = f"ast.literal_eval({_CUT})" if reader == "ast" else f"{reader}.loads({_CUT})"
    script = (
        f'import json, {reader}; text = open({json.dumps(str(path))}, encoding="utf-8-sig").read(); '
        f"print(json.dumps({call % (found.start, found.end)}))"
    )
    script = script.replace("import json, json;", "import json;")
    return f"`{install}python -c {shell_quoted(script)} > {_made(path)}`"


_CUT = "text[%d:%d]"


def _made(path: Path) -> str:
    return shell_quoted(str(path.with_suffix(".json")))


def _refused(path: Path, language: str, command: str, extras: tuple[str, ...] = ()) -> DataError:
    """The error for a text that is data, with the command that makes JSON of it."""
    command = f": {command}" if command else ""
    what = f"{language} code with data in it" if language else f"JSON but for {listed(extras)}"
    return DataError(
        f"`{path}` is {what}",
        "As running text, its brackets and keys would be learned, too; the rows in it would not be read.",
        f"Write the data as JSON{command}. To learn it as running text, rename it to end in .md",
    )
