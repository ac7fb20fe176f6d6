"""The rules that keep the layers apart, as functions from a parsed module to what is wrong with it."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["HEAVY", "RULES", "Module", "Rule", "modules", "rule_names"]

ROOT = Path(__file__).parents[2]
STAGES = {"prepare", "baseline", "train", "evaluate", "register", "export", "deploy"}
ROOMS = STAGES | {"serve", "monitor"}
"""Packages of `jobtuner` that know nothing of each other."""
DOORS = {"cli", "stages"}
"""Where the rooms meet: the command line, and the list of stages."""
HEAVY = {
    *(
        "accelerate",
        "bitsandbytes",
        "datasets",
        "fastapi",
        "kfp",
        "kubernetes",
        "matplotlib",
        "mlflow",
        "pandas",
        "peft",
    ),
    *("pyarrow", "scipy", "sklearn", "torch", "transformers", "trl", "uvicorn"),
}
"""Libraries whose import takes a noticeable part of a second, or that only some commands need."""
PICKLING = {"cloudpickle", "dill", "joblib", "pickle", "shelve"}


@dataclass(frozen=True)
class Module:
    """A parsed source file under its dotted name."""

    name: str
    tree: ast.Module

    @classmethod
    def parse(cls, name: str, source: str) -> "Module":
        return cls(name, ast.parse(source))

    @property
    def room(self) -> str:
        """First part below `jobtuner`: "train" of jobtuner.train.stage; "" elsewhere."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "jobtuner" and len(parts) > 1 else ""


def modules(*packages: str) -> list[Module]:
    """All modules of the named top-level packages (of all three when none is named)."""
    folders = {"jobtuner": ROOT / "src", "components": ROOT, "pipelines": ROOT}
    found = []
    for package in packages or folders:
        for path in sorted((folders[package] / package).rglob("*.py")):
            parts = path.relative_to(folders[package]).with_suffix("").parts
            found.append(_parsed(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)))
    return found


@cache
def _parsed(path: Path, name: str) -> Module:
    """A file is parsed once for all rules: they only read it."""
    return Module.parse(name, path.read_text(encoding="utf-8"))


def _imports(nodes: Iterator[ast.AST], module: str) -> Iterator[str]:
    """Dotted names that the nodes import; "from a import b" gives a and a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _all_imports(module: Module) -> set[str]:
    return set(_imports(ast.walk(module.tree), module.name))


def _executed_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: those of functions do not, nor those for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _executed_at_import(node.body)
            yield from _executed_at_import(node.orelse)
        elif isinstance(node, ast.Try):
            for block in (node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)):
                yield from _executed_at_import(block)
        elif isinstance(node, ast.ClassDef | ast.With | ast.For | ast.While):
            yield from _executed_at_import(node.body)


def _top(name: str) -> str:
    return name.partition(".")[0]


def library_knows_no_pipeline(module: Module) -> list[str]:
    """`jobtuner` never imports kfp, components or pipelines."""
    if _top(module.name) != "jobtuner":
        return []
    return sorted(
        name for name in _all_imports(module) if _top(name) in {"kfp", "kfp_server_api", "components", "pipelines"}
    )


def kubernetes_only_in_deploy(module: Module) -> list[str]:
    """Of `jobtuner`, only deploy/ imports kubernetes."""
    if _top(module.name) != "jobtuner" or module.room == "deploy":
        return []
    return sorted(name for name in _all_imports(module) if _top(name) == "kubernetes")


def rooms_stay_apart(module: Module) -> list[str]:
    """A room imports no other room; a shared module imports none."""
    if _top(module.name) != "jobtuner" or module.room in DOORS:
        return []
    wrong = set()
    for name in _all_imports(module):
        parts = name.split(".")
        if parts[0] == "jobtuner" and len(parts) > 1 and parts[1] in ROOMS - {module.room}:
            wrong.add(f"jobtuner.{parts[1]}")
    return sorted(wrong)


def heavy_imports_inside_functions(module: Module) -> list[str]:
    """What is heavy is imported where it is used."""
    if _top(module.name) != "jobtuner":
        return []
    return sorted(
        {name for name in _imports(_executed_at_import(module.tree.body), module.name) if _top(name) in HEAVY}
    )


def nothing_pickled(module: Module) -> list[str]:
    """No pickle in any form, and no code from a model's repository."""
    wrong = [name for name in _all_imports(module) if _top(name) in PICKLING]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            unsafe = {"trust_remote_code": True, "allow_pickle": True, "weights_only": False}
            if node.arg in unsafe and node.value.value is unsafe[node.arg]:
                wrong.append(f"{node.arg}={node.value.value}")
    return sorted(set(wrong))


def all_is_what_is_public(module: Module) -> list[str]:
    """`__all__` names exactly the functions, classes and values without a leading underscore."""
    public, exported = set(), None
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            public.add(node.name)
        for target in _targets(node):
            if target == "__all__":
                exported = set(ast.literal_eval(node.value))  # type: ignore[attr-defined]  # an assignment
            else:
                public.add(target)
    public = {name for name in public if not name.startswith("_")}
    if exported is None:
        return ["no __all__"] if public else []
    imported = {
        alias.asname or alias.name
        for node in module.tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    missing = [f"not in __all__: {name}" for name in sorted(public - exported)]
    return missing + [
        f"in __all__ alone: {name}" for name in sorted(exported - public - imported) if not name.startswith("__")
    ]


def _targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def component_is_one_import_and_one_call(module: Module) -> list[str]:
    """A component's body is a docstring, one import from `jobtuner` and one call, with eight parameters at most.

    The call's value may be returned, for a pipeline to branch or loop on.
    """
    wrong = []
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef) or "dsl.component" not in map(_decorator, node.decorator_list):
            continue
        shape = [type(item).__name__ for item in node.body]
        calls = [item.value for item in node.body if isinstance(item, ast.Expr | ast.Return)]
        imports = [item for item in node.body if isinstance(item, ast.ImportFrom)]
        if (
            shape[:2] != ["Expr", "ImportFrom"]
            or shape[2:] not in (["Expr"], ["Return"])
            or not isinstance(calls[-1], ast.Call)
        ):
            wrong.append(f"{node.name}: its body is {shape}")
        elif _top(imports[0].module or "") != "jobtuner" or len(imports[0].names) != 1:
            wrong.append(f"{node.name}: {ast.unparse(imports[0])}")
        if len(node.args.args) + len(node.args.kwonlyargs) > 8:
            wrong.append(f"{node.name}: more than eight parameters")
    return wrong


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


Rule = Callable[[Module], list[str]]
RULES: list[Rule] = [
    library_knows_no_pipeline,
    kubernetes_only_in_deploy,
    rooms_stay_apart,
    heavy_imports_inside_functions,
    nothing_pickled,
    all_is_what_is_public,
    component_is_one_import_and_one_call,
]


def rule_names(rule: Rule) -> str:
    """A rule's name, for the names of tests."""
    return rule.__name__
