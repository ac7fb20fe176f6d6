"""Every error that JobTuner raises on purpose.

JobTunerError
├── ConfigError       a recipe, an override or a command-line value is wrong        exit code 2
├── DataError         the input cannot be read, or too little of it is usable       exit code 3
│   └── TaxonomyError the taxonomy cannot be read, or a label is not in it          exit code 3
├── ContractError     a stage's input folder is missing, half-written or altered    exit code 4
├── ModelError        a model cannot be built, or a setting did not take effect     exit code 5
├── StorageError      a URI cannot be read or written; the disk is full             exit code 6
├── TrackingError     the tracking server refused or is not reachable               exit code 7
├── DeployError       an endpoint did not start or answered wrongly                 exit code 8
└── Interrupted       SIGTERM or SIGINT ended a step that can be taken up again     exit code 143 or 130

A message names what came, what is accepted, and the next step.
"""

__all__ = [
    "ConfigError",
    "ContractError",
    "DataError",
    "DeployError",
    "Interrupted",
    "JobTunerError",
    "ModelError",
    "StorageError",
    "TaxonomyError",
    "TrackingError",
]


class JobTunerError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code = 1


class ConfigError(JobTunerError):
    """A recipe, an override or a command-line value is wrong; the message lists every mistake at once."""

    exit_code = 2


class DataError(JobTunerError):
    """The input cannot be read, or too few of its rows are usable."""

    exit_code = 3


class TaxonomyError(DataError):
    """The taxonomy cannot be read, or a label is not in it."""


class ContractError(JobTunerError):
    """A stage's input folder is missing, half-written, altered or of another kind."""

    exit_code = 4


class ModelError(JobTunerError):
    """A model cannot be built or loaded, or a setting did not take effect in it."""

    exit_code = 5


class StorageError(JobTunerError):
    """A location cannot be read or written."""

    exit_code = 6


class TrackingError(JobTunerError):
    """The experiment tracker refused a call or is not reachable."""

    exit_code = 7


class DeployError(JobTunerError):
    """An endpoint did not start, or answered wrongly."""

    exit_code = 8


class Interrupted(JobTunerError, SystemExit):  # noqa: N818 it is no error
    """A signal ended a step after it had saved what it needs to go on.

    A `SystemExit` too: where nobody catches it, the process ends with the code that shells and Kubernetes expect.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = self.code = 128 + signum
