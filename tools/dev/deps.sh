#!/usr/bin/env bash
# deps.sh up|test|bench|screenshots|generate|java: see that this machine has what the target needs, and
# install what is missing from Debian's or Ubuntu's own packages. It stands
# beside the pinned Go tools since both answer what a developer's machine needs.
#
# It lists what is missing and asks at a terminal, unless YES=1; without a
# terminal it does not ask. Nothing it installs is left running: PostgreSQL's
# package makes no cluster of its own, and containerd's service stays off.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:?usage: deps.sh up|test|bench|screenshots|generate|java}
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

fail() { printf 'deps: %s\n' "$*" >&2; exit 1; }

# --- Go ---------------------------------------------------------------------
command -v go >/dev/null || fail "Go is missing: install Go $(awk '$1=="go"{print $2}' go.mod) or newer from https://go.dev/dl/ and put it in PATH"
if ! said=$(go list -m 2>&1); then
  case $said in
    *"requires go"* | *"invalid go version"* | *"unknown directive: toolchain"*)
      fail "$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || go version) is too old for this project, which needs Go $(awk '$1=="go"{print $2}' go.mod) or newer: install it from https://go.dev/dl/, or let Go fetch it with GOTOOLCHAIN=auto" ;;
    *) fail "the go command does not work here: $said" ;;
  esac
fi

# --- Room -------------------------------------------------------------------
# The first build compiles all of Kubernetes; later ones need little.
if [[ ! -x bin/devcluster ]]; then
  cache=$(go env GOCACHE)
  mkdir -p "$cache"
  room=$(df -Pm "$cache" | awk 'NR == 2 {print $4}')
  ((room >= 6144)) || fail "the first build needs 6 GB and there are $((room / 1024)) GB left at $cache: make room, or name a place with GOCACHE=/path/with/room make $target"
fi

