# One image for every role; the command says which: docker run orbitrack worker
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY streams streams
COPY ext ext
COPY schemas schemas
RUN python3 -m venv /opt/orbitrack && /opt/orbitrack/bin/pip install --no-cache-dir .

FROM python:3.12-slim
COPY --from=build /opt/orbitrack /opt/orbitrack
RUN useradd --system --create-home --home-dir /var/lib/orbitrack orbitrack
ENV PATH=/opt/orbitrack/bin:$PATH PYTHONUNBUFFERED=1 ORBITRACK__DATA_DIR=/var/lib/orbitrack
USER orbitrack
WORKDIR /var/lib/orbitrack
ENTRYPOINT ["orbitrack"]
CMD ["--help"]
