"""`burnish push`: a run's result as a repository of the hub, private unless asked otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, InputError, MachineError, reason_of
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Note, Stage, Warned
from burnish.runs.folder import RunFolder, result_of
from burnish.visible import parse_json

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is on the hub now."""

    run: str
    repository: str
    url: str
    is_private: bool
    commit: str
    files: list[str]
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def check_push(repository: str) -> str:
    """Refuses what cannot be pushed before anything is read; returns the access token.

    Raises:
        InputError: it is no name of a repository, or there is no token.
        MachineError: the environment forbids access to the hub.
    """
    from huggingface_hub import constants, get_token

    if not _NAME.fullmatch(repository):
        raise InputError(
            f"`{repository}` is no name of a repository", "It has the form `owner/name`.", "For example `anna/helpdesk`"
        )
    if constants.HF_HUB_OFFLINE:
        raise MachineError(
            "nothing can be pushed in offline mode", "HF_HUB_OFFLINE is set.", "Unset it, then give the command again"
        )
    token = get_token()
    if token is None:
        raise InputError(
            "there is no access token for the hub",
            "Only its owner can write a repository.",
            "Run `hf auth login`, or set HF_TOKEN",
        )
    return token


def push(folder: RunFolder, repository: str, is_public: bool = False, listeners: Iterable[Listener] = ()) -> Pushed:
    """Uploads the result of a run, with its card, as one commit.

    Args:
        folder: of the run.
        repository: `owner/name`; it is created if there is none.
        is_public: whether all may read it.
        listeners: receive every event.

    Raises:
        InputError: the run has no result, or the repository is public and it was not said that it may be.
        BurnishError: the hub refuses.
    """
    emit, token = EventLog(None, listeners), check_push(repository)
    result = result_of(folder)
    if said := _local_base(result):
        emit(Warned(said))
    files = sorted(path for path in result.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    emit(Stage(f"uploading {len(files)} files to `{repository}`"))
    try:
        url, is_private, commit = _upload(result, repository, is_public, token)
    except (OSError, ValueError, RuntimeError) as error:
        raise BurnishError(
            f"the hub did not take `{repository}`", reason_of(error), "Check the name, and that the token may write"
        ) from error
    if is_public:
        emit(Note(f"`{repository}` is public: all can read it."))
    names = [path.relative_to(result).as_posix() for path in files]
    return Pushed(folder.name, repository, url, is_private, commit, names, size)


def _upload(result: Path, repository: str, is_public: bool, token: str) -> tuple[str, bool, str]:
    """The address, whether it is private, and the commit."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    made = api.create_repo(repository, private=not is_public, exist_ok=True)
    is_private = bool(api.repo_info(repository).private)
    if not is_private and not is_public:  # it was there before, and creating it changes nothing
        raise InputError(
            f"`{repository}` is public",
            "Results are pushed to private repositories, unless you ask for a public one.",
            "Add `--public`, or choose another name",
        )
    commit = api.upload_folder(repo_id=repository, folder_path=result, commit_message="Upload the result of a run")
    return str(made), is_private, commit.oid


def _local_base(result: Path) -> str:
    """A remark if an adapter names its base model by a path, which no one else has; empty otherwise."""
    config = result / "adapter_config.json"
    if not config.is_file():
        return ""
    base = parse_json(config.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
    if not Path(base).is_absolute():
        return ""
    return f"The adapter names its base model by a path of this machine, `{base}`; to load it, another has to be given."
