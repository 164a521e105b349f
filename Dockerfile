# One image for every role; the command says which: docker run orbitrack worker
#
# The base may be any with Python 3.11 or newer under the name python3, its headers and its venv module.

FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY streams streams
COPY ext ext
COPY schemas schemas
# pip stays here: what runs needs none. Without debug symbols the core is a third of its size.
RUN python3 -m venv /opt/pip \
 && python3 -m venv --without-pip /opt/orbitrack \
 && CFLAGS=-g0 /opt/pip/bin/pip --python /opt/orbitrack/bin/python install --no-cache-dir . \
 && rm -rf /opt/orbitrack/lib/python3.*/site-packages/pyarrow/tests /opt/orbitrack/lib/python3.*/site-packages/pyarrow/include

FROM python:3.12-slim
COPY --from=build /opt/orbitrack /opt/orbitrack
RUN useradd --system --create-home --home-dir /var/lib/orbitrack orbitrack
ENV PATH=/opt/orbitrack/bin:$PATH PYTHONUNBUFFERED=1 ORBITRACK__DATA_DIR=/var/lib/orbitrack
USER orbitrack
WORKDIR /var/lib/orbitrack
ENTRYPOINT ["orbitrack"]
CMD ["--help"]
