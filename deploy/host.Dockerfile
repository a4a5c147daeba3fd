# Roboflow Inference with the Vision Event block. deploy/README.md says how to build and run it.
#
# What is tested: tests/release_check.py runs COPY, RUN and ENV below as they stand, in a virtual
# environment with Inference from the package index, and Inference then finds the block. What is not:
# no image is built, and the official images were read (their Dockerfiles), not run.

# Or the image for a GPU or a Jetson, which deploy/README.md names; all of them have `python3`.
ARG IMAGE=roboflow/roboflow-inference-server-cpu:latest
FROM ${IMAGE}

# The block and pip, each as a wheel: not every image has pip, and pip runs from its wheel. With
# --no-index nothing but the block is installed, and what the image came with stays as it is. If an old
# image lacks something that the block needs, the build ends here and names it; without --no-index
# pip fetches it.
COPY *.whl /tmp/wheels/
RUN set -- /tmp/wheels/pip-*.whl \
    && python3 "$1/pip" install --no-index --break-system-packages /tmp/wheels/vision_event_block-*.whl \
    && rm -r /tmp/wheels

ENV WORKFLOWS_PLUGINS=vision_event_block \
    VISION_EVENT_OUTBOX=/outbox
VOLUME /outbox
