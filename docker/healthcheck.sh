#!/bin/bash
# Asks a `retune` in this container whether it lives: healthcheck [PORT] [PATH]. The image has no HTTP client.
set -euo pipefail
port=${1:-8080} path=${2:-/healthz}
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
