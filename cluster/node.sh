#!/usr/bin/env bash
# One machine of a cluster: `node.sh install`, then `node.sh head` or `node.sh worker HEAD_ADDRESS`. Every configuration
# for `ray up` of this project runs this script and no other, on rented machines and on one's own; Kubernetes does not.
#
#   SWEEP_VENV         where the virtual environment is (default ~/transfer-sweep-venv)
#   SWEEP_INSTALL      0: the environment is provided, only its versions are checked (default 1)
#   SWEEP_PYTHON       Python's version, or the path of an interpreter to make the environment with
#   SWEEP_PYTHON_VERSION  Python's version where SWEEP_PYTHON is a path (default: any)
#   SWEEP_RAY          the Ray version that every machine must have
#   SWEEP_EXTRAS       extras of the project to install, such as `aws`
#   SWEEP_PIP          further arguments of pip install, such as --index-url or --find-links of a wheel folder
#   SWEEP_AUTOSCALER   version of Ray's autoscaler on the head: 2, or 1 for machines of one's own
#   SWEEP_CPUS         processors to offer to gangs (default: all of a worker; a head offers none)
#   SWEEP_SPOT         aws or gcp: a worker drains its node when that cloud tells that it takes the machine back
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${SWEEP_VENV:-$HOME/transfer-sweep-venv}
token=$HOME/.ray/auth_token

install() {
  if [ "${SWEEP_INSTALL:-1}" = 1 ]; then
    if [ ! -x "$venv/bin/python" ]; then
      case ${SWEEP_PYTHON:?must be a version or the path of an interpreter} in
        */*) "$SWEEP_PYTHON" -m venv "$venv" ;;
        *)  # uv brings exactly the version asked for, whatever the image has; it knows none that is newer than itself
          export PATH=$HOME/.local/bin:$PATH
          command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/0.9.5/install.sh | sh  # this version and no other
          uv venv --seed --python "$SWEEP_PYTHON" "$venv" ;;
      esac
    fi
    # pip takes seconds where everything is there, so a changed checkout needs no new machine.
    # shellcheck disable=SC2086  # SWEEP_PIP is several words
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${SWEEP_PIP:-} \
      --editable "$here${SWEEP_EXTRAS:+[$SWEEP_EXTRAS]}" ${SWEEP_RAY:+"ray==$SWEEP_RAY"}
  fi
  check
}

# Ray refuses a machine of another version with a stack trace, minutes later; this says it at once.
check() {
  if [ ! -x "$venv/bin/ray" ]; then
    echo "node.sh: $venv must be an environment with Ray, got none; set SWEEP_VENV, or let SWEEP_INSTALL=1 make it" >&2
    exit 1
  fi
  local python ray wanted
  python=$("$venv/bin/python" -c 'import platform; print(platform.python_version())')
  ray=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("ray"))')
  case ${SWEEP_PYTHON:-} in */*) wanted=${SWEEP_PYTHON_VERSION:-} ;; *) wanted=${SWEEP_PYTHON:-} ;; esac
  if [ -n "$wanted" ] && [ "$python" != "$wanted" ]; then
    echo "node.sh: Python must be $wanted on every machine, got $python on $(hostname); remove $venv" >&2
    exit 1
  fi
  if [ -n "${SWEEP_RAY:-}" ] && [ "$ray" != "$SWEEP_RAY" ]; then
    echo "node.sh: Ray must be $SWEEP_RAY on every machine, got $ray on $(hostname); remove $venv" >&2
    exit 1
  fi
  if [ ! -s "$token" ]; then
    echo "node.sh: $token must hold the cluster's token, got none; run \`ray get-auth-token --generate\` before \`ray up\`" >&2
    exit 1
  fi
}

prepare() {
  check
  chmod 600 "$token"
  # Ray's launcher exports OMP_NUM_THREADS=1, which would hold every gang to one thread.
  unset OMP_NUM_THREADS
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token
  export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
  export PATH=$venv/bin:$PATH
  export RAY_enable_autoscaler_v2=$((${SWEEP_AUTOSCALER:-2} - 1))
  # Three servers of metrics would listen on every interface, without a token: of every machine, of the dashboard and
  # of the autoscaler. Nothing here reads them.
  export RAY_enable_metrics_collection=0 DASHBOARD_METRIC_PORT=-1 AUTOSCALER_METRIC_PORT=-1
  # Trials and gangs are more processes than processors on purpose.
  export RAY_worker_maximum_startup_concurrency=16
  ulimit -n 65536 2>/dev/null || true
  ray stop >/dev/null 2>&1 || true  # whatever Ray this user has running here
}

# Beside Ray for as long as the machine is there: nothing of Ray asks a cloud whether it takes the machine back.
watch_notice() {
  if [ -n "${SWEEP_SPOT:-}" ]; then
    setsid nohup flock --nonblock "$HOME/.transfer-sweep-notice" python -m sweep.notice "$SWEEP_SPOT" "$1:6379" \
      >>"$HOME/transfer-sweep-notice.log" 2>&1 </dev/null &
  fi
}

case ${1:-} in
  install) install ;;
  head)
    prepare
    # The head trains nothing: it must outlive every worker. The dashboard answers on the loopback interface alone.
    ray start --head --port=6379 --num-cpus="${SWEEP_CPUS:-0}" --num-gpus=0 --dashboard-host=127.0.0.1 \
      --autoscaling-config="$HOME/ray_bootstrap_config.yaml" --disable-usage-stats
    # Ray starts a server for its own client on every interface and has no option against it; jobs need none.
    for process in $(pgrep -u "$(id -u)" -f '[r]ay\.util\.client\.server .*--port=10001'); do kill "$process" || true; done ;;
  worker)
    prepare
    ray start --address="${2:?the head address}:6379" ${SWEEP_CPUS:+--num-cpus="$SWEEP_CPUS"} --disable-usage-stats
    watch_notice "$2" ;;
  *) sed -n '2,14p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
