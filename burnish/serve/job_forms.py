"""What clients may ask of a fine-tuning job, in OpenAI's words, and the recipe that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from burnish.errors import RecipeError
from burnish.recipe.load import NO_PATHS, PATHS, code_options, load_recipe
from burnish.recipe.names import holder, options, sections
from burnish.recipe.schema import AUTO, Recipe
from burnish.serve.forms import Form
from burnish.serve.refusals import Refusal

_PAIRS, _KEY, _VALUE = 16, 64, 512
"""Of metadata, as OpenAI allows."""
_OURS = ("name", "runs", "seed", *PATHS)
"""Options that follow from the request itself or from the server, unless their value names no file."""


class Hyperparameters(Form):
    """Of the `supervised` method. `auto` is what Burnish chooses."""

    n_epochs: Any = AUTO
    batch_size: Any = AUTO
    learning_rate_multiplier: Any = AUTO

    @field_validator("n_epochs")
    @classmethod
    def _check_epochs(cls, value: Any) -> Any:
        return _number(value, is_whole=True)

    @field_validator("batch_size")
    @classmethod
    def _check_batch(cls, value: Any) -> Any:
        if value != AUTO:
            raise ValueError(
                'a step is a number of tokens here; leave it `auto`, or set `"recipe": {"batch.tokens": N}`'
            )
        return value

    @field_validator("learning_rate_multiplier")
    @classmethod
    def _check_rate(cls, value: Any) -> Any:
        if value != AUTO and _number(value) != 1:
            raise ValueError('leave it `auto`, or set the rate itself: `"recipe": {"train.learning_rate": R}`')
        return value

    def options(self) -> dict[str, Any]:
        """As options of the recipe."""
        return {} if self.n_epochs == AUTO else {"train.epochs": self.n_epochs}


class DpoHyperparameters(Hyperparameters):
    """Of the `dpo` method."""

    beta: Any = AUTO

    @field_validator("beta")
    @classmethod
    def _check_beta(cls, value: Any) -> Any:
        return _number(value)

    def options(self) -> dict[str, Any]:
        """As options of the recipe."""
        return {**super().options(), **({} if self.beta == AUTO else {"preference.beta": self.beta})}


def _number(value: Any, is_whole: bool = False) -> Any:
    kinds = (int,) if is_whole else (int, float)
    if value != AUTO and (isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e6):
        raise ValueError(f"`auto` or a {'whole ' if is_whole else ''}number above 0")
    return value


class Supervised(Form):
    """Options of the method."""

    hyperparameters: Hyperparameters | None = None


class Dpo(Form):
    """Options of the method."""

    hyperparameters: DpoHyperparameters | None = None


class Method(Form):
    """How to train."""

    type: Literal["supervised", "dpo"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None

    @model_validator(mode="after")
    def _check(self) -> Any:
        for name in ("supervised", "dpo"):
            if name != self.type and getattr(self, name) is not None:
                raise ValueError(f"`{name}` does not belong to the type `{self.type}`")
        return self

    @property
    def hyperparameters(self) -> Hyperparameters:
        """As given, or all `auto`."""
        given = getattr(self, self.type)
        usual = DpoHyperparameters() if self.type == "dpo" else Hyperparameters()
        return usual if given is None or given.hyperparameters is None else given.hyperparameters


class JobForm(Form):
    """`POST /v1/fine_tuning/jobs`."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    """OpenAI's older place for those of `supervised`."""
    suffix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    metadata: dict[str, str] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    recipe: dict[str, Any] | None = None
    """Options of Burnish, by section or by dotted name: other tasks and methods, and all that has no name at OpenAI."""

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        pairs = (value or {}).items()
        if len(pairs) > _PAIRS or any(len(key) > _KEY or len(text) > _VALUE for key, text in pairs):
            raise ValueError(f"at most {_PAIRS} pairs, with keys up to {_KEY} and values up to {_VALUE} letters")
        return value

    @model_validator(mode="after")
    def _check(self) -> Any:
        if self.method is not None and self.hyperparameters is not None:
            raise ValueError("hyperparameters: they belong into `method`, which is given too")
        return self

    @property
    def how(self) -> Method:
        """The method, `supervised` by default."""
        if self.method is not None:
            return self.method
        return Method(type="supervised", supervised=Supervised(hyperparameters=self.hyperparameters))


def recipe_options(form: JobForm, base: str, training: str, validation: str | None) -> dict[str, Any]:
    """The options of a job's recipe, by dotted name; all are known, and no other part of the request decides them.

    Args:
        form: the request.
        base: name or path of the base model.
        training: path of the training rows.
        validation: path of the validation rows, if there are any.

    Raises:
        Refusal: an option is unknown, has a wrong value, or is not a client's to set.
    """
    given = _flat(form.recipe or {})
    for name, value in given.items():
        if name not in options() and not holder(name):
            raise Refusal(400, f"`{name}` is not an option.", "unsupported_parameter", f"recipe.{name}")
        if name in _OURS and value not in NO_PATHS.get(name, ()):
            message = f"`{name}` cannot be set here: it follows from the request, or is a file of the server's."
            raise Refusal(400, message, None, f"recipe.{name}")
    how = form.how
    asked = how.hyperparameters.options()
    if how.type == "dpo":
        asked |= {"task": "preference", "preference.loss": "dpo"}
    asked |= {"model.name": base, "data.path": training, "seed": form.seed or 0}
    if validation is not None:
        asked["data.validation"] = validation
    if twice := asked.keys() & given.keys():
        name = min(twice)
        raise Refusal(400, f"`{name}` follows from the rest of the request.", None, f"recipe.{name}")
    recipe = _built({**given, **asked})
    if code := code_options(recipe):
        name = next(iter(code))
        raise Refusal(400, f"`{name}` runs code, which no request can decide.", None, f"recipe.{name}")
    return {**given, **asked}


def _built(values: Mapping[str, Any]) -> Recipe:
    """The recipe. Raises `Refusal` for a wrong value."""
    from burnish.prepare.first_checks import check_options

    try:
        recipe = load_recipe(None, values, []).recipe
        if not code_options(recipe):  # checking a metric of one's own would load it
            check_options(recipe)
        return recipe
    except RecipeError as error:
        text = " ".join(filter(None, (f"{error.what}.", error.why, error.fix and f"{error.fix}.")))
        raise Refusal(400, text, None, "recipe") from error


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if name in sections() and isinstance(value, dict):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return flat
