# A PostgreSQL of our own in a folder: TLS, SCRAM, two roles, a small `payments` database.

# The programs: those in SB_POSTGRES_BIN, else Debian's newest, else those in the path.
postgres_bin() {
  local newest
  [ -z "${SB_POSTGRES_BIN-}" ] || { printf '%s\n' "$SB_POSTGRES_BIN"; return; }
  newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
  if [ -n "$newest" ]; then printf '%s\n' "$newest"; else dirname "$(command -v postgres)"; fi
}

# PostgreSQL refuses to run as root, so root becomes the system's `postgres`. A server must not outlive who started it.
as_postgres=(setpriv --pdeathsig INT)
[ "$(id -u)" != 0 ] || as_postgres+=(--reuid postgres --regid postgres --init-groups)

# own FILE…: gives files to the person that PostgreSQL runs as
own() {
  [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$@"
}

# prepare_postgres DIR: makes DIR/data, ready to start; the roles' passwords stand in DIR/ROLE.password.
# DIR holds ca.crt and ca.key. The data are made in single-user mode: no server has to be started for it.
prepare_postgres() {
  local dir=$1 bin role
  bin=$(postgres_bin)
  mkdir -p "$dir/data"
  chmod 700 "$dir/data"
  own "$dir/data"
  (cd / && "${as_postgres[@]}" "$bin/initdb" -D "$dir/data" -U postgres --encoding UTF8 --locale C.UTF-8 --auth reject \
    --no-sync --wal-segsize 4 >/dev/null) || return 1
  for role in payments_rw payments_ro; do
    (umask 077 && openssl rand -hex 24 >"$dir/$role.password")
  done
  {
    printf "set password_encryption = 'scram-sha-256';\n\n"
    for role in payments_rw payments_ro; do
      printf "create role %s login password '%s';\n\n" "$role" "$(cat "$dir/$role.password")"
    done
    printf 'create database payments;\n\n'
  } | single_user "$bin" "$dir/data" postgres
  single_user "$bin" "$dir/data" payments <"$root/scripts/payments.sql"

  make_certificate "$dir" postgres
  cp "$dir/postgres.crt" "$dir/postgres.key" "$dir/data/"
  printf 'hostssl all payments_rw,payments_ro 127.0.0.1/32 scram-sha-256\n' >"$dir/data/pg_hba.conf"
  cat >>"$dir/data/postgresql.conf" <<'CONF'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
ssl_cert_file = 'postgres.crt'
ssl_key_file = 'postgres.key'
max_connections = 200
fsync = off
CONF
  own "$dir/data"
}

# Statements from stdin, each ended by a semicolon and an empty line.
single_user() {
  local complaints
  complaints=$(cd / && "${as_postgres[@]}" "$1/postgres" --single -j -D "$2" "$3" 2>&1 >/dev/null | grep -E 'ERROR|FATAL|PANIC') || return 0
  say "$complaints"
  return 1
}

# start_postgres DIR PORT: in the background, its log in DIR/postgres.log
start_postgres() {
  local bin
  bin=$(postgres_bin)
  (cd / && exec "${as_postgres[@]}" "$bin/postgres" -D "$1/data" -p "$2") >"$1/postgres.log" 2>&1 &
  started_as $! INT
  wait_for PostgreSQL $! "$bin/pg_isready" -q -h 127.0.0.1 -p "$2"
}
