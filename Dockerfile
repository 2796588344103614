# The runtime is Python's slim image, with the wheels of requirements.lock: librdkafka comes inside confluent-kafka's.
# For Amazon MSK with IAM: docker build --build-arg LOCK=requirements-msk-iam.lock .
# For KEDA's external scaler: docker build --build-arg LOCK=requirements-keda.lock .
ARG PYTHON=3.13.7

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/mq-lag-exporter
ARG LOCK=requirements.lock
COPY ${LOCK} ./
RUN /opt/mq-lag-exporter/bin/pip install --no-deps --require-hashes --only-binary :all: -r ${LOCK}
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN pip install build==1.3.0 && python -m build --wheel --outdir /dist \
 && /opt/mq-lag-exporter/bin/pip install --no-deps /dist/*.whl \
 && /opt/mq-lag-exporter/bin/pip uninstall -y pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="mq-lag-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/mq-lag-exporter /opt/mq-lag-exporter
RUN useradd --system --uid 10001 --no-create-home exporter
USER 10001
ENV PATH=/opt/mq-lag-exporter/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 9877 9878
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s \
  CMD ["mq-lag-exporter", "health"]
ENTRYPOINT ["mq-lag-exporter"]
CMD ["run", "--config", "/etc/mq-lag-exporter/config.yaml"]
