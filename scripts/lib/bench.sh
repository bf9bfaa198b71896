# What `bench` measures. All three contestants speak plain TCP on loopback to one PostgreSQL.

rounds=3
bench_password=bench

start_bench() {
  local bin
  bin=$(postgres_bin)
  make_ca "$work"
  prepare_postgres "$work"
  printf 'host all payments_rw,payments_ro 127.0.0.1/32 scram-sha-256\n' >"$work/data/pg_hba.conf"
  printf "alter role payments_rw password '%s';\n\n" "$bench_password" | single_user "$bin" "$work/data" postgres
  database_port=$(free_port)
  start_postgres "$work" "$database_port"
  export PGPASSWORD=$bench_password
  "$bin/pgbench" -q -i -s 10 "host=127.0.0.1 port=$database_port dbname=payments user=payments_rw" >/dev/null 2>&1
  start_pgbouncer
  start_idp
  printf '%s\n' "$bench_password" >"$work/payments_rw.password"
  start_proxy "$1"
  proxy_pid=${started[0]% *}
  approve_all &
  started_as $! TERM
}

# The proxy of the demo, but plain on both sides, and for pgbench.
bench_config() {
  demo_config | sed \
    -e '/^\[server\]/a allow_plaintext = ["127.0.0.0/8"]' \
    -e '/^\[idp\]/i [session]\nprompting_programs = ["pgbench"]\n' \
    -e "s/^upstream = .*/upstream = \"host=127.0.0.1 port=$database_port dbname=payments sslmode=disable\"/"
}
eval "$(declare -f proxy_config | sed '1s/proxy_config/demo_config/')"
proxy_config() { bench_config; }

start_pgbouncer() {
  bouncer_port=$(free_port)
  printf '"payments_rw" "%s"\n' "$bench_password" >"$work/users.txt"
  cat >"$work/pgbouncer.ini" <<CONFIG
[databases]
payments = host=127.0.0.1 port=$database_port dbname=payments
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer_port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $work/users.txt
pool_mode = session
default_pool_size = 100
max_client_conn = 200
logfile =
CONFIG
  chmod 644 "$work/users.txt" "$work/pgbouncer.ini"
  (cd / && exec "${as_postgres[@]}" pgbouncer -q "$work/pgbouncer.ini") >"$work/pgbouncer.log" 2>&1 &
  started_as $! INT
  bouncer_pid=$!
  wait_for PgBouncer $! "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$bouncer_port"
}

# Signs pgbench in, connection by connection.
approve_all() {
  local seen='[]' code
  while :; do
    code=$(curl -sf -d "{\"seen\": $seen}" "$issuer/control/code" | sed -n 's/.*"code":"\([^"]*\)".*/\1/p') || continue
    [ -n "$code" ] || continue
    curl -sf -d "{\"login\": \"alice@example.com\", \"code\": \"$code\"}" "$issuer/control/approve" >/dev/null || true
    seen="[\"$code\"${seen/\[/,}"
    seen=${seen/,]/]}
  done
}

# cpu_ms PID: user and system time so far
cpu_ms() { awk '{ print ($14 + $15) * 10 }' "/proc/$1/stat"; }

# one CONTESTANT CLIENTS SECONDS: prints "tps cpu_us_per_transaction"
one() {
  local target pid= before=0 after=0 out transactions
  case $1 in
    direct) target="port=$database_port user=payments_rw" ;;
    pgbouncer) target="port=$bouncer_port user=payments_rw" pid=$bouncer_pid ;;
    safe-boundary) target="port=$proxy_port user=alice@example.com" pid=$proxy_pid ;;
  esac
  [ -z "$pid" ] || before=$(cpu_ms "$pid")
  # A number of transactions, not of seconds: pgbench counts the time of the sign-ins into the latter.
  out=$("$(postgres_bin)/pgbench" -n -S -M simple -c "$2" -j "$(($2 < 2 ? 1 : 2))" -t "$(($3 * 4000 / ($2 < 4 ? 4 : $2)))" \
    "host=127.0.0.1 dbname=payments sslmode=disable $target" 2>"$work/pgbench.err") || { cat "$work/pgbench.err" >&2; return 1; }
  [ -z "$pid" ] || after=$(cpu_ms "$pid")
  transactions=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$out")
  awk -v out="$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$out")" -v ms=$((after - before)) -v n="$transactions" \
    'BEGIN { printf "%.0f %.1f\n", out, n ? ms * 1000 / n : 0 }'
}

run_bench() {
  local clients round who figures
  printf '%-8s %-14s %10s %14s\n' clients contestant tps 'CPU us/tx'
  for clients in 1 8 32; do
    : >"$work/figures"
    for ((round = 0; round < rounds; round++)); do
      for who in direct pgbouncer safe-boundary; do
        figures=$(one "$who" "$clients" "$1")
        printf '%s %s\n' "$who" "$figures" >>"$work/figures"
      done
    done
    for who in direct pgbouncer safe-boundary; do
      printf '%-8s %-14s %10s %14s\n' "$clients" "$who" "$(median "$who" 2)" "$(median "$who" 3)"
    done
    awk -v b="$(median pgbouncer 2)" -v s="$(median safe-boundary 2)" -v bc="$(median pgbouncer 3)" -v sc="$(median safe-boundary 3)" \
      'BEGIN { printf "         audited / unaudited PgBouncer: throughput %.2f, CPU per transaction %.2f\n", s / b, sc / bc }'
  done
}

# median CONTESTANT COLUMN
median() { awk -v who="$1" -v column="$2" '$1 == who { print $column }' "$work/figures" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
