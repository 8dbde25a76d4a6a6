"""Loads a base model with its tokenizer."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from burnish.errors import BurnishError, ModelError, reason_of
from burnish.models.blocks import block_lists
from burnish.models.device import renew_threads, seed_torch
from burnish.models.fingerprint import GENERATION
from burnish.models.finite import check_finite
from burnish.models.generation_settings import make_greedy
from burnish.models.heads import SEQUENCE_CLASSIFIER, Head, start_output
from burnish.models.incomplete import incomplete
from burnish.models.labels import begin_again, has_trained_head, order_of_labels, take_outputs, without_labels
from burnish.models.location import ModelLocation, is_bundled, read_config
from burnish.models.quantization import TIMED_TOKENS, settle, skipped_modules, slowdown
from burnish.models.tokenizer import choose_pad_token, fit_vocabulary
from burnish.models.unloaded import unloaded_tensors, without_unloaded
from burnish.models.weight_files import check_weight_files, tensor_names
from burnish.recipe.schema import ModelSection
from burnish.visible import parse_json


def has_dropout(config: Any) -> bool:
    """Whether any part of a model uses dropout in training."""
    return any(True for part in _parts(config) for _ in _options(part))


def without_dropout(config: Any) -> Any:
    """A copy of a config without dropout."""
    changed = copy.deepcopy(config)
    for part in _parts(changed):
        for name in list(_options(part)):
            setattr(part, name, 0.0)
    return changed


def _parts(config: Any) -> list[Any]:
    """The config and its sub-configs, for example of text and vision."""
    nested = [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    return [config, *(part for one in nested if one is not None for part in _parts(one))]


def _options(config: Any) -> list[str]:
    """Names of dropout options above 0: `resid_pdrop`, `attention_dropout`, `layerdrop` and so on."""
    values = vars(config).items()
    return [name for name, value in values if "drop" in name and isinstance(value, float) and value > 0]


_NAMED_LABELS = 5


@dataclass(slots=True)
class BaseModel:
    """A loaded base model: the network on its device, and its tokenizer."""

    location: ModelLocation
    network: Any
    """A transformers `PreTrainedModel`."""
    tokenizer: Any
    """A transformers `PreTrainedTokenizerBase` with a pad token."""
    new_modules: tuple[str, ...] = ()
    """Modules without weights in the folder, such as a new head: they are initialized at random and must be trained."""
    notes: list[str] = field(default_factory=list)
    """Adaptations, as sentences for the user."""
    unloaded: str = ""
    """A sentence on the tensors in the folder that a model saved whole will not have; empty if it will have all."""
    identity: Hashable = None
    """Equal for networks with the same weights and arithmetic: what was tried out on one holds for the others."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How the weights of a base model are stored."""

    dtype: torch.dtype
    """Dtype of the weights that are not quantized."""
    quantization: Any = None
    """A transformers quantization config, or None."""
    fast_on: str = ""
    """Device type whose fast paths are installed; empty for none."""
    has_dropout: bool = True
    """Whether the dropout of the config is used in training."""
    computed_in: torch.dtype | None = None
    """Dtype of the arithmetic, if it is not that of the weights."""


def load_tokenizer(location: ModelLocation, section: ModelSection) -> Any:
    """Loads the tokenizer of a base model from its folder.

    Raises:
        ModelError: its files cannot be read, or it needs remote code.
    """
    from transformers import AutoTokenizer

    _refuse_many_tokens(location)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(location.folder), trust_remote_code=section.trust_remote_code, local_files_only=True
        )
        _try_out(tokenizer)
        return tokenizer
    except Exception as error:  # damaged files fail anywhere in transformers
        raise _load_error(location, "tokenizer", error) from error


_MOST_TOKENS = 50_000
"""Special tokens that a config may add: each is compared with all before it, and real ones add a few thousand."""
_WITH_TOKENS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def _refuse_many_tokens(location: ModelLocation) -> None:
    """Raises ModelError for a tokenizer that would take minutes to load; what is no JSON is left to transformers."""
    for file in _WITH_TOKENS:
        try:
            found: Any = parse_json((location.folder / file).read_bytes())
        except (OSError, ValueError):
            continue
        values = [found, *(found.values() if isinstance(found, dict) else ())]
        most = max((len(value) for value in values if isinstance(value, (list, dict))), default=0)
        if most > _MOST_TOKENS:
            raise ModelError(
                f"the tokenizer of `{location.name}` adds {most:,} tokens in `{file}`",
                f"No model adds more than {_MOST_TOKENS:,}, and reading so many would take minutes.",
                "Copy the tokenizer files of the original model into the folder",
            )


