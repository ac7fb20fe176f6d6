"""The recipe: YAML plus overrides in, one validated and frozen `Config` out.

Nothing is read from the environment here, and no stage sees YAML: a recipe is checked as a whole, every mistake is
reported at once, and the result travels through a run as one JSON artifact.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jobtuner.errors import ConfigError

__all__ = [
    "STANDIN",
    "BaselineConfig",
    "CleanConfig",
    "Columns",
    "Config",
    "DataConfig",
    "DeduplicateConfig",
    "DeployConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GateConfig",
    "GenerateConfig",
    "LoraSettings",
    "ModelConfig",
    "PromptConfig",
    "QuantizationConfig",
    "RegisterConfig",
    "SplitConfig",
    "StandinConfig",
    "TaxonomyConfig",
    "TrainingConfig",
    "load_config",
    "recipe_names",
]

STANDIN = "standin"
"""Value of `model.base` that asks for the small model built on the spot."""

_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """Frozen, strict about unknown keys and about types (an explicit 0 stays 0; "3" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Columns(_Section):
    """Which column (or JSON key) of the input holds what."""

    text: str = "text"
    label: str = "label"
    language: str | None = "language"
    """None: the input does not say; every row counts as "und"."""
    id: str | None = None
    """None: file name and row number serve as id."""
    group: str | None = None
    """Rows with the same value never cross a split (employer, re-post id)."""


class GenerateConfig(_Section):
    """The built-in generator of multilingual ads."""

    languages: Sequence[Literal["en", "es", "fr", "de", "da"]] = ("en", "es", "fr", "de", "da")
    ads_per_unit: _Count = 24
    """Ads per unit group *and* language."""
    noise: _Share = 0.3
    """Share of ads with typos, HTML, shouting or emoji."""
    untitled: _Share = 0.25
    """Share of ads whose heading does not name the occupation: the body must be read."""


class DataConfig(_Section):
    """Where the labelled rows come from."""

    input: str | None = None
    """Path or URI of a file or folder; None: generate."""
    columns: Columns = Columns()
    generate: GenerateConfig = GenerateConfig()
    max_rejected: _Share = 0.5
    """Fail when a larger share of the rows is rejected: the mapping is probably wrong."""
    max_rows: _Count | None = None
    """Read no more rows than this (a quick trial); None: all."""


class TaxonomyConfig(_Section):
    """The label set."""

    path: str | None = None
    """JSONL or CSV with at least `code`; None: the built-in sample of ISCO-08 unit groups."""
    level: int | None = Field(default=None, ge=1)
    """Keep codes of this hierarchy level as labels (ISCO-08: 4 = unit groups); None: the deepest codes."""


class CleanConfig(_Section):
    """Text cleaning."""

    min_chars: int = Field(default=3, ge=1)
    max_chars: _Count = 2000
    """Longer texts are cut at a word; the data card counts them."""
    personal_data: bool = True
    """Replace e-mail addresses, phone numbers and URLs by [EMAIL], [PHONE], [URL]."""


class DeduplicateConfig(_Section):
    """Near-duplicates by MinHash over character shingles, verified by exact Jaccard similarity."""

    threshold: _Share = 0.85
    """Jaccard similarity from which two texts belong to one cluster."""
    shingle: int = Field(default=5, ge=2)
    """Characters a shingle."""
    permutations: int = Field(default=64, ge=16)
    """Hash functions; more find borderline pairs more surely and cost time."""


class SplitConfig(_Section):
    """Train, validation, test: whole clusters only."""

    validation: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    test: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.15
    min_label_rows: int = Field(default=3, ge=1)
    """Labels with fewer rows are rejected, each row with its reason: they cannot be learnt and tested."""


class PromptConfig(_Section):
    """How an ad becomes a prompt (the wording itself lives in `jobtuner.tasks`)."""

    max_ad_tokens: int = Field(default=512, ge=8)
    """Ads are cut to this many tokens; the answer never is."""


class BaselineConfig(_Section):
    """TF-IDF over word and character n-grams, then logistic regression."""

    word_ngrams: Annotated[int, Field(ge=1, le=3)] = 2
    char_ngrams: Annotated[int, Field(ge=2, le=6)] = 4
    max_features: _Count = 60_000
    """Largest vocabulary of each of the two vectorizers."""
    min_count: _Count = 2
    """An n-gram must occur in this many training texts."""
    regularization: Annotated[float, Field(gt=0.0)] = 40.0
    """Inverse strength C of the L2 penalty."""


class StandinConfig(_Section):
    """The small Qwen2.5-shaped base model that is built where no real weights are."""

    vocab_size: int = Field(default=4096, ge=600)
    hidden_size: int = Field(default=192, ge=32)
    intermediate_size: int = Field(default=512, ge=32)
    layers: _Count = 2
    heads: _Count = 3
    kv_heads: _Count = 3
    init_std: Annotated[float, Field(gt=0.0)] = 0.06
    """Standard deviation of the initial weights. The output layer is frozen after pretraining and bounds the logits: at
    Qwen2's own 0.02 so short a pretraining leaves it too small for any token to become likely."""
    pretrain_tokens: _Count = 400_000
    pretrain_batch_tokens: _Count = 2048
    pretrain_learning_rate: Annotated[float, Field(gt=0.0)] = 3e-3

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, and heads of kv_heads "
                f"{self.kv_heads}"
            )
        return self


