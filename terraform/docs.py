"""README.md of every module, from its own .tf files: python terraform/docs.py [--check]."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks", "main", "readme"]

MODULES = Path(__file__).parent / "modules"
_BLOCK = re.compile(
    r'^(variable|output|resource|data|ephemeral) "(\w+)"(?: "(\w+)")? \{\n(.*?)^\}', re.MULTILINE | re.DOTALL
)
# `terraform fmt` indents arguments by two blanks, so what follows one and is indented deeper belongs to it.
_ARGUMENT = re.compile(r"^ {2}(\w+) += (.*(?:\n(?: {3,}|  [\]})]).*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A top-level block: its kind, its labels, and the text of its arguments by name."""

    kind: str
    name: str
    label: str | None
    arguments: dict[str, str]


def blocks(text: str) -> list[Block]:
    """The variables, outputs, resources and data sources of formatted Terraform code, in their order."""
    return [Block(kind, name, label, dict(_ARGUMENT.findall(body))) for kind, name, label, body in _BLOCK.findall(text)]


def readme(module: Path) -> str:
    """What the README of a module must say.

    Raises:
        ValueError: the module has no comment at the top of main.tf that could introduce it.
    """
    found = [block for path in sorted(module.glob("*.tf")) for block in blocks(path.read_text())]
    resources = sorted({block.name for block in found if block.kind in {"resource", "ephemeral"}})
    parts = [f"# {module.name}", _summary(module)]
    if resources:
        parts.append("Makes: " + ", ".join(f"`{name}`" for name in resources) + ".")
    variables = [block for block in found if block.kind == "variable"]
    if variables:
        parts += ["## Inputs", _table(("name", "type", "default", "what it is"), [_input(item) for item in variables])]
    outputs = [(f"`{block.name}`", _text(block)) for block in found if block.kind == "output"]
    parts += ["## Outputs", _table(("name", "what it is"), outputs)]
    parts.append("Written by `python terraform/docs.py` from the module's files: change those.")
    return "\n\n".join(parts) + "\n"


def _summary(module: Path) -> str:
    lines = []
    for line in (module / "main.tf").read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    if not lines:
        raise ValueError(f"{module / 'main.tf'} begins with no comment; write one that says what the module is.")
    # An indented line is one of a table that the comment draws.
    return "\n".join(f"- {line.strip()}" if line.startswith("  ") else line for line in lines)


def _input(block: Block) -> tuple[str, ...]:
    default = block.arguments.get("default")
    return (
        f"`{block.name}`",
        _code(block.arguments.get("type", "any")),
        "**required**" if default is None else _code(default),
        _text(block),
    )


def _text(block: Block) -> str:
    return block.arguments.get("description", '""').strip('"').replace('\\"', '"').replace("|", "\\|")


def _code(expression: str) -> str:
    return "`" + re.sub(r"\s+", " ", expression).replace("|", "\\|") + "`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ("---",) * len(head), *rows])


def main(arguments: list[str] | None = None) -> int:
    """Write the READMEs, or with --check name those that are out of date; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a README is out of date")
    options = parser.parse_args(arguments)
    stale = 0
    for module in sorted(path.parent for path in MODULES.glob("*/main.tf")):
        path, text = module / "README.md", readme(module)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if options.check:
            print(f"{path} is out of date; run: python terraform/docs.py", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote {path}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
