#!/usr/bin/env bash
#SBATCH --job-name=alphazero
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=12:00:00
#
# A run on nodes of Slurm, which form a cluster for as long as it takes.
#
#   sbatch slurm.sh connect_four [OPTION | KEY=VALUE ...]
#   sbatch --nodes=16 --time=24:00:00 --export=ALL,LIMIT=23h slurm.sh go_9x9
#
# Submit it from the environment in which the program is installed, on a file system that all nodes
# share; once before, make the token: RAY_AUTH_MODE=token ray get-auth-token --generate. The run is
# in RUN_DIR, by default runs/NAME_OF_THE_JOB in the current folder. If it is there already, it is
# continued, so that the same command goes on after the job's time is over.
#
# `ray symmetric-run` starts Ray on each node, runs the training on the first one, and ends Ray with
# `ray stop`: other clusters of Ray that are yours would end on these nodes, too.
set -euo pipefail

config=${1:?usage: sbatch slurm.sh CONFIG [OPTION | KEY=VALUE ...]}
run=${RUN_DIR:-$PWD/runs/$SLURM_JOB_NAME}
# The training ends by itself, with a checkpoint, before Slurm ends it.
limit=${LIMIT:-11h}

export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
export RAY_task_events_report_interval_ms=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds until all nodes have to be there

resume=()
if [[ -e $run/config.yaml ]]; then
    resume=(--resume)
fi
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$first:6379

srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" -- \
    alphazero train "$config" --ray "$address" --run-dir "$run" --time-limit "$limit" \
    ${resume[@]+"${resume[@]}"} "${@:2}"
