# syntax=docker/dockerfile:1
ARG PYTHON_VERSION=3.12
ARG DEBIAN=bookworm

FROM python:${PYTHON_VERSION}-slim-${DEBIAN} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN python -m venv /opt/sampoll
ENV PATH=/opt/sampoll/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1

# cuda or cpu. A cuda image runs on a CPU too, and is several times as large.
ARG DEVICE=cuda
# torch in another version, or built for another CUDA: an index such as https://download.pytorch.org/whl/cu126
ARG TORCH_VERSION=
ARG TORCH_INDEX=
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$DEVICE" in \
        cpu) index="${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" ;; \
        cuda) index="$TORCH_INDEX" ;; \
        *) echo "DEVICE must be cpu or cuda, got $DEVICE" >&2; exit 1 ;; \
    esac; \
    pip install ${index:+--index-url "$index"} "torch${TORCH_VERSION:+==$TORCH_VERSION}" torchvision

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY sampoll sampoll
COPY configs configs
# Extras of sampoll, such as embedded; openvino makes a CPU nearly twice as fast, so a cpu image has it.
ARG EXTRAS=
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$DEVICE" = cpu ]; then extras="openvino${EXTRAS:+,$EXTRAS}"; else extras="$EXTRAS"; fi; \
    pip install ".${extras:+[$extras]}"

FROM python:${PYTHON_VERSION}-slim-${DEBIAN}
COPY --from=build /opt/sampoll /opt/sampoll

# Weights and converted models are kept in /cache: mount a volume there. Any user may write to it.
RUN useradd --system --uid 999 --no-create-home --home-dir /tmp sampoll && install --directory --mode=1777 /cache
# HOME, because users by number (-u) have none; USER, because some libraries want to know a name. Logs are for the
# people who call `docker run`; programs that collect logs are given -e SAMPOLL_LOG_FORMAT=json.
ENV PATH=/opt/sampoll/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp USER=sampoll SAMPOLL_HOME=/cache SAMPOLL_LOG_FORMAT=text \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 999
WORKDIR /tmp

# Well, or no service at all, as in a shell: 3 says that.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s \
    CMD ["sh", "-c", "sampoll status || [ $? -eq 3 ]"]
STOPSIGNAL SIGTERM
# No entry point: the command is the whole command line.
CMD ["bash"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sampoll" \
      org.opencontainers.image.description="Images and prompts in, Segment Anything masks and OPEX out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
