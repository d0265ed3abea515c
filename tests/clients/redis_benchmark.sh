#!/usr/bin/env bash
# redis-benchmark --cluster: runs that follow each other. Each is one operation; one that ended with a failure, or that
# did not print its figures, is an error. README.md says what it is told and what it answers.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/protocol.sh"

scratch=$(mktemp -d)
worker=
trap 'kill $worker 2>/dev/null; rm -rf "$scratch"' EXIT
REQUESTS=1000
# It tries for ever to reach a node that has died.
LIMIT_S=6

benchmark() {
  timeout "$LIMIT_S" redis-benchmark --cluster -p "$port" -c 8 -n "$REQUESTS" -r 10000 --csv "$@"
}

# Says how it ended, other than well.
ended() {
  [ "$1" = 124 ] && echo "did not end within $LIMIT_S s"
  grep -vi '^"\|^$\|master' "$scratch/out" | tail -n 2
}

# tested NAMES...: runs these tests, and sees that each printed a rate.
tested() {
  local name
  benchmark -t "$(IFS=,; echo "$*")" >"$scratch/out" 2>&1 || { ended "$?"; return 0; }
  for name in "$@"; do
    grep -Eiq "^\"$name[^\"]*\",\"[0-9.]+\"" "$scratch/out" || { echo "no figures of $name"; tail -n 3 "$scratch/out"; }
  done
  grep -i 'error\|could not' "$scratch/out"
  return 0
}

check_one_by_one() {
  tested PING_INLINE SET GET INCR
}

check_pipelined() {
  benchmark -P 16 -t set,get >"$scratch/out" 2>&1 || ended "$?"
  grep -c '^"[SG]ET"' "$scratch/out" | grep -qx 2 || cat "$scratch/out"
}

check_threads() {
  benchmark --threads 2 -t set >"$scratch/out" 2>&1 || ended "$?"
  grep -q '^"SET"' "$scratch/out" || cat "$scratch/out"
}

check_several_keys() {
  benchmark mset '{tag}:__rand_int__' 1 '{tag}:b' 2 >"$scratch/out" 2>&1 || ended "$?"
  grep -q '^"mset' "$scratch/out" || cat "$scratch/out"
}

work() {
  local operations=0 problem
  : >"$scratch/errors"
  while [ ! -e "$scratch/stop" ]; do
    problem=$(tested SET GET)
    if [ -n "$problem" ]; then
      echo "${problem//$'\n'/ }" | sed 's/127.0.0.1:[0-9]*/NODE/g' >>"$scratch/errors"
    else
      operations=$((operations + 1))
    fi
    echo "$operations" >"$scratch/operations"
    sleep 0.5
  done
}

load() {
  rm -f "$scratch"/{stop,operations}
  work </dev/null >/dev/null &
  worker=$!
  while [ ! -s "$scratch/operations" ]; do sleep 0.05; done
  echo '{}'
}

end() {
  touch "$scratch/stop"
  wait "$worker"
  local count line answer=
  while read -r count line; do
    answer+=${answer:+, }"$(quoted "${line:0:300}"): $count"
  done < <(sort "$scratch/errors" | uniq -c)
  echo "{\"operations\": $(<"$scratch/operations"), \"errors\": {$answer}}"
}

while read -r order phase; do
  case $order in
    plain) plain $((8 * REQUESTS)) </dev/null ;;
    load) load "$phase" ;;
    end) end ;;
    # It keeps no account of what it writes.
    verify) echo '{}' ;;
  esac
done
