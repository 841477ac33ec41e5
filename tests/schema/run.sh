#!/bin/bash
# Usage: run.sh RETUNE SCHEMATHESIS [SECONDS] [ARGUMENTS…]
# Starts a service with a state of its own, tries it with an administrator's key and with none, each for
# so many seconds, and fails where an answer is not as the document says.
set -euo pipefail
retune=$(realpath "$1") schemathesis=$2 seconds=${3:-90}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
chmod 755 "$folder" # Root's PostgreSQL is another user's.
for name in $(compgen -e RETUNE_) DATABASE_URL; do unset "$name"; done
export RETUNE_STORAGE_ROOTS="file://$folder/objects/"
export RETUNE_LOG_LEVEL=warn
mkdir "$folder/objects"

service=
tidy() {
  if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; wait "$service" || true; fi
  rm -rf "$folder"
}
trap tidy EXIT

key=$("$retune" keys create --name schema --data-dir "$folder/state" 2>/dev/null)
"$retune" serve --listen 127.0.0.1:0 --workers 0 --data-dir "$folder/state" \
  >"$folder/line" 2>"$folder/log" &
service=$!
for _ in $(seq 300); do grep -q listening "$folder/line" && break; sleep 0.1; done
url=$(sed -n 's/^retune listening on //p' "$folder/line")
[ -n "$url" ] || { cat "$folder/log" >&2; exit 1; }

failed=0
try() {
  "$schemathesis" --config-file "$here/schemathesis.toml" run --url "$url" --max-time "$seconds" \
    "$@" "$url/openapi.json" || failed=1
}
echo "== with an administrator's key"
try -H "Authorization: Bearer $key" "$@"
echo "== with no key"
try --phases coverage,fuzzing "$@"
if grep -E 'ERROR|panicked' "$folder/log"; then failed=1; fi
exit $failed
