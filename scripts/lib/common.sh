# Shared by demo and test: how they speak, where they work, and how they leave nothing behind.
# Sourced, after `root` is set to the folder of the checkout.

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n== %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# What was started, newest first: each is asked to stop and waited for, by its id, when the script ends for any reason.
started=()
work=

# A folder of our own. Others may look into it (PostgreSQL runs as another person when we are root), not list it.
make_work() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/safe-boundary.XXXXXX")
  chmod 711 "$work"
  trap leave EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# started_as PID SIGNAL
started_as() { started=("$1 $2" ${started[@]+"${started[@]}"}); }

leave() {
  local status=$? one
  trap '' INT TERM
  for one in ${started[@]+"${started[@]}"}; do
    kill -s "${one#* }" "${one% *}" 2>/dev/null || true
    wait "${one% *}" 2>/dev/null || true
  done
  started=()
  [ -z "$work" ] || rm -rf "$work"
  exit "$status"
}

free_port() {
  node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

# wait_for WHAT PID COMMAND…: until the command succeeds; gives up when the process has ended or after a minute.
wait_for() {
  local what=$1 pid=$2 tries=0
  shift 2
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || { say "$what ended before it was ready"; return 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { say "$what was not ready after a minute"; return 1; }
    sleep 0.1
  done
}
