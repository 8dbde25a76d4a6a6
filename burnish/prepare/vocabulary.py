"""Whether a base model has the tokens it needs: an embedding for each one of its tokenizer, and one that answers begin
with. Where it has not, what to type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.errors import ModelError
from burnish.methods import LIKELY_METHOD, make_method
from burnish.models.config import lacks_start
from burnish.models.location import FoundModel
from burnish.models.tokenizer import check_vocabulary
from burnish.recipe.schema import AUTO, Recipe
from burnish.recipe.section import CONTINUE
from burnish.system.shell import quoted

_NAMED = 5
"""Most tokens that an error names."""
_GROW = (
    "from transformers import AutoTokenizer as T, {model} as M; name, out = {name}, {out}; "
    'm = M.from_pretrained(name, dtype="auto"); m.resize_token_embeddings({size}); '
    "m.save_pretrained(out); T.from_pretrained(name).save_pretrained(out)"
)


def check_tokenizer(recipe: Recipe, model: FoundModel) -> None:
    """Checks that the embedding has a row for every token that texts may contain, or that the recipe adds it.

    Rows that nothing has trained would be frozen beside an adapter, and other programs that load the adapter would not
    have them. Special tokens that come with a tokenizer's class are not counted: rows that contain them are refused.
    An adapter that goes on training brings the rows of its own tokens along.

    Args:
        recipe: may hold `auto` values.
        model: found.

    Raises:
        ModelError: a token has no row, or the decoder of an encoder-decoder has no token to begin with.
    """
    _check_start(model)
    rows, added = model.config.get_text_config().vocab_size, model.tokenizer.added_tokens_decoder
    check_vocabulary(model.tokenizer, rows, model.location.name)
    if recipe.start.how == CONTINUE:
        return
    asked = make_method(LIKELY_METHOD if recipe.method == AUTO else recipe.method).added_tokens(recipe)
    beyond = [token.content for number, token in sorted(added.items()) if number >= rows and not token.special]
    lacking = [token for token in beyond if token not in asked]
    if not lacking:
        return
    named = ", ".join(f"`{token}`" for token in lacking[:_NAMED]) + (" and others" if len(lacking) > _NAMED else "")
    raise ModelError(
        f"the tokenizer of `{model.location.name}` has {len(lacking):,} added token{'s' if len(lacking) > 1 else ''} "
        f"for which the model has no embedding: {named}",
        f"Its embedding has {rows:,} rows. Texts with {'such tokens' if len(lacking) > 1 else 'that token'} would need "
        "more, and those would be untrained.",
        _how_to_add(model, max(added) + 1, [*asked, *lacking] if len(lacking) <= _NAMED else []),
    )


_BEGIN = (
    "import json, pathlib; file = pathlib.Path({file}); config = json.loads(file.read_text()); "
    'config["decoder_start_token_id"] = {token}; file.write_text(json.dumps(config, indent=2))'
)


def _check_start(model: FoundModel) -> None:
    if not lacks_start(model.config):
        return
    pad = model.config.get_text_config().pad_token_id
    token = model.tokenizer.pad_token_id if pad is None else pad
    file = json.dumps(str((model.location.folder / "config.json").absolute()))
    command = quoted(_BEGIN.format(file=file, token=token))
    raise ModelError(
        f"`{model.location.name}` has no token that its answers begin with",
        "`decoder_start_token_id` is missing in its config. T5 and its relatives begin with the pad token; if this "
        "model was trained with another one, its documentation says which.",
        f"Write the pad token into the config: `python -c {command}`",
    )


def _how_to_add(model: FoundModel, size: int, tokens: Sequence[str]) -> str:
    """What to type so that added tokens have rows.

    Args:
        model: found.
        size: of the larger embedding.
        tokens: that an adapter would learn; none if there are too many to name.
    """
    out = f"{Path(model.location.name).name}-{size}"
    grown = f"save the model with {size:,} rows, `python -c {quoted(_growing(model, out, size))}`, and give that: "
    grown += f"`--model {quoted(out)}`"
    if not tokens:
        return grown[0].upper() + grown[1:]
    learned = quoted(f"lora.added_tokens={json.dumps(list(tokens), ensure_ascii=False)}")
    return f"Learn their embeddings with an adapter: `--method lora --set {learned}`; or {grown}"


def _growing(model: FoundModel, out: str, size: int) -> str:
    """A program that saves a model with a larger embedding."""
    saved_from: Any = (model.config.architectures or ["AutoModelForCausalLM"])[0]
    name = str(model.location.folder.absolute())
    return _GROW.format(model=saved_from, name=json.dumps(name), out=json.dumps(out), size=size)