# --- Programs and the packages they are in ------------------------------------
missing=() packages=()
need() { # need "what" package: note that it is missing
  missing+=("$1 (package $2)")
  [[ " ${packages[*]-} " == *" $2 "* ]] || packages+=("$2")
}
program() { command -v "$1" >/dev/null || need "$1" "$2"; }
postgres() {
  local dir
  command -v initdb >/dev/null && command -v postgres >/dev/null && return
  for dir in /usr/lib/postgresql/*/bin; do
    [[ -x $dir/initdb && -x $dir/postgres ]] && return
  done
  need "the PostgreSQL server" postgresql
}
cni() {
  local dir
  for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [[ -x $dir/ptp && -x $dir/host-local && -x $dir/loopback && -x $dir/portmap ]] && return
  done
  need "the CNI plugins" containernetworking-plugins
}

node_major() { node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p'; }
old_node() {
  fail "Node.js $(node --version) at $(command -v node) is too old for the console, which needs 18 or newer: install it from https://nodejs.org and put it in PATH, or leave the console out: make up CONSOLE=0"
}
nodejs() {
  local major
  program npm npm
  major=$(node_major)
  if [[ -z $major ]]; then need Node.js nodejs; elif ((major < 18)); then old_node; fi
}
# The examples in Java are compiled for 17, and jlink puts it into their images.
jdk() {
  local major
  major=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
  if [[ -z $major ]] || ! command -v jlink >/dev/null; then
    need "a JDK, 17 or newer" openjdk-17-jdk-headless
  elif ((major < 17)); then
    fail "the JDK at $(command -v javac) is version $major, and the examples in Java need 17 or newer: install one and put it in PATH"
  fi
  program mvn maven
}
# As the browser tests look for it.
browser() {
  local name
  if [[ -n ${CHROMIUM:-} ]]; then
    [[ -x $CHROMIUM ]] || fail "CHROMIUM names $CHROMIUM, which is no program: name Chromium's or Chrome's, or unset it"
    return
  fi
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then return; fi
  done
  need "Chromium, for the console's tests" chromium
}

# A cluster and a database of one's own make most of this needless:
# weir up --kubeconfig … --database-url …
postgres
if [[ $(uname -s) == Linux ]]; then
  program containerd containerd
  program runc runc
  program iptables iptables
  cni
fi
if [[ $target == test || ${CONSOLE:-1} != 0 ]]; then nodejs; fi
if [[ $target == test || $target == screenshots ]]; then browser; fi
if [[ $target == screenshots ]]; then
  # Without one, Chinese is drawn as boxes.
  [[ -n $(fc-list :lang=zh 2>/dev/null) ]] || need "a font with Chinese characters" fonts-noto-cjk
fi
if [[ $target == test || $target == bench ]]; then
  # The race detector is written in C.
  program gcc gcc
  [[ -e /usr/include/stdlib.h ]] || need "the C library's headers" libc6-dev
fi
if [[ $target == test || $target == java ]]; then jdk; fi
# One of the modes in which kube-proxy is tested.
if [[ $target == test && $(uname -s) == Linux ]]; then program nft nftables; fi
if [[ $target == generate ]]; then program protoc protobuf-compiler; fi
if [[ $target == test || $target == bench ]]; then
  [[ -e /usr/share/java/zookeeper.jar ]] || need "ZooKeeper, which applications leave and are compared with" zookeeper
  program java default-jre-headless
fi
if [[ $target == bench ]]; then
  program nginx nginx
  program caddy caddy
fi
((${#missing[@]})) || exit 0

# --- Say, ask, install ----------------------------------------------------------
echo "This machine lacks:"
printf '  %s\n' "${missing[@]}"
command -v apt-get >/dev/null || fail "install these with your system's package manager (this script knows Debian's and Ubuntu's only), then run make again"

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail "installing them needs root, and there is no sudo: run as root: apt-get install ${packages[*]}"
  as_root=(sudo)
  [[ -t 0 ]] || as_root=(sudo -n)
fi
if [[ ${YES:-} != 1 && -t 0 && -t 1 ]]; then
  read -r -p "Install them with ${as_root[*]+"${as_root[*]} "}apt-get? [Y/n] " answer
  [[ -z $answer || $answer == [yY]* ]] || fail "nothing was installed; to do it yourself: apt-get install ${packages[*]}"
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
has() { [[ " ${packages[*]} " == *" $1 "* ]]; }

# Undo what only has to hold while packages are unpacked, whatever happens.
undo=()
cleanup() { for f in "${undo[@]+"${undo[@]}"}"; do "${as_root[@]}" rm -f "$f"; done; }
trap cleanup EXIT
put() { # put mode path: write standard input there for now, unless it is there
  [[ -e $2 ]] && return
  "${as_root[@]}" install -D -m "$1" /dev/stdin "$2"
  undo+=("$2")
}

if has postgresql; then
  put 644 /etc/postgresql-common/createcluster.d/weir.conf <<<'create_main_cluster = false'
fi
# invoke-rc.d asks this before it starts the service of a new package.
# Should this script be killed before it can take it away, it refuses nothing.
put 755 /usr/sbin/policy-rc.d <<<$'#!/bin/sh\nif kill -0 '"$$"$' 2>/dev/null; then exit 101; fi'

log=$(mktemp)
undo+=("$log")
echo "installing ${packages[*]}"
install_all() { apt install --no-install-recommends "${packages[@]}" >"$log" 2>&1; }
if ! install_all; then
  # Most often the lists of packages are old, or were never fetched.
  echo "fetching the lists of packages first (apt-get update)"
  apt update >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get update failed (see above): is the network there?"; }
  install_all || { tail -n 20 "$log" >&2; fail "apt-get could not install ${packages[*]} (see above)"; }
fi
if has nodejs && (($(node_major) < 18)); then old_node; fi
for service in containerd nginx caddy; do # not at the next boot either
  if has "$service" && command -v systemctl >/dev/null && [[ -d /run/systemd/system ]]; then
    "${as_root[@]}" systemctl disable --quiet "$service.service" || true
  fi
done
echo "installed ${packages[*]}"
