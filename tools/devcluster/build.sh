#!/usr/bin/env bash
# build.sh DIR: build the dev cluster's binaries into DIR and show how far it
# is: on a terminal in one line, elsewhere in a line every 15 seconds. make sets
# the flags.
set -euo pipefail
cd "$(dirname "$0")"
bin=${1:?usage: make build BIN=DIR}
: "${LDFLAGS:?call it through make build}"

total=$(go list -deps -f '{{if .Stale}}x{{end}}' ./cmd/devcluster ./cmd/devcluster-pause | grep -c x || true)
began=$SECONDS

# progress counts the packages that go build -v names as it compiles them, and
# passes on whatever else it says.
progress() {
  local done=0 shown=$SECONDS line
  while IFS= read -r line; do
    if [[ $line =~ ^[A-Za-z0-9_.~/-]+$ ]]; then
      done=$((done + 1))
    else
      printf '%s\n' "$line"
    fi
    if [[ -t 2 ]]; then
      printf '\r  compiled %d of %d packages, %d s ' "$done" "$total" $((SECONDS - began)) >&2
    elif ((SECONDS - shown >= 15)); then
      shown=$SECONDS
      printf '  compiled %d of %d packages, %d s\n' "$done" "$total" $((SECONDS - began)) >&2
    fi
  done
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}

# A file is replaced as a whole: what runs keeps running, and a start never
# meets half a file.
build() { # build NAME LDFLAGS
  go build -v -ldflags "$2" -o "$bin/.$1.new" "./cmd/$1" 2>&1 | progress
  mv "$bin/.$1.new" "$bin/$1"
}
build devcluster-pause "-s -w"
build devcluster "$LDFLAGS"
printf '  %s: Kubernetes in %d s\n' "$bin/devcluster" $((SECONDS - began)) >&2
