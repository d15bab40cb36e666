#!/usr/bin/env bash
# test.sh [step…]: run the named steps, or all of them, and end with a table of
# where the time went. A failing step does not keep the others from running; its
# name stands in the table, and the exit status is 1.
set -uo pipefail
self=$(readlink -f "$0")
cd "$(dirname "$self")/../.."
# As the Makefile has it, which says why.
export GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
root=$PWD
lint=$root/bin/golangci-lint
# What the linter remembers names files of the checkout that it read; another
# checkout must not go by it.
export GOLANGCI_LINT_CACHE=$root/bin/.golangci-lint-cache
run=${RUN:+-run=$RUN}

# Packages of the dev cluster's module that do not import Kubernetes itself.
# Only these are vetted and linted: for the others every such pass would compile
# or load all of Kubernetes again.
light_devcluster() { make -s -C tools/devcluster packages | sed 's|^github.com/weirmesh/weir/tools/devcluster|.|'; }

# Packages of the main module whose tests start a cluster, and all others.
kube_packages() { packages | awk '$2 == "kube" {print $1}'; }
unit_packages() { packages | awk '$2 == "unit" {print $1}'; }
packages() {
  go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... | awk '
    $1 ~ /\/test\/(e2e|java)|\/internal\/deptest/ {next} # steps of their own
    {kind = "unit"; for (i = 2; i <= NF; i++) if ($i ~ /\/internal\/testkube$/) kind = "kube"; print $1, kind}'
}

step_format() {
  local files
  files=$(git -c safe.directory="$root" ls-files -z '*.go' | xargs -0 gofmt -l)
  [[ -n $files ]] || return 0
  echo "not formatted (make fmt mends it):"
  echo "$files"
  return 1
}
step_vet() { # the dev cluster's Makefile vets its own
  go vet ./... && (cd examples/shop && go vet ./...) && (cd test/bench && go vet ./...)
}
step_linter() { make "$lint"; }
step_lint() {
  local status=0
  step_linter
  "$lint" run ./... || status=1
  (cd examples/shop && "$lint" run --config "$root/.golangci.yml" ./...) || status=1
  (cd test/bench && "$lint" run --config "$root/.golangci.yml" ./...) || status=1
  (packages=$(light_devcluster) && cd tools/devcluster && "$lint" run --config "$root/.golangci.yml" $packages) || status=1
  return $status
}
step_tidy() {
  local dir status=0
  for dir in . examples/shop tools/devcluster tools/dev test/bench; do
    [[ -f $dir/go.mod ]] || continue
    (cd "$dir" && go mod tidy -diff) || { echo "go.mod or go.sum of $dir is not tidy (make tidy mends it)"; status=1; }
  done
  return $status
}
# Not from the cache: go test does not see what go list reads.
step_rules() { go test -count=1 ./internal/deptest; }
step_console() {
  make console-types
  (cd governance/console/web && npm run --silent check && npm test --silent -- --run)
}
step_devcluster() { make build-devcluster; }
step_build() { make build-weir build-shop; }
step_unit() { CGO_ENABLED=1 go test -race -timeout 10m $run $(unit_packages); }
# dubbo-go races with itself, so its processes run in binaries without the detector.
step_dubbo() { go test -timeout 10m $run ./registry/dubbo/... ./sdk/dubbo/... ./gateway/dubbo/...; }
step_kube() { CGO_ENABLED=1 go test -race -timeout 20m $run $(kube_packages); }
step_shop() { cd examples/shop && CGO_ENABLED=1 go test -race -timeout 10m $run ./...; }
step_bench() { cd test/bench && go test -timeout 10m $run ./...; }
step_node() { make -C tools/devcluster test; }
# What the tests with Java have in Go beside the shop: bin/java/go/PROGRAM.
java_peers() {
  mkdir -p bin/java/go
  (cd examples/shop && CGO_ENABLED=0 go build -ldflags '-s -w' -o ../../bin/java/go/ ./test/polyglot)
}
# The images are made here, so that make test counts their time too.
step_smoke() {
  local projects="dubbo-3.3 spring-hystrix"
  tools/dev/java.sh $projects
  java_peers
  WEIR_TEST_JAVA=$projects go test -count=1 -timeout 20m $(as_root) "${run:--run=TestSmoke}" ./test/java/...
}
# Not among all.
step_java() {
  tools/dev/java.sh ${JAVA:-}
  java_peers
  if [[ -z ${JAVA:-} || " $JAVA " == *" dubbo-2.7 "* ]]; then
    WEIR_TEST_DUBBO2=$root/bin/java/dubbo-2.7 go test -count=1 -timeout 10m "${run:--run=TestAConsumerOfDubbo2}" ./registry/dubbo/zookeeper
  fi
  if [[ ${JAVA:-} == dubbo-2.7 ]]; then return; fi # it has no pods
  WEIR_TEST_JAVA=${JAVA:-} WEIR_TEST_JAVA_TURNS=1 go test -count=1 -timeout 25m -parallel 64 -v $(as_root) $run ./test/java/...
}
# One cluster at a time.
step_e2e() { go test -count=1 -p 1 -timeout 25m $(as_root) $run ./test/e2e/...; }

