#!/usr/bin/env bash
# Runs a command with DATANODE_TEST_POSTGRES naming a PostgreSQL server that lives as long as it.
set -euo pipefail

bin="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
[ -n "$bin" ] || { echo "PostgreSQL is missing; on Debian: apt-get install -y postgresql" >&2; exit 1; }
folder="$(mktemp -d)"
owner="$(id -un)"
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
  owner=nobody
  chown nobody "$folder"
  as() { su -s /bin/sh nobody -c "$(printf '%q ' "$@")"; }
fi
finish() {
  as "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap finish EXIT
cd "$folder"
as "$bin/initdb" -D "$folder/data" -A trust -U "$owner" -E UTF8 --locale=C >/dev/null
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
as "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
  -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$folder -c fsync=off" \
  start >/dev/null
cd - >/dev/null
DATANODE_TEST_POSTGRES="postgresql://$owner@127.0.0.1:$port/postgres" "$@"
