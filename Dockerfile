# syntax=docker/dockerfile:1
# Two stages: the first has compilers and builds a wheel and an environment; the second has Python, two shared libraries and
# that environment. Runs as a user without rights, keeps everything in one volume.

FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      gcc libc6-dev libopus-dev libssl-dev pkg-config python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/mediaserver
WORKDIR /src
# Dependencies first: they change seldom, so their layer is kept while the code changes.
COPY pyproject.toml constraints.txt ./
RUN python3 -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; x = p["optional-dependencies"]; print("\n".join(p["dependencies"] + x["postgresql"] + x["s3"]))' > /tmp/wanted \
 && /opt/mediaserver/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -r /tmp/wanted
COPY . .
RUN /opt/mediaserver/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt --no-deps . \
 && /opt/mediaserver/bin/pip uninstall -y pip setuptools \
 && find /opt/mediaserver -type d -name tests -prune -exec rm -rf {} +

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libopus0 libssl3 python3-minimal libpython3-stdlib ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 900 --home-dir /var/lib/mediaserver --shell /usr/sbin/nologin mediaserver \
 && install -d -o mediaserver -g mediaserver -m 0700 /var/lib/mediaserver
COPY --from=build /opt/mediaserver /opt/mediaserver
ENV PATH=/opt/mediaserver/bin:$PATH \
    MEDIASERVER_CONFIG=/var/lib/mediaserver/mediaserver.toml \
    PYTHONDONTWRITEBYTECODE=1
USER mediaserver
WORKDIR /var/lib/mediaserver
VOLUME /var/lib/mediaserver
EXPOSE 5060/udp 5060/tcp 5061/tcp 8443/tcp 8444/udp 8444/tcp 20000-29999/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
# The first start writes configuration, certificate and demo users into the volume, later ones find them there.
CMD ["sh", "-c", "test -e \"$MEDIASERVER_CONFIG\" || mediaserver init --config \"$MEDIASERVER_CONFIG\"; exec mediaserver run --welcome"]
