# JobTuner with CUDA: QLoRA fine-tuning, and evaluation and export on a GPU. The base is the same slim Python: torch's CUDA build brings
# CUDA's libraries as wheels, and the driver comes from the node.
#   make images          (docker, podman or buildah)
# checkov:skip=CKV_DOCKER_7:The tag, or the digest, is in BASE_IMAGE; versions.env has it and a test compares the two.
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

# Everything is installed into one virtual environment, which alone moves on: compilers, caches and pip stay behind.
FROM ${BASE_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TORCH_VERSION=2.13.0
ENV PATH=/opt/jobtuner/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/main.lock ./
# setuptools and wheel first: one distribution of the lock (kfp-server-api) comes as source. A private index: --secret id=pip,src=pip.conf
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/jobtuner && \
    awk '/^[^ ]/ {keep = /^(setuptools|wheel)==/} keep' main.lock > build.lock && \
    pip install --no-cache-dir --only-binary :all: --require-hashes --no-deps --requirement build.lock && \
    pip install --no-cache-dir --only-binary :all: "torch==${TORCH_VERSION}" && \
    pip install --no-cache-dir --no-build-isolation --require-hashes --no-deps --requirement main.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY components components
COPY pipelines pipelines
COPY docker/unneeded.py ./
RUN pip install --no-cache-dir --no-build-isolation --no-deps . && \
    python unneeded.py > unneeded.txt && \
    xargs --arg-file unneeded.txt /usr/local/bin/python -m pip --python /opt/jobtuner/bin/python uninstall --yes && \
    python -m compileall -q /opt/jobtuner/lib  # the root file system is read-only in the cluster

# `--target sbom --output DIR` writes sbom.cdx.json: CycloneDX, every distribution that is in the image.
FROM build AS inventory
ARG CYCLONEDX_VERSION=7.5.0
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /usr/local/bin/python -m venv /opt/cyclonedx && \
    /opt/cyclonedx/bin/pip install --no-cache-dir --only-binary :all: "cyclonedx-bom==${CYCLONEDX_VERSION}" && \
    /opt/cyclonedx/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.cdx.json /opt/jobtuner/bin/python

FROM scratch AS sbom
COPY --from=inventory /sbom.cdx.json /

FROM ${BASE_IMAGE} AS runtime
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="jobtuner/python-train" \
      org.opencontainers.image.description="QLoRA fine-tuning tasks of JobTuner, on NVIDIA GPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# The base's own pip goes too. KFP's launcher needs `sh` and `python3`, both are there. User 10001 has a name: torch asks for one.
RUN python -m pip uninstall --yes pip setuptools wheel && \
    groupadd --gid 10001 jobtuner && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin jobtuner
COPY --from=build /opt/jobtuner /opt/jobtuner
# Whatever is written goes below /tmp, the one place that a read-only container has.
ENV PATH=/opt/jobtuner/bin:$PATH \
    JOBTUNER_GIT_COMMIT=${REVISION} \
    HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    JOBTUNER_HOME=/tmp/outputs \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all
WORKDIR /tmp
USER 10001:10001
# Does the GPU still answer? (nvidia-smi is mounted by the container runtime, with the driver.)
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 CMD ["nvidia-smi", "-L"]
CMD ["jobtuner", "doctor"]
