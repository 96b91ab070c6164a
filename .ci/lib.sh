# Shared by the scripts beside it; sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# free_port prints a TCP port of 127.0.0.1 on which nobody listens. It lies below the range from which the kernel
# takes the ports of outgoing connections, so that none of these can be in the way a moment later.
free_port() {
  local p i
  for ((i = 0; i < 200; i++)); do
    p=$((15000 + (RANDOM * 32768 + RANDOM) % 17000))
    case " ${taken_ports:-} " in *" $p "*) continue ;; esac
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
      echo "$p"
      return 0
    fi
  done
  die "no free port found"
}

# alive PID: is the process there, and not only waiting to be reaped?
alive() {
  local state
  [ -n "${1:-}" ] && state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$state" ] && [ "$state" != Z ]
}

# end PID [SECONDS]: asks the process to stop, and kills it when it has not done so in time.
end() {
  local pid=$1 n=$((${2:-20} * 10))
  kill "$pid" 2>/dev/null || return 0
  while alive "$pid"; do
    if ((n-- <= 0)); then
      say "process $pid did not stop in time and is killed"
      kill -KILL "$pid" 2>/dev/null || true
      sleep 0.2
      return 0
    fi
    sleep 0.1
  done
}

# modules prints the folders of the modules, from the one place where they are named.
modules() { (cd "$root" && go list -m -f '{{.Dir}}'); }

# The module that is not in the workspace, since one client that it compares us with needs cgo.
# shellcheck disable=SC2034 # for the scripts that source this
outside=$root/internal/bench