_LARGEST_ID = 1 << 24
"""Of a token. Written out, a vocabulary takes memory for every number up to its largest."""
_TEXT = "Hello, wörld! 你好 🎉"
"""Has characters that no vocabulary of words knows, so that it needs the tokens for unknown ones."""


def _try_out(tokenizer: Any) -> None:
    """Uses a tokenizer once: some damage only shows then, and would end a run in the middle. Raises what it raises."""
    longest = tokenizer.model_max_length
    if not isinstance(longest, (int, float)) or isinstance(longest, bool) or not longest >= 1:
        raise ValueError(f"`model_max_length` is {longest!r}, which is not a number of tokens")
    token, largest = max(tokenizer.get_vocab().items(), key=lambda pair: pair[1], default=("", 0))
    if largest > _LARGEST_ID:
        raise ValueError(f"the token {token!r} has the number {largest:,}, and no vocabulary is as large")
    tokenizer.decode(tokenizer(_TEXT)["input_ids"])


def load_base(
    location: ModelLocation,
    section: ModelSection,
    tokenizer: Any,
    device: torch.device,
    loading: Loading,
    head: Head,
) -> BaseModel:
    """Loads a model onto `device`, with the head that a task needs.

    A head without weights in the folder is random, but always the same for the same model: it is part of the base
    model that the trained model is compared with, whenever that is loaded.

    Raises:
        ModelError: the folder cannot be loaded as such a model, its weights may not be opened, or some are missing.
    """
    if not is_bundled(location):
        check_weight_files(location.name, location.folder, section.allow_pickle)
    renew_threads()
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            seed_torch(0)
            network, missing, notes, unloaded = _with_labels(location, section, device, loading, head)
    except (BurnishError, MemoryError):
        raise
    except Exception as error:  # damaged files fail anywhere in transformers
        raise _load_error(location, "model", error) from error
    new_modules = _new_modules(network, sorted(missing), location, head)
    if head.start is not None:
        start_output(network, new_modules, head.start)
    identity = _identity(location, loading, head, device)
    base = BaseModel(location, network, tokenizer, new_modules, notes, without_unloaded(network, unloaded), identity)
    if loading.quantization is None:
        base.network = network = network.to(device)
    else:
        settle(network)
        base.notes += _notes_on_speed(network, device, loading)
    check_finite(network, location, loading.dtype, loading.computed_in or loading.dtype)
    base.notes += make_greedy(network)
    base.notes += fit_vocabulary(network, tokenizer)
    choose_pad_token(tokenizer, network.config, head.auto_class, network.get_input_embeddings().num_embeddings)
    if head.auto_class == SEQUENCE_CLASSIFIER:
        for config in (network.config, network.config.get_text_config()):
            config.pad_token_id = tokenizer.pad_token_id  # decoders use it to find the last token of a padded text
    if loading.fast_on:
        from burnish.models.fast_paths import install_fast_paths  # imports much of transformers, so not at module level

        base.notes += install_fast_paths(network, base.identity)
    if new_modules:
        named = ", ".join(f"`{name}`" for name in new_modules)
        base.notes.append(
            f"The model has no weights for {named}; this part is initialized at random and trained in full."
        )
    return base


def _identity(location: ModelLocation, loading: Loading, head: Head, device: torch.device) -> Hashable:
    """What decides the weights and the arithmetic of a network: the files by name, size and time, and the request."""
    files = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in location.folder.iterdir())
    return str(location.folder), tuple(files), repr(loading), repr(head), str(device)


def _notes_on_speed(network: Any, device: torch.device, loading: Loading) -> list[str]:
    """A note on the cost of a quantized base model on devices without quantized kernels."""
    if device.type != "cpu":
        return []
    factor = slowdown(network, loading.dtype)
    return [
        "The CPU unpacks quantized weights for every use: less memory, but slower. With "
        f"{TIMED_TOKENS} tokens the largest layer takes {factor:.1f} times as long here as with `--method lora`; the "
        "more tokens a micro-batch has, the smaller the difference."
    ]


