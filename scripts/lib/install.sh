# Installs what is missing, and only that. Says what it does, because it changes the machine.

NODE_MAJOR_MIN=18
RUST_MINOR_MIN=95

# need_packages COMMAND:PACKAGE…: Debian packages for commands that are not there
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    case ${pair%%:*} in
      /*) [ -e "${pair%%:*}" ] || missing+=("${pair#*:}") ;;
      *) have "${pair%%:*}" || missing+=("${pair#*:}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "please install: ${missing[*]}"
  [ "$(id -u)" = 0 ] || fail "please install, as root: apt-get install ${missing[*]}"
  step "installing ${missing[*]}"
  apt-get update -qq
  case " ${missing[*]} " in
    *' postgresql '*) install_postgres_without_cluster ;;
  esac
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Debian's package starts a server of its own on port 5432; nobody asked for that one.
install_postgres_without_cluster() {
  local drop_in=/etc/postgresql-common/createcluster.d/safe-boundary.conf
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common >&2
  mkdir -p "${drop_in%/*}"
  printf 'create_main_cluster = false\n' >"$drop_in"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
  rm -f "$drop_in"
}

need_services() {
  need_packages "openssl:openssl" "setpriv:util-linux" "curl:curl" "node:nodejs" "npm:npm" "psql:postgresql-client" \
    "$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -1 | grep . || echo postgres):postgresql"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR_MIN" ] ||
    fail "the demo's identity provider needs Node.js $NODE_MAJOR_MIN or newer; this is $(node --version)"
  # The lock decides; it is read again only when it is newer than what was installed from it.
  if [ "$root/scripts/idp/package-lock.json" -nt "$root/scripts/idp/node_modules/.package-lock.json" ]; then
    step "installing the identity provider's packages"
    (cd "$root/scripts/idp" && npm ci --no-audit --no-fund --loglevel=error >&2)
    touch "$root/scripts/idp/node_modules/.package-lock.json"
  fi
}

need_rust() {
  have cargo || fail "Rust is missing: install 1.$RUST_MINOR_MIN or newer from https://rustup.rs, then run this again"
  local version
  version=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s' "$version" | cut -d. -f2)" -ge "$RUST_MINOR_MIN" ] ||
    fail "Rust 1.$RUST_MINOR_MIN or newer is needed, this is $version: run rustup update"
  need_packages "cc:build-essential"
}

# need_cargo_tool NAME: a cargo subcommand
need_cargo_tool() {
  ! cargo "${1#cargo-}" --version >/dev/null 2>&1 || return 0
  step "installing $1 (once)"
  cargo install --locked --quiet "$1"
}

# The clients that the end-to-end tests drive besides psql: two for Python in a folder of their own, one for Java.
need_clients() {
  need_packages "haproxy:haproxy" "ip:iproute2" "unshare:util-linux" "python3:python3" "javac:default-jdk-headless" "/usr/share/java/postgresql.jar:libpostgresql-jdbc-java"
  local venv="$root/.work/venv" wanted="$root/scripts/clients/requirements.txt"
  if ! cmp -s "$wanted" "$venv/installed.txt"; then
    step "installing the Python clients"
    rm -rf "$venv"
    python3 -m venv "$venv" 2>/dev/null || {
      need_packages "/nowhere:python3-venv"
      python3 -m venv --clear "$venv"
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
    cp "$wanted" "$venv/installed.txt"
  fi
}
