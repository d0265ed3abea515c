# What the scripts of Redis' own tools have in common: orders in, answers out. To be sourced.
# README.md says what a script is told and what it answers.

IFS=, read -ra addresses <<<"$1"
port=${addresses[0]##*:}

# JSON's string of a text.
quoted() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/ }
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

# Microseconds, of a clock that may be set.
now_us() {
  echo "${EPOCHREALTIME/[.,]/}"
}

# Runs each function that is named check_... and answers `plain`; each prints what is wrong, or nothing.
plain() {
  local check problem answer=
  for check in $(compgen -A function check_); do
    problem=$("$check" 2>&1) || problem+="$check ended with $?"
    local name=${check#check_}
    answer+=${answer:+, }"$(quoted "${name//_/ }"): $(quoted "$problem")"
  done
  echo "{\"operations\": $1, \"checks\": {$answer}}"
}

# expect SEEN WANTED
expect() {
  [ "$1" = "$2" ] || echo "'${1:0:200}' instead of '${2:0:200}'"
}
