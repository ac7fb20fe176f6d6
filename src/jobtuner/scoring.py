"""A fine-tuned model as a classifier: what evaluation, export, serving and `jobtuner predict` all use.

What inference needs lies beside the weights in `inference.json`; loading checks that prompt, taxonomy and labels are
the ones the model was trained with, and refuses a mismatch.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig, QuantizationConfig
from jobtuner.contracts import TrainedModel
from jobtuner.errors import ModelError
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.prefix import Start, read_start
from jobtuner.labels.scores import DEFAULT_MEMORY, label_log_probabilities
from jobtuner.labels.search import search_labels
from jobtuner.labels.walk import Search, check_search
from jobtuner.probabilities import Temperatures, apply_temperature
from jobtuner.taxonomy import LabelTrie, Taxonomy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "INFERENCE_FILE",
    "TAXONOMY_FILE",
    "InferenceSettings",
    "LabelPrompts",
    "LabelScorer",
    "load_adapted",
    "load_exported",
    "load_prompts",
    "load_trained",
]

INFERENCE_FILE = "inference.json"
TAXONOMY_FILE = "taxonomy.json"


@dataclass(frozen=True)
class InferenceSettings:
    """What a model must be asked with, as it was trained."""

    task: str
    labels: list[str]
    """Codes in the order of the score columns."""
    prompt_hash: str
    max_ad_tokens: int
    taxonomy_version: str
    data_fingerprint: str
    model_fingerprint: str
    quantization: dict[str, Any]
    """The 4-bit settings under the adapter; a merged model keeps them as a record."""
    clean: dict[str, Any]
    """How the training texts were cleaned; what comes in later is cleaned the same way."""
    temperature: float = 1.0
    """Divides the log-probabilities before they are renormalised."""
    language_temperatures: dict[str, float] = field(default_factory=dict)
    """Language to the temperature of its ads, for who knows an ad's language (`LabelScorer.temperatures`)."""
    model_version: str = "unregistered"
    abstain_below: float = 0.0
    """Answers with a lower probability should be looked at by a person; 0: none, above 1: all."""
    max_answer_tokens: int = 0
    """Of tasks that answer in text: longest answer; 0 where the answer is a label."""

    def temperatures(self) -> Temperatures:
        """Of all ads, and of those whose language is known."""
        return Temperatures(self.temperature, self.language_temperatures)

    def save(self, folder: Path) -> None:
        """Write `inference.json`."""
        (folder / INFERENCE_FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "InferenceSettings":
        """Read `inference.json`.

        Raises:
            ModelError: it is missing, unreadable, or of another version.
        """
        path = folder / INFERENCE_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(**data)
        except FileNotFoundError as error:
            raise ModelError(
                f"{folder} holds no {INFERENCE_FILE}: it is no model made by JobTuner. `jobtuner run` makes one."
            ) from error
        except (OSError, ValueError, TypeError) as error:
            names = [item.name for item in fields(cls)]
            raise ModelError(f"{path} is not readable ({error}); it needs the fields {names}.") from error


class LabelPrompts:
    """What a model is asked and what it may answer, as it was trained: texts to prompts, labels to a trie.

    Args:
        tokenizer: the model's tokenizer.
        taxonomy: gives titles and hierarchy.
        settings: how to ask.

    Raises:
        ModelError: prompt, taxonomy or labels are not those that the model was trained with.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", taxonomy: Taxonomy, settings: InferenceSettings) -> None:
        from jobtuner.tasks import PromptEncoder, get_label_task, prompt_hash

        task = get_label_task(settings.task)
        _check(settings, prompt_hash(task, tokenizer), taxonomy)
        self.taxonomy, self.settings, self.labels = taxonomy, settings, list(settings.labels)
        self.encoder = PromptEncoder(task, tokenizer, settings.max_ad_tokens)
        self.layout = TrieLayout(LabelTrie([self.encoder.answer(label) for label in self.labels], self.labels))
        self._clean, self._codes = CleanConfig.model_validate(settings.clean), frozenset(self.labels)

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each cleaned text's prompt."""
        return self.encoder.prompts([clean_text(text, self._clean, self._codes).text for text in texts])


class LabelScorer:
    """Probabilities of every label for any text.

    Args:
        model: causal language model, with or without an adapter. Its weights must not change from the first call on:
            what every prompt begins with is read once.
        prompts: how to ask it.
        batch_size: prompts a forward pass.
        search: "exact" scores every label; "top" proves the k best and lets the others share what is left; "greedy"
            follows the best branch at each step (see `labels.walk`).
        k: labels that "top" proves.
        memory_bytes: working memory of the exact scores, beside the weights.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """

    def __init__(
        self,
        model: Any,
        prompts: LabelPrompts,
        batch_size: int = 32,
        *,
        search: Search = "exact",
        k: int = 5,
        memory_bytes: int = DEFAULT_MEMORY,
    ) -> None:
        check_search(search, k)
        self.model, self.taxonomy, self.settings = model.eval(), prompts.taxonomy, prompts.settings
        self.labels, self.fingerprint = prompts.labels, self.settings.model_fingerprint
        self.model_version, self.abstain_below = self.settings.model_version, self.settings.abstain_below
        self.temperatures = self.settings.temperatures()
        self._prompts, self._batch_size = prompts, batch_size
        self._search, self._k, self._memory_bytes = search, k, memory_bytes
        self._start: Start | None = None

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated log-probabilities, shape [len(texts), len(labels)]; the exponentials of a row sum to 1.

        At the pooled temperature; `temperatures.corrected` gives those of a known language.
        """
        if not texts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        prompts = self._prompts.prompts(texts)
        scores = np.empty((len(prompts), len(self.labels)), dtype=np.float32)
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))  # little padding in a batch
        for start in range(0, len(by_length), self._batch_size):
            rows = by_length[start : start + self._batch_size]
            scores[rows] = self._score([prompts[row] for row in rows])
        return apply_temperature(scores, self.settings.temperature)

    def _score(self, prompts: list[list[int]]) -> NDArray[np.float32]:
        layout, pad_id = self._prompts.layout, self._prompts.encoder.end_id
        if self._start is None:
            self._start = read_start(self.model, self._prompts.encoder.start)
        if self._search == "exact":
            return label_log_probabilities(self.model, prompts, layout, pad_id, self._memory_bytes, self._start)
        return search_labels(self.model, prompts, layout, pad_id, self._search, self._k, self._start)


def _check(settings: InferenceSettings, found_hash: str, taxonomy: Taxonomy) -> None:
    wrong = []
    if found_hash != settings.prompt_hash:
        wrong.append(
            f"its prompt hash is {settings.prompt_hash[:12]}, this version of the task and "
            f"tokenizer gives {found_hash[:12]}"
        )
    if taxonomy.version != settings.taxonomy_version:
        wrong.append(f"it was trained on taxonomy {settings.taxonomy_version}, the one beside it is {taxonomy.version}")
    unknown = sorted(set(settings.labels) - set(taxonomy.labels))
    if unknown:
        wrong.append(f"it answers codes that the taxonomy does not hold: {unknown[:5]}")
    if wrong:
        raise ModelError(
            "The model does not fit what it would be asked with: " + "; ".join(wrong) + ". Train or export it again."
        )


def load_adapted(
    trained: TrainedModel,
    taxonomy: Taxonomy,
    batch_size: int = 32,
    *,
    search: Search = "exact",
    k: int = 5,
    memory_bytes: int = DEFAULT_MEMORY,
) -> LabelScorer:
    """The quantised base with the trained adapter on it, or the weights of full fine-tuning (temperature 1).

    Args:
        trained: what the train stage made.
        taxonomy: the one it was trained on.
        batch_size: prompts a forward pass.
        search: which labels are scored exactly, as in `LabelScorer`; so k and memory_bytes.
        k: labels that the search "top" proves.
        memory_bytes: working memory of the exact scores.

    Raises:
        ConfigError: the search is unknown.
        ModelError: something is missing, or does not fit.
    """
    from jobtuner.models import load_tokenizer

    settings = InferenceSettings.load(trained.folder)
    tokenizer = load_tokenizer(str(trained.folder / "tokenizer"))
    model = load_trained(trained, settings)
    prompts = LabelPrompts(tokenizer, taxonomy, settings)
    return LabelScorer(model, prompts, batch_size, search=search, k=k, memory_bytes=memory_bytes)


def load_trained(trained: TrainedModel, settings: InferenceSettings) -> Any:
    """The quantised base with the trained adapter on it, or the weights of full fine-tuning, as they were trained.

    Raises:
        ModelError: the base cannot be found or loaded.
    """
    from peft import PeftModel

    from jobtuner.models import WEIGHTS_FOLDER, load_quantized

    quantization = QuantizationConfig.model_validate(settings.quantization)
    weights = trained.folder / WEIGHTS_FOLDER
    if weights.is_dir():
        return load_quantized(str(weights), None, quantization)
    source = str(trained.folder / "base") if trained.base_is_standin else trained.base
    base = load_quantized(source, trained.settings.get("revision"), quantization)
    return PeftModel.from_pretrained(base, str(trained.folder / "adapter"), is_trainable=False)


def load_prompts(folder: Path) -> LabelPrompts:
    """How an exported model is to be asked, without its weights.

    Raises:
        ModelError: the folder holds no such model, or its parts do not fit each other.
    """
    from jobtuner.models import load_tokenizer
    from jobtuner.tasks import get_label_task

    settings = InferenceSettings.load(folder)
    get_label_task(settings.task)  # a model that answers in text is told so: it has no taxonomy to be missed
    return LabelPrompts(load_tokenizer(str(folder)), Taxonomy.load(folder / TAXONOMY_FILE), settings)


def load_exported(folder: Path, batch_size: int = 32, *, search: Search = "exact", k: int = 5) -> LabelScorer:
    """A merged model from the folder that the export stage made (its `model/`).

    Args:
        folder: the model's.
        batch_size: prompts a forward pass.
        search: which labels are scored exactly, as in `LabelScorer`.
        k: labels that the search "top" proves.

    Raises:
        ConfigError: the search is unknown.
        ModelError: the folder holds no such model, or its parts do not fit each other.
    """
    from transformers import AutoModelForCausalLM

    prompts = load_prompts(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype="auto", trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {error}. Export it again.") from error
    return LabelScorer(_on_best_device(model), prompts, batch_size, search=search, k=k)


def _on_best_device(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")
