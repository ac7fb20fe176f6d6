"""Small stand-ins for the programs that scripts call."""

from pathlib import Path


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
