FROM python:3.12-slim

# Another index to take torch from; https://download.pytorch.org/whl/cpu makes a small image without CUDA.
ARG TORCH_INDEX=

RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY sampoll /src/sampoll
# Extras of sampoll, such as openvino, which makes it faster on a CPU.
ARG EXTRAS=
RUN pip install --no-cache-dir "/src${EXTRAS:+[${EXTRAS}]}" && rm -r /src

# Works as any user (-u): nothing is written outside the mounted directories.
ENV HOME=/tmp PYTHONUNBUFFERED=1
RUN useradd --system --no-create-home sampoll
USER sampoll
WORKDIR /tmp

CMD ["bash"]
