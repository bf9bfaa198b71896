# The company of the demo: identity provider, database, and the proxy between them and the engineers.

# start_idp: sets `issuer`
start_idp() {
  node "$root/scripts/idp/provider.mjs" >"$work/idp.out" 2>"$work/idp.log" &
  started_as $! TERM
  wait_for 'the identity provider' $! grep -q issuer "$work/idp.out" || { cat "$work/idp.log" >&2; return 1; }
  issuer=$(sed -n 's/.*"issuer":"\([^"]*\)".*/\1/p' "$work/idp.out")
}

# start_database: sets `database_port`
start_database() {
  make_ca "$work"
  prepare_postgres "$work"
  database_port=$(free_port)
  start_postgres "$work" "$database_port"
}

# start_proxy BINARY: sets `proxy_port`
start_proxy() {
  make_certificate "$work" server
  proxy_config >"$work/safe-boundary.toml"
  "$1" serve --config "$work/safe-boundary.toml" 2>"$work/proxy.log" &
  started_as $! TERM
  wait_for 'the proxy' $! grep -q '"message":"ready"' "$work/proxy.log" || { cat "$work/proxy.log" >&2; return 1; }
  proxy_port=$(sed -n '/"message":"listening"/s/.*"address":"127.0.0.1:\([0-9]*\)".*/\1/p' "$work/proxy.log" | head -1)
  [ -n "$proxy_port" ] || fail "the proxy does not say where it listens"
}

proxy_config() {
  cat <<CONFIG
[server]
tls_cert = "server.crt"
tls_key = "server.key"
public_url = "https://localhost:8443"
drain = "2s"
node = "demo"

[idp]
preset = "generic"
issuer = "$issuer"
client_id = "safe-boundary"
scopes = ["openid", "email", "groups", "offline_access"]

[audit]
dir = "audit"

[[database]]
name = "payments"
listen = "127.0.0.1:0"
upstream = "host=localhost port=$database_port dbname=payments sslmode=verify-full sslrootcert=ca.crt"
tags = { environment = "demo", sensitivity = "high" }

[[database.role]]
role = "payments_rw"
groups = ["on-call"]
password = { file = "payments_rw.password" }

[[database.role]]
role = "payments_ro"
groups = ["engineering"]
password = { file = "payments_ro.password" }
CONFIG
}

# conninfo LOGIN: what an engineer gives to psql
conninfo() {
  printf 'host=localhost port=%s dbname=payments user=%s sslmode=verify-full sslrootcert=%s' "$proxy_port" "$1" "$work/ca.crt"
}
