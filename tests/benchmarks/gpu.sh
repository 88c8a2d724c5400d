#!/usr/bin/env bash
# Measures everything that a GPU decides, within ten minutes, and prints one table in Markdown:
#
#     tests/benchmarks/gpu.sh [--on cpu]
#
# The network alone at three batch sizes with two lanes and with one, slots in shared memory against
# calls of Ray, self-play with its share of what the network alone does, and the learner's step.
# Without a GPU it says so and ends. --on cpu runs the same commands with tiny settings on a CPU: the
# figures mean nothing, but it shows that the commands work. PYTHON names the interpreter.
set -u
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
case "$*" in
"")
    device=cuda networks="5x64 10x128" sizes="1024 2048 4096" callers=14 seconds=6 limit=90
    games=1024 batch=256 learner_batch=1024
    if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        echo "no CUDA device here: nothing was measured"
        exit 0
    fi
    ;;
"--on cpu")
    device=cpu networks="1x8" sizes="16" callers=2 seconds=0.4 limit=600
    games=8 batch=8 learner_batch=16
    ;;
*)
    echo "usage: $0 [--on cpu]" >&2
    exit 2
    ;;
esac

log=$(mktemp)
failures=0
pick='
import json, sys
figures = json.load(sys.stdin)
for name in sys.argv[1].split("/"):
    figures = figures[int(name) if name.isdigit() else name]
print(f"{figures:,.0f}" if abs(figures) >= 100 else f"{figures:.3g}")
'

# measure FIGURE... -- ARGUMENT...: a row per figure of one run of `alphazero bench ARGUMENT...`
measure() {
    local figures=() output value
    while [ "$1" != -- ]; do
        figures+=("$1")
        shift
    done
    shift
    output=$(timeout "$limit" "$python" -m alphazero bench "$@" --json - 2>"$log") ||
        echo "exit status $?" >>"$log"
    for figure in "${figures[@]}"; do
        if ! value=$("$python" -c "$pick" "$figure" <<<"$output" 2>/dev/null); then
            value="failed: $(tail -n 1 "$log" | tr '|' ' ')"
            failures=$((failures + 1))
        fi
        echo "| \`bench $*\` | ${figure//_/ } | $value |"
    done
}

echo "| command | figure | value |"
echo "|---|---|---|"
for network in $networks; do
    shape=("network.blocks=${network%x*}" "network.channels=${network#*x}")
    for lanes in 2 1; do # a thread keeps one lane at work
        for size in $sizes; do
            measure evaluations_per_second fraction_of_matmul/torch_bfloat16 -- inference \
                "inference.device=$device" "inference.batch_size=$size" "batch=$size" \
                "threads=$lanes" "seconds=$seconds" "${shape[@]}"
        done
    done
done
measure ratio ways/0/requests_per_second ways/1/requests_per_second -- transport \
    "callers=$callers" "batch=$batch" "seconds=$seconds"
for network in $networks; do
    shape=("network.blocks=${network%x*}" "network.channels=${network#*x}")
    measure evaluations_per_second fraction_of_ceiling mean_batch -- selfplay \
        "inference.device=$device" "selfplay.processes=$callers" "games=$games" threads=2 \
        "seconds=$seconds" ray=off "${shape[@]}"
done
for network in $networks; do
    shape=("network.blocks=${network%x*}" "network.channels=${network#*x}")
    measure samples_per_second -- train "training.device=$device" "batch=$learner_batch" \
        threads=2 "seconds=$seconds" "${shape[@]}"
done
rm -f "$log"
exit $((failures > 0))
