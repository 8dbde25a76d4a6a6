"""A figure of the user's own: a Python function, named as `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

from burnish.errors import RecipeError

OwnMetric = Callable[[str, str], float]
"""From the model's answer and the expected one to a number; more is better."""


def load_metric(name: str) -> OwnMetric:
    """Finds the function that `evaluate.metric` names: in a file of the current folder, or in an installed module.

    Raises:
        RecipeError: there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name or not all(module_name.split(".")):
        raise RecipeError(
            f"`evaluate.metric` is `{name}`, which names no function",
            "It takes a module and a function in it, with a colon between.",
            "For example `evaluate.metric=my_metric:score`, for `def score(answer, expected)` in my_metric.py",
        )
    function = getattr(_module(module_name, name), function_name, None)
    if not callable(function):
        raise RecipeError(
            f"`evaluate.metric` names `{name}`, and the module `{module_name}` has no function `{function_name}`",
            "",
            f"Define `def {function_name}(answer, expected)` there, which returns a number",
        )
    return _checked(function, name)


def _module(module_name: str, name: str) -> Any:
    path = Path(*module_name.split(".")).with_suffix(".py")
    try:
        if path.is_file():
            # under a name of its own: a user's file may be called like a module that others import
            spec = importlib.util.spec_from_file_location(f"own_metric_{module_name}", path)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                sys.modules[spec.name] = module  # where dataclasses look it up
                spec.loader.exec_module(module)
                return module
        return importlib.import_module(module_name)
    except Exception as error:
        raise RecipeError(
            f"`evaluate.metric` names `{name}`, and the module `{module_name}` cannot be loaded",
            f"{type(error).__name__}: {error}.",
            f"Put `{path}` into this folder, or install the module",
        ) from error


def _checked(function: Callable[[str, str], Any], name: str) -> OwnMetric:
    def score(answer: str, expected: str) -> float:
        try:
            given = function(answer, expected)
        except Exception as error:
            raise RecipeError(
                f"the metric `{name}` failed on an answer",
                f"{type(error).__name__}: {error}; the answer is {answer[:80]!r}, the expected one {expected[:80]!r}.",
                "Make it return a number for any two texts, the empty one too",
            ) from error
        if not isinstance(given, Real):
            raise RecipeError(
                f"the metric `{name}` returned {type(given).__name__}",
                "It takes an answer and the expected one.",
                "Return a number, or True and False",
            )
        return float(given)

    return score