# A Kubernetes node needs root. Building does not, so that only what runs one is
# given it; the go command itself stays with its user and caches.
as_root() { # as_root: flags for go test
  ((EUID == 0)) || echo "-exec=$root/tools/dev/sudo.sh"
}

# One step by itself, which is how the steps below run: each in a shell of its
# own, where the first failing command ends it.
if [[ ${1:-} == --step ]]; then
  set -e
  "step_$2"
  exit
fi

all=(format rules console build linter vet lint tidy unit shop bench devcluster kube dubbo node e2e smoke)
steps=("$@")
((${#steps[@]})) || steps=("${all[@]}")
wanted() { [[ " ${steps[*]} " == *" $1 "* ]]; }
# What a chosen step stands on is brought up to date first.
if { wanted e2e || wanted smoke || wanted java; } && ! wanted build; then steps=(build "${steps[@]}"); fi
if { wanted kube || wanted dubbo || wanted node || wanted e2e || wanted smoke || wanted java; } && ! wanted devcluster; then steps=(devcluster "${steps[@]}"); fi

tmp=$(mktemp -d)
# Ctrl-C ends all of it, not the present step alone (go test takes the signal for
# itself and would leave this script to go on).
trap 'rm -rf "$tmp"; jobs=$(jobs -p); [[ -z $jobs ]] || kill $jobs 2>/dev/null' EXIT
trap 'exit 130' INT TERM
declare -A status=() took=()
bold= plain=
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s== %s%s\n' "${bold-}" "$1" "${plain-}"; }

foreground() {
  local began=$SECONDS
  say "$1"
  if "$self" --step "$1"; then status[$1]=ok; else status[$1]=FAILED; echo "-- step $1 failed"; fi
  took[$1]=$((SECONDS - began))
}
# A step in the background writes to a file, which is shown when it is awaited.
background() {
  (
    began=$SECONDS
    code=0
    nice -n 10 "$self" --step "$1" >"$tmp/$1.log" 2>&1 || code=$?
    echo "$code $((SECONDS - began))" >"$tmp/$1.ending"
    mv "$tmp/$1.ending" "$tmp/$1.end"
  ) &
}
await() {
  local code=1
  say "$1 (ran in the background)"
  until [[ -e $tmp/$1.end ]]; do
    tail -n 1 "$tmp/$1.log" 2>/dev/null
    for _ in {1..30}; do [[ -e $tmp/$1.end ]] || sleep 1; done
  done
  cat "$tmp/$1.log"
  read -r code "took[$1]" <"$tmp/$1.end"
  if ((code == 0)); then status[$1]=ok; else status[$1]=FAILED; echo "-- step $1 failed"; fi
}

# Kubernetes takes longest to build; everything that needs none of it goes on
# beside it. With one step more than that to do, waiting would be all there is.
beside=
if wanted devcluster && { wanted lint || wanted unit; }; then
  beside=1
  background devcluster
fi
for step in "${steps[@]}"; do
  case $step in
    devcluster) if [[ $beside ]]; then await devcluster; else foreground devcluster; fi ;;
    kube | dubbo | node | e2e | smoke | java)
      if [[ ${status[devcluster]:-ok} != ok ]]; then
        say "$step"
        echo "-- step $step was left out: there is no dev cluster to run it on"
        status[$step]="left out" took[$step]=0
      else
        foreground "$step"
      fi
      ;;
    *) foreground "$step" ;;
  esac
done

say "where the time went"
code=0
for step in "${steps[@]}"; do
  note=
  if [[ $step == devcluster && $beside ]]; then note="(beside the others)"; fi
  printf '%-11s %5d s  %s %s\n' "$step" "${took[$step]}" "${status[$step]}" "$note"
  [[ ${status[$step]} == ok ]] || code=1
done
printf '%-11s %5d s\n' total "$SECONDS"
exit $code
