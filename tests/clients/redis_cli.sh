#!/usr/bin/env bash
# redis-cli -c, one process a command, which goes to one of the first three nodes by turns; as a person would, it tries
# the next one when it cannot connect. README.md says what it is told and what it answers.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/protocol.sh"

scratch=$(mktemp -d)
worker=
trap 'kill $worker 2>/dev/null; rm -rf "$scratch"' EXIT

cli() {
  redis-cli -c -p "$port" "$@"
}

check_strings() {
  local number
  for number in {1..20}; do
    expect "$(cli set "redis-cli:plain:$number" "value $number")" OK
    expect "$(cli get "redis-cli:plain:$number")" "value $number"
  done
  expect "$(cli del redis-cli:plain:1)" 1
  expect "$(cli get redis-cli:plain:1)" ""
}

check_counters() {
  expect "$(cli incr redis-cli:plain:counter)" 1
  expect "$(cli incrby redis-cli:plain:counter 41)" 42
}

check_expiry() {
  cli set redis-cli:plain:mortal x >/dev/null
  expect "$(cli expire redis-cli:plain:mortal 100)" 1
  local ttl
  ttl=$(cli ttl redis-cli:plain:mortal)
  [ "$ttl" -ge 98 ] && [ "$ttl" -le 100 ] || echo "it lives $ttl s"
}

check_several_keys() {
  expect "$(cli mset '{redis-cli}:a' 1 '{redis-cli}:b' 2)" OK
  expect "$(cli mget '{redis-cli}:a' '{redis-cli}:b')" $'1\n2'
}

check_cross_slot() {
  local seen
  seen=$(cli mget redis-cli:plain:a redis-cli:plain:b)
  expect "${seen%% *}" CROSSSLOT
}

# Commands from a file go over one connection, which follows each redirect.
check_pipelines() {
  local number
  for number in {1..200}; do echo "set redis-cli:plain:pipe:$number $number"; done >"$scratch/commands"
  for number in {1..200}; do echo "get redis-cli:plain:pipe:$number"; done >>"$scratch/commands"
  { yes OK | head -n 200; seq 200; } >"$scratch/wanted"
  cli <"$scratch/commands" | grep -v '^-> Redirected' >"$scratch/seen"
  cmp "$scratch/wanted" "$scratch/seen"
}

check_binary() {
  head -c 100000 /dev/urandom >"$scratch/value"
  expect "$(cli -x set redis-cli:plain:binary <"$scratch/value")" OK
  # It ends what it prints with a newline.
  cli get redis-cli:plain:binary | head -c -1 | cmp - "$scratch/value"
}

# After the pipeline, which wrote the keys (checks run in order of their names). `--scan` asks one node for what it masters.
check_scan() {
  local address
  for address in "${addresses[@]}"; do
    redis-cli -p "${address##*:}" --scan --pattern 'redis-cli:plain:pipe:*'
  done | sort -u >"$scratch/found"
  expect "$(wc -l <"$scratch/found")" 200
}

# Writes until the file `stop` is there. Errors go to `errors`, keys of acknowledged writes to `acknowledged`.
work() {
  local prefix=$1 number=0 turn=0 last now key seen
  local operations=0 gap_us=0
  last=$(now_us)
  while [ ! -e "$scratch/stop" ]; do
    number=$((number + 1))
    key=$prefix:$number
    port=${addresses[turn]##*:}
    if seen=$(cli set "$key" "value of $key" 2>&1) && [ "$seen" = OK ]; then
      echo "$key" >>"$scratch/acknowledged"
      operations=$((operations + 1))
      echo "$operations" >"$scratch/operations"
      if ! seen=$(cli get "$key" 2>&1) || [[ $seen == *"Could not connect"* ]]; then
        echo "${seen/$port/PORT}" >>"$scratch/errors"
        turn=$(((turn + 1) % ${#addresses[@]}))
        continue
      fi
      [ "$seen" = "value of $key" ] || echo "$key: $seen" >>"$scratch/wrong"
      operations=$((operations + 1))
      now=$(now_us)
      gap_us=$((now - last > gap_us ? now - last : gap_us))
      last=$now
    else
      echo "$seen" >>"$scratch/errors"
    fi
    turn=$(((turn + 1) % ${#addresses[@]}))
  done
  now=$(now_us)
  gap_us=$((now - last > gap_us ? now - last : gap_us))
  echo "$operations" >"$scratch/operations"
  echo $((gap_us / 1000)) >"$scratch/gap_ms"
}

# The lines of a file, equal ones counted, as JSON's object.
counted() {
  local count line answer=
  while read -r count line; do
    answer+=${answer:+, }"$(quoted "$line"): $count"
  done < <(sort "$1" 2>/dev/null | uniq -c)
  echo "{$answer}"
}

# The first lines of a file as JSON's array.
listed() {
  local line answer=
  while read -r line; do
    answer+=${answer:+, }$(quoted "$line")
  done < <(head -n 10 "$1" 2>/dev/null)
  echo "[$answer]"
}

load() {
  rm -f "$scratch"/{stop,operations,errors,wrong,gap_ms}
  work "redis-cli:$1" </dev/null >/dev/null &
  worker=$!
  while [ ! -s "$scratch/operations" ]; do sleep 0.05; done
  echo '{}'
}

end() {
  touch "$scratch/stop"
  wait "$worker"
  echo "{\"operations\": $(<"$scratch/operations"), \"errors\": $(counted "$scratch/errors")," \
    "\"wrong\": $(listed "$scratch/wrong"), \"gap_ms\": $(<"$scratch/gap_ms")}"
}

verify() {
  port=${addresses[0]##*:}
  sed 's/^/get /' "$scratch/acknowledged" | cli | grep -v '^-> Redirected' >"$scratch/seen"
  sed 's/^/value of /' "$scratch/acknowledged" | diff - "$scratch/seen" | grep '^[<>]' >"$scratch/lost"
  echo "{\"operations\": $(wc -l <"$scratch/acknowledged"), \"lost\": $(listed "$scratch/lost")}"
}

while read -r order phase; do
  case $order in
    plain) plain 470 </dev/null ;;
    load) load "$phase" ;;
    end) end ;;
    verify) verify ;;
  esac
done
