# Serves and trains on the CPU, as a user without rights:
#
#     docker build -t burnish .
#     docker run --user "$(id -u)" -e HOME=/tmp -v "$PWD":/data burnish train rows.jsonl
#
# For x86, torch comes with CUDA's libraries unless `--build-arg PIP_EXTRA_INDEX_URL=...` names the index of its CPU wheels.
FROM python:3.12-slim AS build
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY burnish burnish
RUN python -m venv /opt/burnish && /opt/burnish/bin/pip install --no-cache-dir -c constraints.txt ".[serve]"

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 burnish && install -d -o burnish -g burnish /data
COPY --from=build /opt/burnish /opt/burnish
ENV PATH=/opt/burnish/bin:$PATH
USER burnish
WORKDIR /data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["burnish"]
CMD ["serve", "seedling", "--host", "0.0.0.0", "--jobs", "jobs"]