class ModelConfig(_Section):
    """The base model."""

    base: str = STANDIN
    """"standin", a Hugging Face id, or a local folder with a Qwen2.5 model."""
    revision: str | None = None
    """Commit of the Hub repository; pin it for a run that can be repeated."""
    standin: StandinConfig = StandinConfig()


class QuantizationConfig(_Section):
    """bitsandbytes 4-bit quantisation of the frozen base (QLoRA, arXiv 2305.14314)."""

    type: Literal["nf4", "fp4"] = "nf4"
    double: bool = True
    """Quantise the quantisation constants too: 0.37 bits a parameter less (arXiv 2305.14314, section 3)."""
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"


class LoraSettings(_Section):
    """The adapter."""

    r: Literal[8, 16, 32, 64, 128] = 16
    """Rank; the accepted values are those that vLLM can serve."""
    alpha: _Count = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    target_modules: Sequence[str] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that get an adapter, or "all-linear"."""


class TrainingConfig(_Section):
    """The fine-tuning run."""

    epochs: Annotated[float, Field(gt=0.0)] = 3.0
    max_steps: _Count | None = None
    """Optimizer steps at most; None: as many as the epochs need."""
    batch_size: _Count = 16
    """Examples a forward pass."""
    gradient_accumulation: _Count = 1
    """Forward passes an optimizer step."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "cosine"
    warmup: _Share = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    gradient_checkpointing: bool = False
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit"] = "adamw_torch"


class EvaluateConfig(_Section):
    """Scoring of the test split."""

    batch_size: _Count = 32
    """Prompts scored at once."""
    top_k: int = Field(default=5, ge=2)
    search: Literal["exact", "top", "greedy"] = "exact"
    """exact: the probability of every label. top: the `top_k` best labels, proven, theirs exact; the others share what
    is left evenly, so that accuracy and top-k accuracy are exact and log loss, Brier score and calibration are not.
    greedy: the best branch at each token."""
    scoring_memory_mib: int = Field(default=1024, ge=16)
    """Working memory of exact label scores, MiB, beside the weights. Less means smaller passes, not another result."""
    max_examples: _Count | None = None
    """Score no more test examples than this (the first by id hash); None: all."""


class GateConfig(_Section):
    """When a challenger becomes champion."""

    metric: Literal["macro_f1", "accuracy"] = "macro_f1"
    min_gain: float = 0.0
    """The challenger's metric must exceed the baseline's (and the champion's) by more than this."""
    max_language_loss: _Share = 0.05
    """No language may lose more accuracy than this against the baseline."""


class RegisterConfig(_Section):
    """Experiment and registry names."""

    experiment: str = "jobtuner"
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "jobtuner-occupation"


