# docker build --tag alphazero .
# docker run --interactive --tty --rm alphazero play connect_four
FROM python:3.12-slim

# PyTorch for CPUs. For NVIDIA GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

COPY . /tmp/source
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
        --constraint /tmp/source/constraints.txt '/tmp/source[openvino,serve]' \
    && rm -r /tmp/source

# Runs and the cache of compiled code go to the user's home.
RUN useradd --create-home --uid 1000 player \
    && install --directory --owner player /home/player/runs
USER player
WORKDIR /home/player
ENTRYPOINT ["alphazero"]
CMD ["--help"]
