FROM python:3.12-slim

# Where torch comes from; https://download.pytorch.org/whl/cpu makes a small image without CUDA.
ARG TORCH_INDEX=https://pypi.org/simple

RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY sampoll /src/sampoll
RUN pip install --no-cache-dir /src && rm -r /src

# Works as any user (-u): nothing is written outside the mounted directories.
ENV HOME=/tmp PYTHONUNBUFFERED=1
RUN useradd --system --no-create-home sampoll
USER sampoll
WORKDIR /tmp

CMD ["bash"]
