#!/usr/bin/env bash
# sudo.sh program [argument…]: run a test binary as root, with what it needs of
# this environment. `go test -exec` calls it in the package's directory.
set -euo pipefail
command -v sudo >/dev/null || {
  echo "these tests run a Kubernetes node, which needs root, and there is no sudo: run make test as root" >&2
  exit 1
}
if ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
  echo "these tests run a Kubernetes node, which needs root, and sudo asks for a password: run sudo -v first, or make test as root" >&2
  exit 1
fi
exec sudo --preserve-env="PATH,CI,$(compgen -e WEIR_ | paste -sd, -)" "$@"
