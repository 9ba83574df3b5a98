# syntax=docker/dockerfile:1
# The command with the embedded network, from the wheel of this checkout:
#
#   docker build -t datanode .
#   docker run --rm datanode                      # the main job, on a network inside the container
#   docker run --rm -v "$PWD:/work" datanode datanode plan ./my-model
#
# Identity and state lie in /home/datanode: mount a volume there to keep them.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
RUN pip install --no-cache-dir build
COPY . .
RUN SOURCE_DATE_EPOCH=0 python -m build --wheel --outdir /dist

FROM python:${PYTHON}-slim
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir "$(ls /dist/*.whl)[localnet]" \
    && useradd --create-home datanode \
    && mkdir /work && chown datanode /work
COPY --chmod=755 docs/examples/main-job.sh /usr/local/bin/main-job
USER datanode
WORKDIR /work
CMD ["main-job"]
