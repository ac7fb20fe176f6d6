"""A recipe read, overridden and validated as a whole."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from jobtuner.config.baseline import BaselineConfig
from jobtuner.config.chat import ChatConfig
from jobtuner.config.data import (
    CleanConfig,
    DataConfig,
    DeduplicateConfig,
    PromptConfig,
    SplitConfig,
    TaxonomyConfig,
)
from jobtuner.config.hardware import HardwareConfig
from jobtuner.config.model import LoraSettings, ModelConfig, QuantizationConfig
from jobtuner.config.monitor import MonitorConfig
from jobtuner.config.release import MODEL_NAMES, DeployConfig, EvaluateConfig, ExportConfig, GateConfig, RegisterConfig
from jobtuner.config.reporting import ReportingConfig
from jobtuner.config.section import Section
from jobtuner.config.training import CheckpointConfig, TrainingConfig
from jobtuner.errors import ConfigError

__all__ = ["Config", "load_config", "recipe_names"]

_TEXT_TASKS = frozenset({"skills", "cover_letter", "instruct"})


class Config(Section):
    """Everything a run needs to know."""

    name: str
    """Name of the recipe."""
    seed: int = Field(default=17, ge=0, lt=2**32)
    task: Literal["occupation", "skills", "cover_letter", "instruct"] = "occupation"
    data: DataConfig = DataConfig()
    taxonomy: TaxonomyConfig = TaxonomyConfig()
    clean: CleanConfig = CleanConfig()
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    split: SplitConfig = SplitConfig()
    prompt: PromptConfig = PromptConfig()
    chat: ChatConfig = ChatConfig()
    baseline: BaselineConfig = BaselineConfig()
    model: ModelConfig = ModelConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    lora: LoraSettings = LoraSettings()
    training: TrainingConfig = TrainingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    hardware: HardwareConfig = HardwareConfig()
    reporting: ReportingConfig = ReportingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    register_: RegisterConfig = Field(default=RegisterConfig(), alias="register")
    export: ExportConfig = ExportConfig()
    deploy: DeployConfig = DeployConfig()
    monitor: MonitorConfig = MonitorConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not value or not value.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"'{value}' may hold letters, digits, '.', '_' and '-' only")
        return value

    @model_validator(mode="before")
    @classmethod
    def _instructions_stay(cls, values: Any) -> Any:
        """Texts of the task instruct speak to the machine by their nature."""
        if isinstance(values, dict) and values.get("task") == "instruct":
            clean = values.get("clean") or {}
            if isinstance(clean, dict):
                return {**values, "clean": {"orders": False, **clean}}
        return values

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_task(cls, data: Any) -> Any:
        """Models of different tasks must not become versions of each other: each task has a name by default."""
        if not isinstance(data, dict) or "register_" in data:
            return data
        name, register = MODEL_NAMES.get(str(data.get("task"))), data.get("register", {})
        if name is None or not isinstance(register, dict) or "model_name" in register:
            return data
        return {**data, "register": {**register, "model_name": name}}

    @model_validator(mode="after")
    def _settings_of_the_task(self) -> Self:
        """What a task does not read may not be set: it would be ignored."""
        tasks = {self.task, *(each.task for each in self.training.mixture.values())}
        unread = ("taxonomy", "baseline") if self.task in _TEXT_TASKS else () if tasks & _TEXT_TASKS else ("chat",)
        sections = {name: getattr(self, name) for name in unread}
        changed = [
            name
            for name, section in sections.items()
            if section.model_dump(mode="json") != type(section)().model_dump(mode="json")
        ]
        if changed:
            raise ValueError(f"the task {self.task} reads no section {' or '.join(changed)}: leave it out")
        if self.task in _TEXT_TASKS and self.data.hostile:
            raise ValueError(f"data.hostile keeps an ad's code, and the task {self.task} has none: leave it out")
        if self.chat.columns.links is not None and self.chat.skills_taxonomy is None:
            raise ValueError("chat.columns.links needs chat.skills_taxonomy: answers are linked to its concepts")
        if self.task != "skills" and self.chat.skills_taxonomy is not None:
            raise ValueError(f"the task {self.task} links no skills: leave out chat.skills_taxonomy")
        if self.task in _TEXT_TASKS and self.training.best_by in {"label_accuracy", "macro_f1"}:
            raise ValueError(
                f"the task {self.task} answers with no labels: training.best_by {self.training.best_by} cannot be "
                "measured; accepted with it: loss, accuracy"
            )
        return self

    @model_validator(mode="after")
    def _sections_go_together(self) -> Self:
        full, sharded = self.training.method == "full", self.hardware.sharding != "none"
        by_labels = self.training.best_by in {"label_accuracy", "macro_f1"}
        cluster = self.deploy.target == "kserve"
        served_adapter = cluster and self.deploy.kserve.weights == "adapter"
        rules = {
            f"deploy.target kserve proves a model by its codes, and the task {self.task} has none; accepted with it: "
            "local. Its adapter can be served by manifests/base/serving": cluster and self.task in _TEXT_TASKS,
            "deploy.kserve.weights adapter serves an adapter, and training.method full makes none; accepted with it: "
            "merged": served_adapter and full,
            "deploy.kserve.weights adapter is vLLM's business, which knows no DoRA; accepted with lora.dora: merged": (
                served_adapter and self.lora.dora
            ),
            f"training.method full trains the weights themselves, which quantization.type {self.quantization.type} "
            "freezes in 4 bits; accepted with it: quantization.type none (and double false)": (
                full and self.quantization.type != "none"
            ),
            "training.method full has no adapter and would ignore the section lora: leave it out, or override it with "
            "lora={}": full and self.lora != LoraSettings(),
            "hardware.sharding fsdp cuts a frozen base; accepted with training.method full: none": full and sharded,
            f"training.best_by {self.training.best_by} is not measured on a base in parts; accepted with "
            "hardware.sharding fsdp: loss, accuracy": sharded and by_labels,
            "training.torch_compile does not go with hardware.sharding fsdp; set one of them off": (
                sharded and self.training.torch_compile
            ),
        }
        if wrong := [message for message, broken in rules.items() if broken]:
            raise ValueError("; ".join(wrong))
        return self

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
    task = data.get("task", "occupation")
    if (overrides or {}).get("task", task) != task and isinstance(data.get("data"), dict):
        data["data"].pop("hostile", None)  # the recipe's own task has codes, the one asked for may have none
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
        elif not key:
            lines += [f"  {mistake}." for mistake in item["msg"].removeprefix("Value error, ").split("; ")]
        else:
            lines.append(f"  {key}: got {item['input']!r}; {item['msg']}.")
    count = len(lines)
    noun = "mistake" if count == 1 else "mistakes"
    return f"Recipe {where} has {count} {noun}:\n" + "\n".join(lines)


def _near_key(location: tuple[int | str, ...]) -> str:
    section: Any = Config
    for part in location[:-1]:
        if get_origin(section) is not None:  # a list or a mapping of sections: the part is a number or a name in it
            section = get_args(section)[-1]
            continue
        fields_of = {info.alias or name: info for name, info in section.model_fields.items()}
        section = fields_of[str(part)].annotation
    accepted = [info.alias or name for name, info in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), accepted, n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Accepted: {', '.join(accepted)}."
