# The local Vision Events server alone. deploy/README.md says how to build and run it.
#
# What is tested: tests/release_check.py runs COPY, RUN and ENV below as they stand, in a fresh virtual
# environment in place of the image, then ENTRYPOINT with CMD, and the health check against it. What
# is not: no image is built, since the machine that tests has no container engine.

ARG IMAGE=python:3.12-slim
FROM ${IMAGE}

COPY vision_event_block-*.whl /tmp/wheels/
# The wheel is of one version; its own lower bounds say what it needs.
# hadolint ignore=DL3013
RUN set -- /tmp/wheels/vision_event_block-*.whl \
    && pip install --no-cache-dir "$1[server,s3]" \
    && rm -r /tmp/wheels \
    && install -d -m 0700 -o 10001 -g 10001 /data

# Every command without an option keeps its data in /data/vision-events.
ENV PYTHONUNBUFFERED=1 XDG_DATA_HOME=/data
VOLUME /data
USER 10001:10001
EXPOSE 9100
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 9100, timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["vision-events"]
CMD ["serve", "--host", "0.0.0.0"]
