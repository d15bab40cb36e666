#!/usr/bin/env bash
# Run bin/weir up, as root if it is to run a Kubernetes node of its own: the
# namespaces of a node need that. With --kubeconfig or --node=false it does not.
set -euo pipefail
cd "$(dirname "$0")/../.."
needs_root=1
for arg in "$@"; do
  case $arg in
    --kubeconfig | --kubeconfig=* | --node=false | --help | -h) needs_root= ;;
  esac
done
[[ -z ${WEIR_KUBECONFIG:-} ]] || needs_root=
if [[ -n $needs_root && $(uname -s) == Linux ]] && ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "up: a Kubernetes node needs root, and there is no sudo: run make up as root, or name your own cluster: make up ARGS=\"--kubeconfig …\"" >&2
    exit 3
  }
  # sudo hands the terminal's Ctrl-C on by itself. WEIR_* settings go along.
  exec sudo --preserve-env="$(compgen -e WEIR_ | paste -sd, -)" bin/weir up "$@"
fi
exec bin/weir up "$@"
