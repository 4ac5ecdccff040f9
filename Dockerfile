# `ser serve` on a CPU. It needs a model (for example an exported folder) and a port:
#   docker build -t ser .
#   docker run --rm -p 8000:8000 -v "$PWD/exported:/model:ro" -e SER_TOKEN=... ser
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements requirements
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
# pip reads this variable. With PyTorch's index of CPU wheels the image is a tenth of the size:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... -t ser .
ARG PIP_EXTRA_INDEX_URL
RUN python -m venv /opt/ser \
    && /opt/ser/bin/pip install --no-cache-dir \
        -c requirements/run.lock -c requirements/dev.lock '.[serve]'

FROM python:3.13-slim
COPY --from=build /opt/ser /opt/ser
RUN useradd --create-home --uid 10001 ser
USER 10001
ENV PATH=/opt/ser/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["ser", "serve", "--host", "0.0.0.0"]
CMD ["--ckpt", "/model"]
