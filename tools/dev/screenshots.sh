#!/usr/bin/env bash
# screenshots.sh: take pictures of every view of the console, in both themes, both
# languages and two widths, into dist/screenshots. DOCS=1: those that the documents
# show as well, into docs/images.
#
# WEIR_SERVER and WEIR_TOKEN (and WEIR_TRACING_SERVER, for traces) name a mesh that
# runs; without them one is started here and ended again. Either way a made-up fleet
# is put beside what is there for as long as the pictures take (APPS=0: none).
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
apps=${APPS:-60}
user=screenshots-$$
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
work=$(mktemp -d /var/tmp/weir-screenshots-XXXXXX)
chmod 755 "$work" # PostgreSQL runs as an account of its own and must get through
up='' seed='' made=''

say() { printf 'screenshots: %s\n' "$*"; }
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
api() { # api METHOD /path [json]: ask as an administrator
  curl -fsS -o /dev/null -X "$1" "$WEIR_SERVER$2" -H "Authorization: Bearer $WEIR_TOKEN" -H 'Weir-Reason: pictures%20for%20the%20documents' \
    ${3:+-H 'Content-Type: application/json' -d "$3"}
}
cleanup() {
  [[ -z $seed ]] || { kill "$seed" 2>/dev/null || true; wait "$seed" 2>/dev/null || true; }
  [[ -z $made ]] || api DELETE "/api/v1/accounts/$user" || say "the account $user stays"
  if [[ -n $up ]]; then
    kill -TERM "$up" 2>/dev/null || true
    wait "$up" 2>/dev/null || true
  fi
  as_root rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [[ -z ${WEIR_SERVER:-} ]]; then
  make build
  admin=127.0.0.1:19001
  say "starting a mesh"
  tools/dev/up.sh --data-dir "$work/data" --control-listen 127.0.0.1:19000 --admin-listen "$admin" \
    --gateway-listen 127.0.0.1:19080 --tracing-listen 127.0.0.1:19411 >"$work/up.log" 2>&1 &
  up=$!
  for ((n = 0; ; n++)); do
    if curl -fsS -o /dev/null "http://$admin/readyz" 2>/dev/null; then break; fi
    kill -0 "$up" 2>/dev/null && ((n < 300)) || { tail -n 30 "$work/up.log" >&2; say "the mesh did not come up (see above)"; exit 1; }
    sleep 1
  done
  WEIR_SERVER=http://127.0.0.1:19000 WEIR_TRACING_SERVER=http://127.0.0.1:19411
  WEIR_TOKEN=$(as_root cat "$work/data/access/cli.token")
else
  : "${WEIR_TOKEN:?an administrator of $WEIR_SERVER is needed: give WEIR_TOKEN}"
  make console-packages
fi
export WEIR_SERVER WEIR_TOKEN WEIR_TRACING_SERVER=${WEIR_TRACING_SERVER:-}

api POST /api/v1/accounts "{\"name\": \"$user\", \"role\": \"admin\", \"password\": \"$password\"}"
made=1
if ((apps > 0)); then
  go build -o "$work/seed" ./test/console/seed
  "$work/seed" -apps "$apps" -for 1h -clean &
  seed=$!
  sleep 75 # charts are of the last minutes, and need some
fi
say "taking pictures"
cd governance/console/web
WEIR_USER=$user WEIR_PASSWORD=$password WEIR_DOCS_IMAGES=${DOCS:-} node node_modules/@playwright/test/cli.js test --project=pictures
say "they are in dist/screenshots${DOCS:+, and those of the documents in docs/images}"
