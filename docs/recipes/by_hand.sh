#!/usr/bin/env bash
# A cluster by hand, of machines that have the same version of this program.
#
#   by_hand.sh token                once, on the first machine; then copy ~/.ray/auth_token to the
#                                   same place on each other one, readable by its owner only
#   by_hand.sh head                 on the first machine
#   by_hand.sh join FIRST_MACHINE   on each other one
#
# Further words go to `ray start`: `--num-cpus 0` for a first machine that does not play,
# `--node-ip-address ADDRESS` on a machine with several networks. End each machine with `ray stop`,
# which ends every Ray of this user on it.
#
# Between the machines the ports 6379 to 6384 and 10002 to 10999 must be open, and to no other
# machines.
set -euo pipefail

export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
export RAY_task_events_report_interval_ms=0 # without it gcs_server grows by 9 MB per minute

port=6379
ports=(
    --node-manager-port 6380 --object-manager-port 6381 --runtime-env-agent-port 6382
    --dashboard-agent-grpc-port 6383 --metrics-export-port 6384
    --min-worker-port 10002 --max-worker-port 10999
)

needs_token() {
    if [[ -z ${RAY_AUTH_TOKEN:-} && ! -s ${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token} ]]; then
        echo "no token: run \`$0 token\` on the first machine and copy ~/.ray/auth_token" >&2
        exit 2
    fi
}

case "${1:-} $#" in
"token 1")
    umask 077
    file=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
    if [[ -s $file ]]; then
        echo "the token is in $file since before; for another one remove that file first"
        exit
    fi
    ray get-auth-token --generate >/dev/null
    echo "a new token is in $file"
    ;;
"head "*)
    needs_token
    exec ray start --head --port "$port" "${ports[@]}" "${@:2}"
    ;;
"join "[2-9]* | "join "1[0-9]*)
    needs_token
    exec ray start --address "${2%:*}:$port" "${ports[@]}" "${@:3}"
    ;;
*)
    echo "usage: $0 token | head [OPTION ...] | join FIRST_MACHINE [OPTION ...]" >&2
    exit 2
    ;;
esac
