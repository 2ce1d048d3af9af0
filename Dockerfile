# One image for api, worker, relay, renderer and migrations (target `payonce`); the sandbox acquirer's is `acquirer`.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.txt requirements-receipts.txt requirements-build.txt ./
# With what draws receipts, and the fonts for them: nothing is installed at run time.
RUN python -m venv /opt/payonce \
    && /opt/payonce/bin/python -m pip install --require-hashes -r requirements.txt \
    && /opt/payonce/bin/python -m pip install --require-hashes -r requirements-receipts.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md ./
COPY payonce ./payonce
COPY activities ./activities
COPY workflows ./workflows
COPY workers ./workers
COPY api ./api
# The connector registry reads entry points, so the code is installed rather than put on PYTHONPATH.
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/payonce/bin/python -m pip install --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim AS payonce
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin payonce
COPY --from=build /opt/payonce /opt/payonce
ENV PATH=/opt/payonce/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER payonce
EXPOSE 8080
CMD ["python", "-m", "api"]

FROM payonce AS acquirer
USER root
COPY devstack/__init__.py /app/devstack/__init__.py
COPY devstack/acquirer /app/devstack/acquirer
RUN install -d -o payonce /data
USER payonce
EXPOSE 9090
CMD ["python", "-m", "devstack.acquirer", "--host", "0.0.0.0", "--port", "9090", "--data", "/data/ledger.sqlite"]

FROM payonce
