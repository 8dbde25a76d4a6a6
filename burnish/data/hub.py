"""Hub datasets by name, through `datasets` and its cache; `owner/name:config` picks a configuration."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.row import Row
from burnish.errors import DataError

NAME = re.compile(r"^[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?$")
BATCH_ROWS = 1000
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class HubSplit:
    """One split of a hub dataset, at hand on this machine."""

    label: str
    """`owner/name/split`, as rows and errors name it."""
    rows: Any
    """The split as `datasets.Dataset`."""

    def __str__(self) -> str:
        return self.label


def is_hub_name(name: str) -> bool:
    """Whether a name could be that of a hub dataset."""
    return NAME.match(name) is not None


def load_hub_splits(name: str) -> dict[str, HubSplit]:
    """Download a dataset, or take it from the cache, and return its splits by name.

    Raises:
        DataError: it is neither in the cache nor to be had, or it needs a configuration to be named.
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
        raise not_at_hand(repository, cache, str(error)) from error
    except (OSError, ValueError, RuntimeError) as error:
        # `datasets` has no narrower class for a missing configuration, a broken file or a lost connection.
        reason = " ".join(str(error).split())
        if "config" in reason.lower():
            raise DataError(
                f"the hub dataset `{name}` needs another configuration", reason, f"Write `{repository}:CONFIG`"
            ) from error
        raise not_at_hand(repository, cache, reason) from error
    return {str(split): HubSplit(f"{name}/{split}", rows) for split, rows in splits.items()}


def cached_folder(repository: str) -> Path:
    """Where `datasets` keeps a prepared hub dataset."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    *owner, last = repository.split("/")
    return Path(config.HF_DATASETS_CACHE) / "___".join([*owner, camelcase_to_snakecase(last)])


def check_reachable(repository: str, cache: Path) -> None:
    """Knock at the hub once: `datasets` itself would try for half a minute.

    Raises:
        DataError: there is no network, or it is not to be used.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise not_at_hand(repository, cache, "HF_HUB_OFFLINE is set, so the hub is not asked")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return  # Somebody is there; what to say about the dataset is up to `datasets`.
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # Certificates are kept elsewhere by the client that `datasets` uses, so this one proves nothing.
        if not isinstance(reason, ssl.SSLError):
            raise not_at_hand(repository, cache, f"{constants.ENDPOINT} cannot be reached: {reason}") from error


def not_at_hand(repository: str, cache: Path, reason: str) -> DataError:
    """The error for a dataset that is neither here nor to be had."""
    return DataError(
        f"there is no file or folder `{repository}`, and no hub dataset of that name is at hand",
        f"Not in the cache {cache}; {reason}",
        "Name a local file or folder, or fetch the dataset once where there is a network",
    )


def read_hub_rows(split: HubSplit) -> Iterator[Row]:
    """Rows of a hub dataset's split; `line` is the row's number. Images and sound stay undecoded."""
    number = 0
    for table in split.rows.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for values in table.to_pylist():
            number += 1
            yield Row(values, split.label, number)
