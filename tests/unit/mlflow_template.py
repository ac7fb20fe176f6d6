"""Fresh MLflow databases for tests: the tables are built once a test session, then the file is copied."""

import shutil
from pathlib import Path

from jobtuner.tracking_mlflow import client


def fresh_tracker(folder: Path) -> str:
    """URI of an empty SQLite tracker in the folder, a test's `tmp_path`."""
    template = folder.parent / "mlflow-template" / "mlflow.db"
    if not template.exists():
        client(f"sqlite:///{template}")
    shutil.copy(template, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"
