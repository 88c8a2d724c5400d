#!/usr/bin/env bash
# A run with a game of your own, which Ray sends to every machine of a cluster.
#
#   job.sh FOLDER RUN_DIR GAME_OR_CONFIG [OPTION | KEY=VALUE ...]
#   job.sh my_games /data/runs/first my_game:MyGame --time-limit 8h
#
# FOLDER (at most 100 MiB) has my_game.py in it, and a configuration if you name one. RUN_DIR is a
# full path on the cluster's first machine, where the training runs, or the URL of a storage; what
# is written into FOLDER's copy there is lost. The call shows the run's output until it ends;
# `ray job stop ID` ends the run with a checkpoint.
#
# RAY_API_SERVER_ADDRESS: the dashboard of the first machine, by default http://127.0.0.1:8265,
# which is right on that machine. From elsewhere: ssh -L 8265:127.0.0.1:8265 FIRST_MACHINE.
# The token is needed here, too. Needs the extra `cluster` on all machines.
set -euo pipefail

if (($# < 3)); then
    echo "usage: $0 FOLDER RUN_DIR GAME_OR_CONFIG [OPTION | KEY=VALUE ...]" >&2
    exit 2
fi
folder=$1 run=$2
export RAY_AUTH_MODE=token
export RAY_API_SERVER_ADDRESS=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}

# In a job `--ray auto` is the cluster that runs it.
exec ray job submit --working-dir "$folder" -- \
    alphazero train "${@:3}" --ray auto --run-dir "$run"
