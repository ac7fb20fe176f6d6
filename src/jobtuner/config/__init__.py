"""The recipe: YAML plus overrides in, one validated and frozen `Config` out.

Nothing is read from the environment here, and no stage sees YAML: a recipe is checked as a whole, every mistake is
reported at once, and the result travels through a run as one JSON artifact.
"""

from jobtuner.config.baseline import BaselineConfig
from jobtuner.config.chat import ChatColumns, ChatConfig
from jobtuner.config.data import (
    CleanConfig,
    Columns,
    DataConfig,
    DeduplicateConfig,
    GenerateConfig,
    PromptConfig,
    SplitConfig,
    TaxonomyConfig,
)
from jobtuner.config.hardware import HardwareConfig
from jobtuner.config.kserve import KServeConfig
from jobtuner.config.mixture import MixedData
from jobtuner.config.model import STANDIN, LoraSettings, ModelConfig, QuantizationConfig, StandinConfig
from jobtuner.config.monitor import MonitorConfig, RetrainConfig
from jobtuner.config.quality import LeakageConfig, RuleConfig
from jobtuner.config.recipe import Config, load_config, recipe_names
from jobtuner.config.release import DeployConfig, EvaluateConfig, ExportConfig, GateConfig, RegisterConfig
from jobtuner.config.reporting import ReportingConfig
from jobtuner.config.training import CheckpointConfig, TrainingConfig

__all__ = [
    "STANDIN",
    "BaselineConfig",
    "ChatColumns",
    "ChatConfig",
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
    "HardwareConfig",
    "KServeConfig",
    "LeakageConfig",
    "LoraSettings",
    "MixedData",
    "ModelConfig",
    "MonitorConfig",
    "PromptConfig",
    "QuantizationConfig",
    "RegisterConfig",
    "ReportingConfig",
    "RetrainConfig",
    "RuleConfig",
    "SplitConfig",
    "StandinConfig",
    "TaxonomyConfig",
    "TrainingConfig",
    "load_config",
    "recipe_names",
]
