"""Token lengths of prepared ads, for the data card; and the step `tokenize`, which stores the tokens themselves."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.config import STANDIN, Config
from jobtuner.errors import ModelError
from jobtuner.models import load_tokenizer
from jobtuner.records import Example, read_jsonl
from jobtuner.standin_tokenizer import label_texts, learn_vocabulary, titles_with_codes, train_tokenizer
from jobtuner.tasks import PromptEncoder, get_label_task
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["LEARNT_FROM", "TokenLengths", "count_tokens", "quantiles", "tokenize"]

LEARNT_FROM = 20_000
"""Training ads that the stand-in's tokenizer is learnt from here; more change it little, and take long."""
_TOGETHER = 1_000  # ads that are encoded at once

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of the ads of each split, prompt and answer not included."""

    tokenizer: str
    """The recipe's model.base."""
    limit: int
    """prompt.max_ad_tokens: longer ads are cut."""
    lengths: Mapping[str, Sequence[int]]
    """Split to the tokens of its ads, or of some of them, in ascending order."""
    missing: str = ""
    """Why there are none."""

    def cut(self, split: str) -> int:
        """Ads of the split that are longer than the limit."""
        return sum(length > self.limit for length in self.lengths[split])


def quantiles(ordered: Sequence[int]) -> tuple[int, int, int, int]:
    """Shortest, median, 95th percentile and longest of ascending numbers."""
    return ordered[0], ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]


def count_tokens(
    config: Config, texts: Mapping[str, Sequence[str]], train: Sequence[str], taxonomy: Taxonomy
) -> TokenLengths:
    """Count the tokens of texts.

    Where the tokenizer cannot be loaded, the card says so: data can be prepared where the model is not at hand.

    Args:
        config: the sections model and prompt, and the task.
        texts: ads of each split.
        train: ads that the stand-in's tokenizer is learnt from.
        taxonomy: the label set; the stand-in's tokenizer reads its titles.
    """
    name, limit = config.model.base, config.prompt.max_ad_tokens
    try:
        tokenizer = _tokenizer(config, train, taxonomy, learn_vocabulary)
    except ModelError as error:
        _logger.warning("Tokens are not counted: %s", error)
        return TokenLengths(name, limit, {}, missing=str(error))
    lengths = {}
    for split, ads in texts.items():
        encoded = tokenizer(list(ads), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        lengths[split] = sorted(map(len, encoded))
    return TokenLengths(name, limit, lengths)


def _tokenizer(
    config: Config,
    train: Sequence[str],
    taxonomy: Taxonomy,
    learn: Callable[[Sequence[str], int], "PreTrainedTokenizerBase"],
) -> "PreTrainedTokenizerBase":
    if config.model.base != STANDIN:
        return load_tokenizer(config.model.base, config.model.revision)
    titles = [title for title, _ in titles_with_codes(taxonomy)]
    texts = label_texts(get_label_task(config.task), train[:LEARNT_FROM], titles)
    return learn(texts, config.model.standin.vocab_size)


def tokenize(config: Config, source: Path, out: Path) -> None:
    """Write each split's prompts with their answers as tokens, and tokens.json with their lengths.

    A split's Parquet file has the columns id, input_ids (prompt and answer, as training sees them) and answer_tokens
    (how many of them carry the loss).

    Args:
        config: the sections model and prompt, and the task.
        source: folder with prepared data.
        out: an empty folder.

    Raises:
        ModelError: the tokenizer of model.base cannot be loaded.
    """
    taxonomy = Taxonomy.load(source / "taxonomy.json")
    train = [row.text for row in islice(_examples(source / "train.jsonl"), LEARNT_FROM)]
    tokenizer = _tokenizer(config, train, taxonomy, train_tokenizer)
    encoder = PromptEncoder(get_label_task(config.task), tokenizer, config.prompt.max_ad_tokens)
    shutil.copyfile(source / "taxonomy.json", out / "taxonomy.json")
    found = {}
    for split in ("train", "validation", "test"):
        lengths = _write(encoder, _examples(source / f"{split}.jsonl"), out / f"{split}.parquet")
        names = ("shortest", "median", "p95", "longest")
        found[split] = {"rows": len(lengths), **dict(zip(names, quantiles(sorted(lengths)), strict=True))}
    document = {"tokenizer": config.model.base, "max_ad_tokens": config.prompt.max_ad_tokens, "tokens": found}
    (out / "tokens.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _examples(path: Path) -> Iterator[Example]:
    return map(Example.from_json, read_jsonl(path))


def _write(encoder: PromptEncoder, rows: Iterator[Example], path: Path) -> list[int]:
    """Write one split, some rows at a time; return the lengths."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {"id": pa.string(), "input_ids": pa.list_(pa.int32()), "answer_tokens": pa.int32()}
    lengths: list[int] = []
    with parquet.ParquetWriter(path, pa.schema(columns)) as writer:
        while some := list(islice(rows, _TOGETHER)):
            encoded = encoder.examples([row.text for row in some], [row.label for row in some])
            ids = [row["input_ids"] for row in encoded]
            answers = [len(encoder.answer(row.label)) for row in some]
            lengths += map(len, ids)
            values = ([row.id for row in some], ids, answers)
            arrays = [pa.array(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
            writer.write_table(pa.table(arrays, schema=pa.schema(columns)))
    return lengths
