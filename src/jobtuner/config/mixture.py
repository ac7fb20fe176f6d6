"""Other prepared sets that are learnt beside the recipe's own."""

from typing import Annotated, Literal

from pydantic import Field

from jobtuner.config.section import Section

__all__ = ["MixedData"]


class MixedData(Section):
    """One such set. Its name, the key in `training.mixture`, is that of its measurements: validation_<name>_loss."""

    prepare: str
    """Output folder of the stage prepare: a path, file:///path or s3://bucket/key."""
    task: Literal["occupation", "skills", "cover_letter", "instruct"]
    """The task that it was prepared for."""
    weight: Annotated[float, Field(gt=0.0)]
    """Its rows an epoch for each row of the recipe's own, which all come once: 0.5, half as many. Each epoch goes on
    where the one before stopped, so that none comes twice before all have come."""
