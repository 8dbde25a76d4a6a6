"""The user's own metric: a Python function, given as `module:function`."""

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
"""From the model's answer and the expected answer to a number; higher is better."""


def load_metric(name: str) -> OwnMetric:
    """Loads the function that `evaluate.metric` names, from a file in the current folder or from an installed module.

    Raises:
        RecipeError: there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name or not all(module_name.split(".")):
        raise RecipeError(
            f"`evaluate.metric` is `{name}`, which is not of the form `module:function`",
            "It takes a module and a function in it, separated by a colon.",
            "For example `evaluate.metric=my_metric:score`, for `def score(answer, expected)` in my_metric.py",
        )
    function = getattr(_module(module_name, name), function_name, None)
    if not callable(function):
        raise RecipeError(
            f"`evaluate.metric` is `{name}`, but the module `{module_name}` has no function `{function_name}`",
            "",
            f"Define `def {function_name}(answer, expected)` in it, returning a number",
        )
    return _checked(function, name)


def _module(module_name: str, name: str) -> Any:
    path = Path(*module_name.split(".")).with_suffix(".py")
    try:
        if path.is_file():
            # under a prefixed name: a user's file may have the name of a module that others import
            spec = importlib.util.spec_from_file_location(f"own_metric_{module_name}", path)
            assert spec is not None and spec.loader is not None  # as for every file that ends in .py
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look up the module here
            spec.loader.exec_module(module)
            return module
        return importlib.import_module(module_name)
    except Exception as error:
        raise RecipeError(
            f"`evaluate.metric` is `{name}`, but the module `{module_name}` cannot be loaded",
            f"{type(error).__name__}: {error}.",
            f"Put `{path}` into the current folder, or install the module",
        ) from error


def _checked(function: Callable[[str, str], Any], name: str) -> OwnMetric:
    def score(answer: str, expected: str) -> float:
        try:
            value = function(answer, expected)
        except Exception as error:
            raise RecipeError(
                f"the metric `{name}` failed on an answer",
                f"{type(error).__name__}: {error}; the answer is {answer[:80]!r}, the expected one {expected[:80]!r}.",
                "Make it return a number for any two texts, including empty ones",
            ) from error
        if not isinstance(value, Real):
            raise RecipeError(
                f"the metric `{name}` returned {type(value).__name__}",
                "A metric must return a number.",
                "Return a number, or True or False",
            )
        return float(value)

    return score
