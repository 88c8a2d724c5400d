#!/usr/bin/env bash
# A run on one machine with one GPU, without Ray: a search process per core but two, one process that
# evaluates for all of them on the GPU, and the training, on the same GPU.
#
#   one_gpu.sh CONFIG RUN_DIR [OPTION | KEY=VALUE ...]
#   one_gpu.sh connect_four_large runs/large --time-limit 8h
#
# First it is measured what the GPU evaluates per second, and what self-play reaches of that.
# MEASURE=0 leaves this out. A run that exists is continued.
set -euo pipefail

config=${1:?usage: one_gpu.sh CONFIG RUN_DIR [OPTION | KEY=VALUE ...]}
run=${2:?usage: one_gpu.sh CONFIG RUN_DIR [OPTION | KEY=VALUE ...]}

if ! nvidia-smi --query-gpu=name,memory.total --format=csv,noheader; then
    echo "no GPU: nvidia-smi fails; in a container, is it started with --gpus all?" >&2
    exit 2
fi
if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "this torch does not see the GPU: install one for CUDA, see docs/install.md" >&2
    exit 2
fi

if [[ ${MEASURE:-1} != 0 ]]; then
    alphazero bench inference "config=$config" batch=1024
    alphazero bench selfplay "config=$config" selfplay.processes=auto seconds=20
fi

resume=()
if [[ -e $run/config.yaml ]]; then
    resume=(--resume)
fi
exec alphazero train "$config" selfplay.processes=auto --ray off --run-dir "$run" \
    ${resume[@]+"${resume[@]}"} "${@:3}"
