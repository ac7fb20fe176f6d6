"""Serving on a cluster by KServe and vLLM: what is served where, and what a new model must prove first."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from jobtuner.config.section import Count, Section, Share

__all__ = ["INSIDE", "KServeConfig"]

_DNS_LABEL = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
"""As Kubernetes has it, but 40 characters at most: KServe appends "-canary-predictor" and more."""


INSIDE = "http://{name}.{namespace}.svc.cluster.local:8080"
"""Where pods reach a service: vLLM listens on 8080."""


class KServeConfig(Section):
    """One InferenceService that serves the champion, and a canary beside it while a new model proves itself."""

    namespace: Annotated[str, Field(pattern=_DNS_LABEL)] = "jobtuner-serving"
    name: Annotated[str, Field(pattern=_DNS_LABEL)] = "jobtuner-llm"
    """Name of the InferenceService; its canary is <name>-canary."""
    models: str = "s3://jobtuner-models/models"
    """Exports are uploaded below this location, each into a folder named after its fingerprint."""
    profile: Literal["gpu", "l4", "a100", "h100", "cpu-tiny"] = "gpu"
    """Node choice and vLLM's sizes, as in manifests/features; gpu: whichever GPU node there is, sized for an L4."""
    max_replicas: Count = 1
    """More than 1: KServe leaves the number to an autoscaler (manifests/features/autoscaling-keda), and pods are
    replaced one by one, for which there must be one node to spare."""
    fp8: bool = False
    """Quantise the weights to FP8 while they are loaded (L4, H100). The evaluation has judged them as they were
    exported."""
    weights: Literal["merged", "adapter"] = "merged"
    """merged: the export's merged weights, which the parity check has judged. adapter: the LoRA adapter on `base`."""
    base: str = "s3://jobtuner-models/base/qwen2.5-7b-instruct"
    """Base weights under the adapter; used with `weights` adapter alone."""
    canary: bool = True
    """Prove a new model beside the old one before it takes its place: one more node for as long. False: replace, prove,
    and go back where it fails."""
    min_served_agreement: Share = 0.95
    """Share of the export's parity prompts on which the served model must answer as the exported one did: another
    engine rounds otherwise, and an adapter is served on a base that was not quantised."""
    min_agreement: Share = 0.5
    """Share of the same prompts on which canary and champion must name the same code. It is a guard against a broken
    model, not a judgement of a better one: two models that are each right on 80 % of the ads, with independent errors,
    agree on 64 %."""
    ready_seconds: Annotated[float, Field(gt=0.0)] = 1500.0
    """A model must be ready within so many seconds: a node 3 min, its image 5, the startup probe's 15, 2 to spare."""
    poll_seconds: Annotated[float, Field(gt=0.0)] = 5.0
    """Seconds between two looks at the cluster."""
    gateway: str | None = "jobtuner/jobtuner-gateway"
    """Namespace and name of the gateway's Deployment, which follows the model: its pods ask the canary before they ask
    the new model in its place, so that users notice no change. None: nothing follows."""
    users_seconds: Annotated[float, Field(ge=0.0, le=600.0)] = 120.0
    """Seconds that each new pod of the gateway answers users by the canary before the next one is replaced: of 2 pods
    the first new one has a third of the users for so long. Failures stop it. Used with `gateway` and `canary` alone."""
    url: str = INSIDE
    """Where this process reaches the services; {name} and {namespace} are filled in. Change it to deploy from outside
    the cluster."""

    @field_validator("models", "base")
    @classmethod
    def _in_an_object_store(cls, value: str) -> str:
        if not value.startswith("s3://") or not value.removeprefix("s3://").partition("/")[2].strip("/"):
            raise ValueError(f"'{value}' is no location that the cluster can read; accepted: s3://bucket/key")
        return value.rstrip("/")

    @field_validator("gateway")
    @classmethod
    def _names_a_deployment(cls, value: str | None) -> str | None:
        if value is not None and (value.count("/") != 1 or not all(value.split("/"))):
            raise ValueError(f"'{value}' is no Deployment; accepted: namespace/name, or null where nothing follows")
        return value

    @field_validator("url")
    @classmethod
    def _names_the_service(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or "{name}" not in value:
            raise ValueError(
                f"'{value}' must start with http:// or https:// and hold {{name}}: canary and champion differ"
            )
        return value

    @model_validator(mode="after")
    def _fp8_needs_a_gpu_that_has_it(self) -> Self:
        if self.fp8 and self.profile in {"a100", "cpu-tiny"}:
            raise ValueError(f"fp8 is for L4 and H100, which compute in FP8; the profile is {self.profile}")
        return self
