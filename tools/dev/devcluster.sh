#!/usr/bin/env bash
# Build bin/devcluster and show that something happens: the first time, all of
# Kubernetes is compiled.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "building bin/devcluster"
seconds=$SECONDS
make -C tools/devcluster build &
build=$!
trap 'kill "$build" 2>/dev/null || true' INT TERM
# make's child is waited for with a heartbeat, for people and for CI systems
# that end what is silent for long.
while kill -0 "$build" 2>/dev/null; do
  if ((SECONDS - seconds >= 60)); then
    seconds=$SECONDS
    echo "  still building Kubernetes after $((SECONDS / 60)) min (about ten minutes on two cores the first time)"
  fi
  sleep 1
done
wait "$build"
