"""Rows of a data set of the Hugging Face Hub: hf://NAME[:config][@revision][#split].

NAME is the Hub's owner/name, or the path of a local folder that `datasets.load_dataset` can read. The library downloads
once into its own cache (HF_HOME) and maps the rows from disk; a token comes from HF_TOKEN.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.errors import DataError
from jobtuner.row_files import CheckColumns, Row

__all__ = ["SCHEME", "HubSource", "hub_rows", "parse_hub"]

SCHEME = "hf://"
_FORM = "hf://NAME[:config][@revision][#split], e.g. hf://owner/name:v1@main#train"
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class HubSource:
    """What an hf:// location names."""

    name: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None

    @property
    def local(self) -> bool:
        """Whether the name is a folder's path rather than the Hub's owner/name."""
        return self.name.startswith(("/", "./", "../"))


def parse_hub(location: str) -> HubSource:
    """Read an hf:// location.

    Raises:
        DataError: it is no such location, or gives a local folder a revision.
    """
    match = re.fullmatch(r"hf://([^:@#\s]+)(?::([^:@#]+))?(?:@([^:@#]+))?(?:#([^@#]+))?", location)
    if match is None:
        raise DataError(f"{location} is no data set's name; write {_FORM}.")
    source = HubSource(*match.groups())
    if source.local and source.revision:
        raise DataError(f"{location}: a local folder has no revisions; leave @{source.revision} out.")
    return source


def hub_rows(location: str, check: CheckColumns) -> Iterator[Row]:
    """Yield the rows of one split; class labels come as their names.

    Args:
        location: the data set. Without #split it must have one split only.
        check: looks at the columns and returns those to read.

    Raises:
        DataError: no such data set, config or split, the Hub cannot be reached, or what `check` raises.
    """
    data = _one_split(_load(parse_hub(location), location), location)
    wanted = check(data.column_names)
    data = data.select_columns(wanted) if wanted is not None else data
    names = {key: kind.names for key, kind in data.features.items() if hasattr(kind, "names")}
    for batch in data.iter(batch_size=_BATCH):
        for key, known in names.items():
            batch[key] = [known[value] if value is not None and value >= 0 else None for value in batch[key]]
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _load(source: HubSource, location: str) -> Any:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if source.local and not Path(source.name).is_dir():
        raise DataError(f"{location}: there is no folder {source.name}.")
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(source.name, source.config, revision=source.revision, split=source.split)
    except (ConnectionError, HfHubHTTPError) as error:
        raise DataError(
            f"{location}: the Hub cannot be reached, and its cache (HF_HOME) does not hold this data set ({error}). "
            "Load it once where there is a network, or name a local copy: hf:///path/of/folder."
        ) from error
    except (HFValidationError, FileNotFoundError) as error:
        raise DataError(f"{location}: there is no such data set ({error}). Write {_FORM}.") from error
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{location} cannot be loaded: {error}") from error


def _one_split(data: Any, location: str) -> Any:
    import datasets

    if not isinstance(data, datasets.DatasetDict):
        return data
    if len(data) != 1:
        raise DataError(
            f"{location} has the splits {', '.join(data)}. Name one: {location}#{next(iter(data), 'train')}."
        )
    return next(iter(data.values()))
