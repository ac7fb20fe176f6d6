"""The rules hold in the code; and each rule notices when it is broken."""

import subprocess
import sys

import pytest

from tests.architecture.rules import HEAVY, RULES, Module, Rule, modules, rule_names

_COMPONENT = (
    "from kfp import dsl\n__all__ = ['train']\n@dsl.component(base_image='x:1')\ndef train({parameters}) -> None:\n"
)
_BAD = [
    ("library_knows_no_pipeline", "jobtuner.stages", "def f():\n    import kfp.local\n"),
    ("library_knows_no_pipeline", "jobtuner.cli.run", "from pipelines import local\n"),
    ("library_knows_no_pipeline", "jobtuner.run", "if True:\n    from components.train import train\n"),
    ("kubernetes_only_in_deploy", "jobtuner.serve.server", "def f():\n    from kubernetes import client\n"),
    ("rooms_stay_apart", "jobtuner.train.stage", "from jobtuner.prepare.sources import read\n"),
    ("rooms_stay_apart", "jobtuner.train.stage", "def f():\n    from jobtuner import evaluate\n"),
    ("rooms_stay_apart", "jobtuner.train.stage", "from ..prepare import clean\n"),
    ("rooms_stay_apart", "jobtuner.serve.gateway", "import jobtuner.deploy.local\n"),
    ("rooms_stay_apart", "jobtuner.deploy.local", "from jobtuner.serve.server import serve\n"),
    ("rooms_stay_apart", "jobtuner.scoring", "from jobtuner.train.lora import adapter\n"),
    ("heavy_imports_inside_functions", "jobtuner.scoring", "import torch\n"),
    (
        "heavy_imports_inside_functions",
        "jobtuner.scoring",
        "try:\n    from torch import nn\nexcept ImportError:\n    pass\n",
    ),
    ("heavy_imports_inside_functions", "jobtuner.scoring", "class A:\n    import sklearn.linear_model\n"),
    ("nothing_pickled", "jobtuner.linear.classifier", "def f():\n    import joblib\n"),
    ("nothing_pickled", "pipelines.local", "from pickle import loads\n"),
    ("nothing_pickled", "jobtuner.models", "load('x', trust_remote_code=True)\n"),
    ("nothing_pickled", "jobtuner.models", "torch.load('x', weights_only=False)\n"),
    ("all_is_what_is_public", "jobtuner.run", "def run() -> None: ...\n"),
    ("all_is_what_is_public", "jobtuner.run", "__all__ = ['run']\ndef run() -> None: ...\nLIMIT = 3\n"),
    ("all_is_what_is_public", "jobtuner.run", "__all__ = ['run', 'gone']\ndef run() -> None: ...\n"),
    (
        "component_is_one_import_and_one_call",
        "components.train",
        _COMPONENT.format(parameters="a: str") + "    'Doc.'\n    from jobtuner.run import f\n    x = f(a)\n    f(x)\n",
    ),
    (
        "component_is_one_import_and_one_call",
        "components.train",
        _COMPONENT.format(parameters="a: str") + "    'Doc.'\n    from torch import load\n    load(a)\n",
    ),
    (
        "component_is_one_import_and_one_call",
        "components.train",
        _COMPONENT.format(parameters=", ".join(f"a{n}: str" for n in range(9)))
        + "    'Doc.'\n    from jobtuner.run import f\n    f(a0)\n",
    ),
]
_GOOD = [
    ("jobtuner.deploy.cluster", "def _f():\n    from kubernetes import client\n"),
    ("jobtuner.train.stage", "from jobtuner.train.lora import adapter\nfrom jobtuner.tasks import base\n"),
    ("jobtuner.scoring", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"),
    ("jobtuner.models", "def _f():\n    import torch\n    torch.load('x', weights_only=True)\n"),
    ("jobtuner.tasks", "from jobtuner.tasks.base import Task\n__all__ = ['Task', '__version__']\n_X = 1\n"),
    (
        "components.monitor",
        _COMPONENT.format(parameters="a: str") + "    'Doc.'\n    from jobtuner.run import f\n    return f(a)\n",
    ),
    ("jobtuner.cli.model", "def _f():\n    from jobtuner.serve.server import serve\n"),
]


@pytest.mark.parametrize("rule", RULES, ids=rule_names)
def test_the_code_keeps_the_rule(rule: Rule) -> None:
    assert {module.name: wrong for module in modules() if (wrong := rule(module))} == {}


@pytest.mark.parametrize(("name", "module", "source"), _BAD)
def test_the_rule_notices(name: str, module: str, source: str) -> None:
    (rule,) = [rule for rule in RULES if rule_names(rule) == name]
    assert rule(Module.parse(module, source))


@pytest.mark.parametrize(("module", "source"), _GOOD)
def test_the_rules_let_pass(module: str, source: str) -> None:
    assert [wrong for rule in RULES for wrong in rule(Module.parse(module, source))] == []


def test_every_rule_is_shown_to_notice() -> None:
    assert {name for name, _, _ in _BAD} == {rule_names(rule) for rule in RULES}


def test_all_three_packages_are_walked() -> None:
    names = {module.name for module in modules()}
    assert {"jobtuner.stages", "jobtuner.train.lora", "components.train", "pipelines.local"} <= names


def test_importing_the_library_loads_nothing_heavy() -> None:
    """Every module of `jobtuner` in one fresh interpreter: what a rule on the text misses shows here."""
    names = [module.name for module in modules("jobtuner")]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stdout.split()) == set()
