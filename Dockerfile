# The service in a container, on the processor; docs/docker.md says how to build it for a GPU.

FROM python:3.11-slim-bookworm AS build

# Where torch comes from: PyTorch's own index of CPU builds. https://pypi.org/simple brings CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY requirements.txt ./
# torch first and by itself; what is there already is not installed again. No pip goes along.
RUN python -m venv --without-pip /opt/venv \
    && grep '^torch==' requirements.txt > /tmp/torch.txt \
    && pip --python /opt/venv/bin/python install --index-url "$TORCH_INDEX" -r /tmp/torch.txt \
    && pip --python /opt/venv/bin/python install -r requirements.txt

COPY . .
RUN pip --python /opt/venv/bin/python install --no-deps --editable . \
    && /opt/venv/bin/python -m compileall -q .


FROM python:3.11-slim-bookworm

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=5000 \
    DATA_DIR=/data

# /recordings is for those who share recordings between containers (STORAGE_URL).
RUN groupadd --system --gid 10001 syncnet \
    && useradd --system --uid 10001 --gid syncnet --no-create-home --home-dir /nonexistent syncnet \
    && install -d -o syncnet -g syncnet -m 0700 /data /recordings

WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

USER 10001:10001

# An image whose programs cannot be loaded, or whose weights are not the registered ones, is not made.
RUN python -c "import app, cli, syncnet_wrapper, workflows" \
    && python -m cli models verify

VOLUME ["/data"]
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "docker/health.py"]
CMD ["gunicorn", "app:app", "-c", "gunicorn_config.py"]
