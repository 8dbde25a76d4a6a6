"""Which files the weights of a model or an adapter come from, and whether they may be opened at all.

transformers takes whatever file an index names, by its ending: a path out of the folder, or a pickle beside
safetensors files, would be opened without a question. So the files are found here in the order in which transformers
finds them, and each must be a safetensors file in the folder. A pickle can run any code when it is loaded.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from burnish.errors import ModelError
from burnish.system.shell import quoted
from burnish.system.stand_ins import POINTS, how_to_pull, is_pointer
from burnish.visible import parse_json

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_INDEX = ".index.json"
_SAFE = ("model.safetensors", f"model.safetensors{_INDEX}")
_PICKLED = ("pytorch_model.bin", f"pytorch_model.bin{_INDEX}")
_ADAPTER = "adapter_model.safetensors"
_OF_MODELS = (".safetensors", ".json", ".model", ".txt", ".jinja", ".bin", ".pt", ".gguf")
_LARGEST_HEADER = 100_000_000
"""In bytes; the limit of the safetensors library."""


def check_weight_files(name: str, folder: Path, allow_pickle: bool) -> None:
    """Refuses a model folder from which transformers would open something else than its own safetensors files.

    A folder without weights is left to whoever loads it.

    Args:
        name: of the model, as the user knows it.
        folder: with the weights.
        allow_pickle: whether the user allowed pickles. Files outside the folder are refused even so.

    Raises:
        ModelError: a file lies outside the folder, is not safetensors, or belongs to an adapter; or an index is broken.
    """
    if (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file():
        raise ModelError(
            f"the folder of the model `{name}` also holds an adapter (`adapter_config.json`)",
            "transformers would load both, the adapter even from a pickle, and the base would not be the one named.",
            f"Move the adapter out: `mkdir adapter && mv {quoted(str(folder))}/adapter_* adapter`",
        )
    for file in weight_files(name, folder, allow_pickle):
        _check_file(name, folder, file)
        if file.endswith(".safetensors"):
            _check_header(name, folder / file)
        if not file.endswith((".safetensors", f".safetensors{_INDEX}")) and not allow_pickle:
            raise ModelError(
                f"the weights of the model `{name}` are partly in `{file}`, which is not a safetensors file",
                "It would be loaded as a pickle, which can run any code, so it is refused by default.",
                "Convert it to safetensors, or, if you trust it, add `--allow-pickle`",
            )


def refuse_pointers(name: str, folder: Path) -> None:
    """Raises ModelError for a folder in which a file is only a pointer of Git LFS.

    Args:
        name: of the model or adapter, as the user knows it.
        folder: with its files.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _OF_MODELS)
    if pointers := [path.name for path in files if is_pointer(path)]:
        more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
        raise ModelError(
            f"`{pointers[0]}`{more} of the model `{name}` {'were' if more else 'was'} not downloaded",
            POINTS,
            how_to_pull(folder / pointers[0]),
        )


def _check_header(name: str, path: Path) -> None:
    """Refuses a file that safetensors would refuse only after all of it was hashed."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST_HEADER:
        raise ModelError(
            f"the weights of the model `{name}` are damaged",
            f"`{path.name}` begins with a header of {size:,} bytes, and safetensors reads {_LARGEST_HEADER:,} at most.",
            "Copy or download the model again",
        )


def check_adapter_files(folder: Path) -> None:
    """Refuses an adapter whose weights PEFT would take from a pickle, or from outside its folder.

    Args:
        folder: with the adapter, as Burnish writes it.

    Raises:
        ModelError: there is no `adapter_model.safetensors` in it.
    """
    refuse_pointers(str(folder), folder)
    if not (folder / _ADAPTER).is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        raise ModelError(
            f"the adapter in `{folder}` has no `{_ADAPTER}`",
            f"`{pickles[0]}` is a pickle, which can run any code when it is loaded; adapters are never loaded from one."
            if pickles
            else "Its weights are missing.",
            "Put the file back, or train again with `burnish train`",
        )
    _check_file(str(folder), folder, _ADAPTER)


def weight_files(name: str, folder: Path, allow_pickle: bool) -> list[str]:
    """The files that transformers would take the weights from, by the names it has for them; none if it finds none.

    Args:
        name: of the model, for errors.
        folder: with the weights.
        allow_pickle: whether it also looks for pickles.

    Raises:
        ModelError: an index, or what the config says of the weights, cannot be understood.
    """
    named = _named_in_config(name, folder)
    known = [named] if named is not None else [*_SAFE, *(_PICKLED if allow_pickle else ())]
    first = next((file for file in known if (folder / file).is_file()), None)
    if first is None:
        return []
    return [first, *_shards(name, folder / first)] if first.endswith(_INDEX) else [first]


def tensor_names(folder: Path) -> set[str]:
    """Names of the tensors in the safetensors files of a folder; a damaged file has none."""
    from safetensors import SafetensorError, safe_open

    found = set[str]()
    for file in sorted(folder.glob("*.safetensors")):
        with suppress(OSError, SafetensorError), safe_open(str(file), framework="np") as weights:
            found.update(weights.keys())
    return found


def _named_in_config(name: str, folder: Path) -> str | None:
    """A file of weights that `config.json` names instead of the usual ones."""
    try:
        config: Any = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads the config reports it
    named = config.get("transformers_weights") if isinstance(config, dict) else None
    if named is None or isinstance(named, str):
        return named
    raise ModelError(
        f"the weights of the model `{name}` cannot be found",
        f"`transformers_weights` in `{folder / 'config.json'}` is not the name of a file.",
        "Remove that line",
    )


def _shards(name: str, index: Path) -> list[str]:
    """The files that an index names."""
    try:
        files = list(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values())
        if all(isinstance(file, str) for file in files):
            return sorted(set(files))
        problem = "It names a file by something else than text"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise ModelError(
        f"the index of the weights of `{name}` cannot be read",
        f"`{index}`: {problem.splitlines()[0].rstrip('.')}.",
        "Download the model again; an index has a `weight_map` with the file of each tensor",
    )


def _check_file(name: str, folder: Path, file: str) -> None:
    """Refuses a path, or a link, that leads out of the folder."""
    paths = (PurePosixPath(file), PureWindowsPath(file))
    if any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in paths):
        raise ModelError(
            f"the index of `{name}` names weights outside of its folder: `{file}`",
            "A model from a stranger could make Burnish open any file of this machine.",
            f"Use a model whose weights are all in its folder, `{folder}`",
        )
    real = (folder / file).resolve()
    if not any(real.is_relative_to(home) for home in _homes(folder.resolve())):
        raise ModelError(
            f"`{file}` of `{name}` is a link to a file outside its folder",
            f"It leads to `{real}`; a model from a stranger could make Burnish open any file of this machine.",
            f"Copy the folder with its links resolved, and use the copy: `cp -rL {quoted(str(folder))} COPY`",
        )


def _homes(folder: Path) -> list[Path]:
    """Where the files of a model may really lie: a snapshot in the cache of the hub consists of links."""
    is_snapshot = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return [folder, folder.parent.parent / "blobs"] if is_snapshot else [folder]
