#!/usr/bin/env bash
# screenshots.sh: take pictures of every view of the console, in both themes, both
# languages and two widths, into dist/screenshots/STATE/LANGUAGE-THEME-WIDTH.
#
# STATES are the states in which it is looked at (all of them, in this order):
#   empty  a control plane to which nothing came yet
#   shop   the example shop, with a policy, a switch and a route of the pictures'
#   fleet  beside the shop a made-up fleet of APPS applications (200), some in trouble
#   gone   that fleet, by a page that is open when the control plane is ended
#
# SCENES='topology|trace' takes those alone whose names match, WAYS='en-dark-390
# zh-light-1280' those ways of looking alone. DOCS=1 takes the pictures that the
# documents show as well, into docs/images, in the state fleet (with 60 applications).
#
# WEIR_SERVER and WEIR_TOKEN (and WEIR_TRACING_SERVER, for traces) name a mesh that
# runs; without them one is started here and ended again. Of a mesh that runs, the
# states are shop and fleet; empty if it is, and gone if WEIR_END is a command that
# ends its control plane. The fleet is put beside what is there for as long as the
# pictures take.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
apps=${APPS:-$([[ -n ${DOCS:-} ]] && echo 60 || echo 200)}
user=screenshots-$$
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
work=$(mktemp -d /var/tmp/weir-screenshots-XXXXXX)
chmod 755 "$work" # PostgreSQL runs as an account of its own and must get through
up='' seed='' made='' ended=''

say() { printf 'screenshots: %s\n' "$*"; }
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
api() { # api METHOD /path [json]: ask as an administrator
  curl -fsS -o /dev/null -X "$1" "$WEIR_SERVER$2" -H "Authorization: Bearer $WEIR_TOKEN" -H 'Weir-Reason: pictures%20for%20the%20documents' \
    ${3:+-H 'Content-Type: application/json' -d "$3"}
}
# up_mesh NAME [flag …]: start a mesh of data of its own.
up_mesh() {
  local admin=127.0.0.1:19001 name=$1 n
  shift
  say "starting a mesh"
  tools/dev/up.sh --data-dir "$work/$name" --control-listen 127.0.0.1:19000 --admin-listen "$admin" \
    --gateway-listen 127.0.0.1:19080 --tracing-listen 127.0.0.1:19411 "$@" >"$work/$name.log" 2>&1 &
  up=$!
  for ((n = 0; ; n++)); do
    if curl -fsS -o /dev/null "http://$admin/readyz" 2>/dev/null; then break; fi
    kill -0 "$up" 2>/dev/null && ((n < 300)) || { tail -n 30 "$work/$name.log" >&2; say "the mesh did not come up (see above)"; exit 1; }
    sleep 1
  done
  WEIR_SERVER=http://127.0.0.1:19000 WEIR_TRACING_SERVER=http://127.0.0.1:19411
  WEIR_TOKEN=$(as_root cat "$work/$name/access/cli.token")
}
down_mesh() {
  [[ -n $up ]] || return 0
  as_root kill -TERM "$up" 2>/dev/null || true
  wait "$up" 2>/dev/null || true
  up=''
}
begin_account() { api POST /api/v1/accounts "{\"name\": \"$user\", \"role\": \"admin\", \"password\": \"$password\"}" && made=1; }
end_account() {
  [[ -z $made ]] || api DELETE "/api/v1/accounts/$user" || say "the account $user stays"
  made=''
}
take() { # take STATE
  say "taking pictures: $1"
  (cd governance/console/web && WEIR_STATE=$1 WEIR_SCENES=${SCENES:-} WEIR_WAYS=${WAYS:-} WEIR_USER=$user WEIR_PASSWORD=$password WEIR_DOCS_IMAGES=${DOCS:-} \
    node node_modules/@playwright/test/cli.js test --project=pictures)
}
cleanup() {
  [[ -z $seed ]] || { kill "$seed" 2>/dev/null || true; wait "$seed" 2>/dev/null || true; }
  [[ -z $ended ]] || made='' # whoever could take it back is gone
  end_account
  down_mesh
  as_root rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [[ -z ${WEIR_SERVER:-} ]]; then
  make build
  own=1
  states=${STATES:-empty shop fleet gone}
else
  : "${WEIR_TOKEN:?an administrator of $WEIR_SERVER is needed: give WEIR_TOKEN}"
  make console-packages
  own=''
  states=${STATES:-shop fleet${WEIR_END:+ gone}}
fi
export WEIR_SERVER WEIR_TOKEN WEIR_TRACING_SERVER=${WEIR_TRACING_SERVER:-} WEIR_END=${WEIR_END:-}
for state in $states; do
  case $state in
    empty)
      # Its Kubernetes has no pods, and so nothing is registered.
      [[ -z $own ]] || up_mesh empty --node=false --shop=false
      begin_account
      take empty
      end_account
      [[ -z $own ]] || down_mesh
      continue
      ;;
    shop | fleet | gone) ;;
    *) say "there is no state $state: empty, shop, fleet or gone"; exit 2 ;;
  esac
  [[ -z $own || -n $up ]] || up_mesh shop
  [[ -n $made ]] || begin_account
  if [[ $state != shop && -z $seed ]] && ((apps > 0)); then
    go build -o "$work/seed" ./test/console/seed
    "$work/seed" -apps "$apps" -for 3h -clean &
    seed=$!
    sleep 75 # charts are of the last minutes, and need some
  fi
  if [[ $state == gone ]]; then
    ended=1
    [[ -z $own ]] || WEIR_END="$( ((EUID == 0)) || echo sudo ) kill -TERM $up"
    export WEIR_END
  fi
  take "$state"
done
say "they are in dist/screenshots${DOCS:+, and those of the documents in docs/images}"