def _with_labels(
    location: ModelLocation, section: ModelSection, device: torch.device, loading: Loading, head: Head
) -> tuple[Any, set[str], list[str], list[str]]:
    """The network with outputs for the head's labels, the names of its random weights, notes on its labels, and the
    names of the tensors in the folder that it has not loaded."""
    config, order = read_config(location, section), None
    is_trained = has_trained_head(config, head)
    if is_trained:
        order = order_of_labels(config, head)
    own = [str(name) for name in (config.id2label or {}).values()]
    is_same = order == list(range(len(own)))
    kept = replace(head, config=without_labels(head)) if order is not None and not is_same else head
    network, report = _from_pretrained(location, section, device, loading, kept)
    missing = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    in_files = tensor_names(location.folder)
    unloaded = unloaded_tensors(network, report["unexpected_keys"], in_files, head.auto_class)
    if not is_trained or is_same:
        return network, missing, [], unloaded
    named = ", ".join(f"`{name}`" for name in own[:_NAMED_LABELS]) + ("…" if len(own) > _NAMED_LABELS else "")
    if order is not None:
        take_outputs(network, order, head)
        note = f"The base model's head knows the labels as {named}; its outputs are taken by name."
        return network, missing, [note], unloaded
    note = f"The base model's head knows other labels ({named}), so it gets a new one."
    return network, {*missing, *begin_again(network)}, [note], unloaded


def _from_pretrained(
    location: ModelLocation, section: ModelSection, device: torch.device, loading: Loading, head: Head
) -> tuple[Any, dict[str, Any]]:
    import transformers

    options: dict[str, Any] = {}
    changes = head.config
    if loading.quantization is not None:
        loading.quantization.llm_int8_skip_modules = _skipped_modules(location, section, head)
        options = {"quantization_config": loading.quantization, "device_map": {"": device}}
    if not loading.has_dropout:
        # keyword arguments would reach the config but not its sub-configs
        options["config"] = without_dropout(_read_config(location, section, head))
        changes = {name: value for name, value in changes.items() if name == "ignore_mismatched_sizes"}
    return getattr(transformers, head.auto_class).from_pretrained(
        str(location.folder),
        dtype=loading.dtype,
        trust_remote_code=section.trust_remote_code,
        use_safetensors=None if section.allow_pickle else True,
        local_files_only=True,
        output_loading_info=True,
        **options,
        **changes,
    )


def _skipped_modules(location: ModelLocation, section: ModelSection, head: Head) -> list[str]:
    """The layers that a quantized model does not quantize."""
    return skipped_modules(_read_config(location, section, head), head, section.trust_remote_code)


def _read_config(location: ModelLocation, section: ModelSection, head: Head) -> Any:
    from transformers import AutoConfig

    trust = section.trust_remote_code
    return AutoConfig.from_pretrained(
        str(location.folder), trust_remote_code=trust, local_files_only=True, **head.config
    )


def _new_modules(network: Any, missing: list[str], location: ModelLocation, head: Head) -> tuple[str, ...]:
    """The parts outside of the body that the `missing` weights belong to.

    Raises:
        ModelError: the head is part of the language model itself, or weights of the body are missing.
    """
    prefix = f"{network.base_model_prefix}."
    bodies = (prefix, *(f"{block}." for block in block_lists(network)))
    in_body = [name for name in missing if name.startswith(bodies) and not _is_pooler(name.removeprefix(prefix))]
    if missing and (in_body or head.auto_class in _NEEDS_ALL_WEIGHTS):
        raise incomplete(location, [*in_body, *(name for name in missing if name not in in_body)], network)
    parts = {}
    for name in missing:
        inner = name.removeprefix(prefix).partition(".")[0]
        parts[f"{prefix}{inner}" if name.startswith(prefix) else inner] = None
    return tuple(parts)


def _is_pooler(name: str) -> bool:
    """Whether a weight belongs to the pooler, which many checkpoints omit because only some heads use it."""
    return name.startswith("pooler")


_NEEDS_ALL_WEIGHTS = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForImageTextToText")
"""Classes whose head must have weights: a language model with a random head is broken."""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences transformers' own progress bar and loading report, because Burnish reports both itself."""
    from transformers.utils import logging

    was_shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if was_shown:
            logging.enable_progress_bar()


def _load_error(location: ModelLocation, part: str, error: Exception) -> ModelError:
    if "trust_remote_code" in str(error):
        return ModelError(
            f"the {part} of `{location.name}` comes with its own Python code",
            "Remote code can do anything, so it is not run by default.",
            "If you trust it, add `--trust-remote-code`",
        )
    fix = "Check the files in its folder"
    if part == "model" and _has_bad_settings(location):
        fix = f"Fix or remove `{GENERATION}` in its folder"
    return ModelError(f"cannot load the {part} of `{location.name}`", reason_of(error), fix)


def _has_bad_settings(location: ModelLocation) -> bool:
    """Whether transformers refuses the generation settings of a model."""
    from transformers import GenerationConfig

    try:
        if (location.folder / GENERATION).is_file():
            GenerationConfig.from_pretrained(str(location.folder))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return True
    return False
