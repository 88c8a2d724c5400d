# An image for KubeRay, whose probes need programs that the image of ../../Dockerfile leaves out:
#
#   docker build --tag REGISTRY/alphazero:1 --file docs/recipes/ray.Dockerfile .
#
# Ray and Python are those of the image: it must be the Ray of constraints.txt.
FROM rayproject/ray:2.60.0-py312

# PyTorch for CPUs. For NVIDIA GPUs: the image rayproject/ray:2.60.0-py312-gpu, and
# --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

COPY --chown=ray . /tmp/source
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
        --constraint /tmp/source/constraints.txt '/tmp/source[cluster,openvino,storage]' \
    && rm -r /tmp/source
