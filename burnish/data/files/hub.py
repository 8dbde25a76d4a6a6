"""Loads hub datasets by name, from the cache or with a network connection."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.files.arrow import ArrowRows
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError

NAME = re.compile(r"^[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?$")
BATCH_ROWS = 1000
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class HubSplit:
    """One split of a hub dataset, available on this machine."""

    label: str
    """`owner/name/split`, used in locations and errors."""
    rows: Any
    """The split as `datasets.Dataset`."""

    @property
    def num_bytes(self) -> int:
        """Size of the rows in bytes."""
        return int(self.rows.data.nbytes)

    def __str__(self) -> str:
        return self.label


def is_hub_name(name: str) -> bool:
    """Whether a name could be a hub dataset."""
    return NAME.match(name) is not None


def load_hub_splits(name: str) -> dict[str, HubSplit]:
    """Loads a dataset from the cache or the hub; returns its splits by name.

    Raises:
        DataError: it is neither in the cache nor can it be downloaded, or it needs the name of a configuration.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    repository, _, config = name.partition(":")
    cache = cached_folder(repository)
    if not cache.exists():
        check_reachable(repository, cache)
    try:
        splits = datasets.load_dataset(repository, config or None)
    except DatasetNotFoundError as error:
        raise unavailable(repository, cache, str(error)) from error
    except (OSError, ValueError, RuntimeError) as error:
        # `datasets` has no more specific classes for a missing configuration, a corrupt file or a lost connection.
        reason = " ".join(str(error).split())
        if "config" in reason.lower():
            raise DataError(
                f"the hub dataset `{name}` needs another configuration", reason, f"Write `{repository}:CONFIG`"
            ) from error
        raise unavailable(repository, cache, reason) from error
    return {str(split): HubSplit(f"{name}/{split}", rows) for split, rows in splits.items()}


def cached_folder(repository: str) -> Path:
    """The folder where `datasets` caches a prepared hub dataset."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    *owner, last = repository.split("/")
    return Path(config.HF_DATASETS_CACHE) / "___".join([*owner, camelcase_to_snakecase(last)])


def check_reachable(repository: str, cache: Path) -> None:
    """Tries to reach the hub once: `datasets` itself would retry for half a minute.

    Raises:
        DataError: there is no network, or it must not be used.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise unavailable(repository, cache, "HF_HUB_OFFLINE is set, so it is not downloaded.")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return  # The hub is reachable; errors about the dataset come from `datasets`.
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # `datasets` uses a client with other certificates, so a failure here means nothing.
        if not isinstance(reason, ssl.SSLError):
            raise unavailable(repository, cache, f"{constants.ENDPOINT} cannot be reached: {reason}") from error


def unavailable(repository: str, cache: Path, reason: str) -> DataError:
    """The error for a dataset that is neither in the cache nor can be downloaded."""
    return DataError(
        f"there is no file or folder `{repository}`, and no hub dataset of that name is available",
        f"It is not in the cache {cache}; {reason}",
        "Give a local file or folder, or download the dataset once with a network connection",
    )


def read_hub_rows(split: HubSplit) -> Iterator[Row | Rejected]:
    """The rows of a hub dataset's split; `line` is the row's number. Images and audio are not decoded."""
    reader: ArrowRows | None = None
    for table in split.rows.with_format("arrow").iter(batch_size=BATCH_ROWS):
        reader = reader or ArrowRows(table.schema, split.label, split.rows.features.to_dict())
        yield from reader.read(table, split.label)
