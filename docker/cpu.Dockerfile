# JobTuner on CPUs: prepare, baseline, evaluate, register, export, deploy, the gateway, and any other `jobtuner` command.
#   make images          (docker, podman or buildah)
# checkov:skip=CKV_DOCKER_7:The tag, or the digest, is in BASE_IMAGE; versions.env has it and a test compares the two.
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

# Everything is installed into one virtual environment, which alone moves on: compilers, caches and pip stay behind.
FROM ${BASE_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Without TORCH_INDEX_URL pip takes its default index, whose Linux build holds CUDA's libraries: it works, and is larger by gigabytes.
ARG TORCH_VERSION=2.13.0
ARG TORCH_INDEX_URL=""
ENV PATH=/opt/jobtuner/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/main.lock ./
# setuptools and wheel first: one distribution of the lock (kfp-server-api) comes as source. A private index: --secret id=pip,src=pip.conf
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/jobtuner && \
    awk '/^[^ ]/ {keep = /^(setuptools|wheel)==/} keep' main.lock > build.lock && \
    pip install --no-cache-dir --only-binary :all: --require-hashes --no-deps --requirement build.lock && \
    env ${TORCH_INDEX_URL:+"PIP_INDEX_URL=$TORCH_INDEX_URL"} \
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
LABEL org.opencontainers.image.title="jobtuner/python-cpu" \
      org.opencontainers.image.description="Pipeline tasks and gateway of JobTuner, on CPUs" \
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
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
# For the default command, outside Kubernetes (which has probes of its own): does the model answer?
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ready', timeout=4)"]
CMD ["jobtuner", "serve", "--model", "/model/current", "--host", "0.0.0.0", "--port", "8080"]