class ExportConfig(_Section):
    """Merged weights."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    parity_examples: _Count = 64
    """Validation prompts on which merged and base + adapter are compared."""
    min_label_agreement: _Share = 0.97


class DeployConfig(_Section):
    """The local endpoint."""

    host: str = "127.0.0.1"
    start_seconds: Annotated[float, Field(gt=0.0)] = 120.0
    """The endpoint must be ready within this time."""


class Config(_Section):
    """Everything a run needs to know."""

    name: str
    """Name of the recipe."""
    seed: int = Field(default=17, ge=0, lt=2**32)
    task: Literal["occupation"] = "occupation"
    data: DataConfig = DataConfig()
    taxonomy: TaxonomyConfig = TaxonomyConfig()
    clean: CleanConfig = CleanConfig()
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    split: SplitConfig = SplitConfig()
    prompt: PromptConfig = PromptConfig()
    baseline: BaselineConfig = BaselineConfig()
    model: ModelConfig = ModelConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    lora: LoraSettings = LoraSettings()
    training: TrainingConfig = TrainingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    register_: RegisterConfig = Field(default=RegisterConfig(), alias="register")
    export: ExportConfig = ExportConfig()
    deploy: DeployConfig = DeployConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not value or not value.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"'{value}' may hold letters, digits, '.', '_' and '-' only")
        return value

    def save(self, path: Path) -> None:
        """Write the config as JSON, the form in which it travels through a run."""
        path.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """The config as stable JSON: equal configs give equal text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), ensure_ascii=False, indent=1, sort_keys=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a config that `save` wrote.

        Raises:
            ConfigError: the file is missing, unreadable, or not a valid config.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"The config {path} cannot be read: {error}.") from error
        except ValidationError as error:
            raise ConfigError(_explain(error, str(path))) from error

    def digest(self, *sections: str) -> str:
        """SHA-256 over the named sections (all when none is named): the part of a cache key that settings make up."""
        data = self.model_dump(mode="json", by_alias=True)
        chosen = {name: data[name] for name in sections} if sections else data
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def recipe_names() -> list[str]:
    """Names of the recipes that come with JobTuner."""
    folder = resources.files("jobtuner.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(recipe: str, overrides: Mapping[str, str] | None = None) -> Config:
    """Read a recipe by name or path, lay the overrides over it and validate the whole.

    Args:
        recipe: name of a built-in recipe, or path of a YAML file.
        overrides: dotted key to value as YAML text, e.g. {"training.epochs": "2", "data.input": "ads.csv"}.

    Raises:
        ConfigError: no such recipe, unreadable YAML, or invalid values; lists every mistake at once.
    """
    text, where = _recipe_text(recipe)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Recipe {where} is not readable YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"Recipe {where} holds a {type(data).__name__}; a mapping of sections is needed.")
    data.setdefault("name", Path(recipe).stem if Path(recipe).suffix else recipe)
    for key, value in (overrides or {}).items():
        _override(data, key, value)
    try:
        # By way of JSON: it has lists where Python would ask for tuples, and no dates or other YAML surprises.
        return Config.model_validate_json(json.dumps(data))
    except TypeError as error:
        raise ConfigError(f"Recipe {where} holds a value that JSON has no form for: {error}.") from error
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from error


def _recipe_text(recipe: str) -> tuple[str, str]:
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Recipe file {path} cannot be read: {error}.") from error
    if recipe in recipe_names():
        return (resources.files("jobtuner.recipes") / f"{recipe}.yaml").read_text(encoding="utf-8"), recipe
    close = difflib.get_close_matches(recipe, recipe_names(), n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ConfigError(
        f"There is no recipe '{recipe}'.{hint} Built-in recipes: {', '.join(recipe_names())}; "
        "or give the path of a YAML file."
    )


def _override(data: dict[str, Any], key: str, value: str) -> None:
    *parents, last = key.split(".")
    node = data
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"The override {key}={value} goes through '{parent}', which is a value and no section.")
        node = child
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"The override {key}={value} is not readable YAML: {error}") from error


def _explain(error: ValidationError, where: str) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key.{_near_key(item['loc'])}")
        elif item["type"] == "missing":
            lines.append(f"  {key}: is missing.")
        else:
            lines.append(f"  {key}: got {item['input']!r}; {item['msg']}.")
    count = len(lines)
    noun = "mistake" if count == 1 else "mistakes"
    return f"Recipe {where} has {count} {noun}:\n" + "\n".join(lines)


def _near_key(location: tuple[int | str, ...]) -> str:
    section: Any = Config
    for part in location[:-1]:
        fields_of = {info.alias or name: info for name, info in section.model_fields.items()}
        section = fields_of[str(part)].annotation
    accepted = [info.alias or name for name, info in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), accepted, n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Accepted: {', '.join(accepted)}."
