# syntax=docker/dockerfile:1
# The service and the batch jobs in one image, as Ray needs the same code on every node.
#   docker build --target cpu  -t recsys:cpu .
#   docker build --target cuda -t recsys:cuda .
#   docker run -p 8000:8000 -v shop:/workspace recsys:cpu              # serves /workspace; keys: recsys keys create
#   docker run -v shop:/workspace recsys:cpu nightly                   # any other command of recsys
# constraints.txt pins every library; pin the base image by digest in your own registry: --build-arg PYTHON=…@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS source
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
# Libraries before code: a change of code alone installs nothing again.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; e = p['optional-dependencies']; \
    print(*p['dependencies'], *(r for x in ('postgres', 's3', 'tracing') for r in e.get(x, ())), sep='\n')" > requirements.txt

FROM source AS wheel
COPY recsys recsys
COPY features features
COPY jobs jobs
COPY serving serving
# The history of the repository, from which the version follows, is not here: --build-arg VERSION=1.2.3
ARG VERSION=
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_RECSYS="${VERSION}" pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON} AS builder
WORKDIR /build
# implicit comes as source where there is no wheel for this Python.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
COPY constraints.txt ./
COPY --from=source /source/requirements.txt ./

FROM builder AS libraries-cpu
# Of one version pip prefers the build that is called +cpu; the usual one brings 3 GB of CUDA along.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --prefix=/libraries --constraint constraints.txt --requirement requirements.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu

FROM builder AS libraries-cuda
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --prefix=/libraries --constraint constraints.txt --requirement requirements.txt

FROM ${PYTHON} AS runtime
# libgomp1: lightgbm and implicit; wget: KubeRay's probes.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 wget && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home recsys \
    && install --directory --owner=recsys --group=recsys /workspace /var/cache/recsys
ENV PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RECSYS_WORKSPACE=/workspace
WORKDIR /home/recsys
EXPOSE 8000
# What the default command below does; the night ends by itself and has no health to ask for (--no-healthcheck).
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["recsys"]
CMD ["serve", "--host", "0.0.0.0"]

FROM runtime AS cuda
COPY --from=libraries-cuda /libraries /usr/local
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001

FROM runtime AS cpu
COPY --from=libraries-cpu /libraries /usr/local
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001
