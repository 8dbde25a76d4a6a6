"""The sources of a recipe's values: a YAML file, flags and `--set`. Each value keeps its origin."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.errors import RecipeError
from burnish.recipe.limits import TooMuch, compose, read_limited
from burnish.recipe.names import did_you_mean, holder, options, sections, shown, takes_text_only, takes_texts
from burnish.system.shell import quoted

if TYPE_CHECKING:
    import yaml


class Check(enum.IntEnum):
    """The order in which problems are reported: a misspelled name is never hidden behind a wrong value."""

    NAME = 0
    TYPE = 1
    RANGE = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with the value that caused it, and how to fix it."""

    check: Check
    what: str
    fix: str | Callable[[], str] = ""
    """If it takes long to find, a function that finds it: of many problems only the first are shown."""

    def hint(self) -> str:
        """How to fix it; empty if that is not known."""
        return self.fix() if callable(self.fix) else self.fix


_LISTED = 20
"""Problems that are listed one by one."""


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raises one error for all problems; does nothing if there are none.

    Raises:
        RecipeError: there is at least one problem.
    """
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem.check)
    if len(ordered) == 1:
        raise RecipeError(ordered[0].what, fix=ordered[0].hint())
    lines = [f"- {problem.what}{_hint(problem.hint())}" for problem in ordered[:_LISTED]]
    if len(ordered) > _LISTED:
        lines.append(f"- and {len(ordered) - _LISTED:,} more")
    raise RecipeError(f"{len(ordered)} options are wrong", "\n".join(lines), "Fix all of these; nothing was started")


def _hint(fix: str) -> str:
    return f". {fix}" if fix else ""


FLAG = "flag"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """A value from the user and its origin: `flag`, or `recipe.yaml line 7`."""

    value: Any
    origin: str
    written: str
    """The origin as messages name it: `--set`, `recipe.yaml line 7`, or empty for a named flag."""


Source = dict[str, Given]
"""The values of one source by dotted name."""


def read_flags(flags: Mapping[str, Any]) -> tuple[Source, list[Problem]]:
    """Values of named flags or Python keywords, by dotted name."""
    source: Source = {}
    problems = []
    for name, value in flags.items():
        if name in options() or holder(name):
            source[name] = Given(value, FLAG, "")
        else:
            problems.append(_unknown(name, ""))
    return source, problems


def read_sets(sets: Sequence[str]) -> tuple[Source, list[Problem]]:
    """Values written as `train.epochs=2`; the part after the `=` is YAML."""
    source: Source = {}
    problems = []
    for written in sets:
        name, equals, text = (part.strip() for part in written.partition("="))
        if not equals:
            problems.append(
                Problem(Check.NAME, f"`--set {written}` has no value", "Write it as `--set train.epochs=2`")
            )
        elif name in options() or holder(name):
            parsed = _parse_value(name, text)
            if isinstance(parsed, Problem):
                problems.append(parsed)
            else:
                source[name] = parsed
        else:
            problems.append(_unknown(name, "--set"))
    return source, problems


def read_file(path: Path) -> tuple[Source, list[Problem]]:
    """Values of a YAML recipe, each with its line.

    Raises:
        RecipeError: the file is missing, is not text, or is not YAML (with line and column).
    """
    import yaml

    root = _compose(path)
    if root is None:
        return {}, []
    _refuse_rows(root, path)
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError(
            f"`{path}` is not a recipe",
            "It has no `name: value` pairs.",
            "`docs/options.md` lists all options",
        )
    source: Source = {}
    problems: list[Problem] = []
    for name, node, line in _entries(root, path, problems):
        place = f"{path.name} line {line}"
        if name in source:
            problems.append(Problem(Check.NAME, f"`{name}` is set twice ({source[name].origin} and line {line})"))
        value = _construct(name, node, place)
        if isinstance(value, Problem):
            problems.append(value)
        else:
            source[name] = Given(value, place, place)
    return source, problems


_ROWS_OF = {"nlu": "Rasa", "stories": "Rasa", "rules": "Rasa", "conversations": "ChatterBot"}
"""Names that files of training data in YAML have at their top, and the tools that they are for."""


def _refuse_rows(root: yaml.Node, path: Path) -> None:
    """Raises RecipeError for a file of rows: a list, or lists under names that are no options."""
    import yaml

    names = [str(key.value) for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    if any(name in options() or name in sections() for name in names):
        return
    nodes = [node for _, node in root.value] if isinstance(root, yaml.MappingNode) else [root]
    if not any(isinstance(node, yaml.SequenceNode) and node.value for node in nodes):
        return
    tool = next((f" of {_ROWS_OF[name]}" for name in names if name in _ROWS_OF), "")
    to_json = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)"
    written = quoted(f"{path.stem}.json")
    raise RecipeError(
        f"`{path}` is not a recipe; it seems to be training data{tool}",
        "Files that end in `.yaml` or `.yml` are recipes, and none of "
        f"{', '.join(f'`{name}`' for name in names[:5]) or 'its values'} is an option.",
        f'Write it as JSON, a format of data: `python -c "{to_json}" < {quoted(str(path))} > {written}`',
    )


_YAML_FORM = "Write one `name: value` per line, indented below its section; see `docs/options.md`"


def _compose(path: Path) -> yaml.Node | None:
    import yaml

    try:
        text = read_limited(path)
        return compose(text)
    except TooMuch as error:
        raise RecipeError(f"`{path}` is not a recipe", str(error), _YAML_FORM) from None
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe `{path}`", fix=_nearby(path)) from None
    except UnicodeDecodeError as error:
        why = f"It is not UTF-8 text (byte {error.start + 1})."
        raise RecipeError(f"`{path}` is not a recipe", why, "Save it as UTF-8") from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe `{path}`", f"{error.strerror}.", "Check the path") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        why = f"The parser reports: {error.problem or error.context}."
        raise RecipeError(f"`{path}{place}` is not YAML", why, _YAML_FORM) from None
    except yaml.YAMLError as error:
        why = f"The parser reports: {' '.join(str(error).split())}."
        raise RecipeError(f"`{path}` is not YAML", why, _YAML_FORM) from None


def _nearby(path: Path) -> str:
    """A hint that lists the recipes in the same folder."""
    found = sorted(entry.name for entry in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    listed = ", ".join(f"`{name}`" for name in found[:5])
    return f"Recipes in `{path.parent}`: {listed}" if found else "Check the path"


def _entries(root: yaml.MappingNode, path: Path, problems: list[Problem]) -> Iterator[tuple[str, yaml.Node, int]]:
    """Every known option in the file with its node and 1-based line; unknown ones are added to `problems`."""
    import yaml

    for key, node in root.value:
        name, line = str(key.value), key.start_mark.line + 1
        place = f"{path.name} line {line}"
        if not isinstance(key, yaml.ScalarNode):
            problems.append(_no_name(place))
        elif name in options():
            yield name, node, line
        elif name not in sections():
            problems.append(_unknown(name, place))
        elif isinstance(node, yaml.MappingNode):
            yield from _section_entries(name, node, path, problems)
        elif not _is_null(node):
            example = next(option for option in options() if option.startswith(f"{name}."))
            fix = f"Write `{name}:` and indented below it, for example, `{example.rpartition('.')[2]}: ...`"
            problems.append(Problem(Check.TYPE, f"`{name}` is a section and takes no value itself ({place})", fix))


def _section_entries(
    section: str, node: yaml.MappingNode, path: Path, problems: list[Problem]
) -> Iterator[tuple[str, yaml.Node, int]]:
    import yaml

    for key, inner in node.value:
        name, line = f"{section}.{key.value}", key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(_no_name(f"{path.name} line {line}"))
        elif name in options():
            yield name, inner, line
        else:
            problems.append(_unknown(name, f"{path.name} line {line}"))


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _construct(name: str, node: yaml.Node, written: str) -> Any:
    """The value of a node, or the Problem with it.

    If an option takes only text, `2024`, `1e5` and `on` are kept as written.
    """
    import yaml

    field = options()[holder(name) or name]
    is_scalar = isinstance(node, yaml.ScalarNode) and not _is_null(node)
    if is_scalar and (takes_texts(field) or takes_text_only(field)):
        return node.value
    if takes_texts(field) and isinstance(node, yaml.MappingNode):
        if all(isinstance(one, yaml.ScalarNode) for pair in node.value for one in pair):
            return {key.value: value.value for key, value in node.value}
        return Problem(
            Check.TYPE, f"`{name}` has a list or a map as a value ({written})", "It takes a map of text to text"
        )
    loader = yaml.SafeLoader("")
    try:
        return _number(loader.construct_object(node, deep=True))
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, LookupError, AttributeError) as error:
        why = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
        what = f"`{name}` has a value that YAML cannot build ({written}): {why or type(error).__name__}"
        return Problem(Check.TYPE, what, "Put it in quotes, or write a plain value")
    finally:
        loader.dispose()


def _number(value: Any) -> Any:
    """`1e-4` as a number: YAML 1.1 parses it as text because it has no dot."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def _parse_value(name: str, text: str) -> Given | Problem:
    """The value after the `=` of `--set`, or the problem with it."""
    import yaml

    try:
        node = compose(text)
    except (yaml.YAMLError, TooMuch):
        return Problem(Check.TYPE, f"`--set {name}={shown(text)}` has a value that is not YAML", "Put it in quotes")
    value = None if node is None else _construct(name, node, "--set")
    return value if isinstance(value, Problem) else Given(value, FLAG, "--set")


def read_values(name: str, text: str) -> list[Any] | Problem:
    """Several values of an option, separated by commas, as `--over` has them; each is YAML.

    Returns:
        The values, or the problem with them.
    """
    import yaml

    try:
        node = compose(f"[{text}]")
    except (yaml.YAMLError, TooMuch):
        node = None
    if not isinstance(node, yaml.SequenceNode):
        return Problem(Check.TYPE, f"`--over {name}={shown(text)}` has values that are not YAML", "Put them in quotes")
    values = [_construct(name, inner, "--over") for inner in node.value]
    return next((value for value in values if isinstance(value, Problem)), values)


def _no_name(place: str) -> Problem:
    return Problem(Check.NAME, f"the name of an option cannot be a list or a map ({place})", _YAML_FORM)


def _unknown(name: str, place: str) -> Problem:
    where = f" ({place})" if place else ""
    return Problem(Check.NAME, f"`{name}` is not an option{where}", lambda: did_you_mean(name))
