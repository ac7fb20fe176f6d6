"""One of the processes that train together: `python -m jobtuner.train.rank JOB`, started by `launch`."""

import json
import os
import sys
from pathlib import Path

from jobtuner.config import Config
from jobtuner.errors import JobTunerError
from jobtuner.train.group import joined
from jobtuner.train.launch import PARENT_VARIABLE, die_with, record_failure
from jobtuner.train.resume import FailedElsewhereError
from jobtuner.train.stage import fine_tune_in

__all__ = ["main"]


def main(job: Path, parent: int) -> None:
    """Train; an error with a message is left beside the job."""
    die_with(parent)
    document = json.loads(job.read_text(encoding="utf-8"))
    rank = int(os.environ["RANK"])
    try:
        with joined() as group:
            fine_tune_in(Config.load(Path(document["config"])), Path(document["prepare"]), Path(document["out"]), group)
    except JobTunerError as error:
        record_failure(job, rank, error)
        raise SystemExit(error.exit_code) from error
    except FailedElsewhereError as error:
        raise SystemExit(1) from error


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(os.environ.get(PARENT_VARIABLE) or os.getppid()))
