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
  need_npm_packages scripts/idp
}

# need_npm_packages FOLDER: what its lock says; it is read again only when it is newer than what was installed from it.
need_npm_packages() {
  local folder="$root/$1"
  [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ] || return 0
  step "installing the npm packages of $1"
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >&2)
  touch "$folder/node_modules/.package-lock.json"
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

# What ./bench needs: the other contestant, who counts, and who makes load.
need_bench() {
  need_services
  need_rust
  need_packages "pgbouncer:pgbouncer" "strace:strace" "python3:python3" "findmnt:util-linux" \
    "/usr/lib/postgresql/$(ls /usr/lib/postgresql | sort -V | tail -1)/bin/pgbench:postgresql-contrib"
}

# What the tests break the disk with: a library of their own, and a second opinion on which calls it sees.
need_faults() {
  need_packages "cc:build-essential" "strace:strace" "mount:mount"
}

# The clients that the matrix drives besides psql: those for Python in a folder of their own, and one for Java.
need_clients() {
  need_packages "haproxy:haproxy" "ip:iproute2" "unshare:util-linux"  # a load balancer, and a network that goes away
  need_packages "faketime:faketime"   # a proxy whose clock is wrong
  need_packages "python3:python3" "javac:default-jdk-headless" "/usr/share/java/postgresql.jar:libpostgresql-jdbc-java"
  local venv="$root/.work/venv" wanted="$root/scripts/clients/requirements.txt"
  if ! cmp -s "$wanted" "$venv/installed.txt"; then
    step "installing the Python clients"
    rm -rf "$venv"
    python3 -m venv "$venv" 2>/dev/null || {
      need_packages "/nowhere:python3-venv"
      python3 -m venv --clear "$venv"
    }
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >&2
    cp "$wanted" "$venv/installed.txt"
  fi
}

# Prometheus and promtool, unpacked and not installed: Debian's package would start a server of its own.
need_prometheus() {
  local dir="$root/.work/prometheus"
  if have prometheus && have promtool || [ -x "$dir/usr/bin/promtool" ]; then return 0; fi
  have apt-get || fail "please install prometheus (with promtool)"
  step "unpacking prometheus"
  mkdir -p "$dir"
  (
    cd "$dir"
    apt-get download -q prometheus >&2 2>/dev/null || { apt-get update -qq && apt-get download -q prometheus >&2; }
    dpkg -x prometheus_*.deb . && rm prometheus_*.deb
  )
}

# The clients for Node.js and in Rust, psql and libpq 18, and the servers beside the system's own.
need_drivers() {
  need_npm_packages scripts/clients/node
  step "the clients in Rust"
  cargo build --locked --quiet --manifest-path "$root/scripts/clients/rust/Cargo.toml" --target-dir "$root/target/clients"
  need_servers
  need_libpq_18
}

# PostgreSQL 16, 17 and 18: programs without a system around them.
need_servers() {
  local version folder as=()
  # They run as the person that Debian's server runs as, when we are root.
  [ "$(id -u)" != 0 ] || as=(setpriv --reuid postgres --regid postgres --clear-groups)
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "the servers beside the system's own are for Linux on x86_64, this is $(uname -sm)"
  need_npm_packages scripts/servers
  for version in 16 17 18; do
    folder="$root/scripts/servers/node_modules/postgres-$version"
    # npm cannot carry symbolic links; the package makes them itself.
    [ -L "$folder/native/lib/libpq.so.5" ] || (cd "$folder" && node scripts/hydrate-symlinks.js)
    ${as[@]+"${as[@]}"} "$folder/native/bin/postgres" --version >/dev/null ||
      fail "PostgreSQL $version cannot be started from $folder by the system's \`postgres\`: may she read it?"
  done
}

# psql, pg_dump and pg_restore 18 from a Debian newer than this one, unpacked into a folder with all that they need, down
# to the C library; nothing in the system is changed or used.
need_libpq_18() {
  local folder="$root/.work/libpq18" program
  [ ! -x "$folder/bin/psql" ] || return 0
  step "unpacking psql 18"
  rm -rf "$folder"
  mkdir -p "$folder/root" "$folder/bin.new"
  other_debian "$folder/apt" deb forky
  apt_of "$folder/apt" install -y --download-only --no-install-recommends postgresql-client-18
  for program in "$folder"/apt/cache/archives/*.deb; do
    # Perl is for a wrapper that chooses among versions.
    case ${program##*/} in perl* | libperl*) ;; *) dpkg-deb -x "$program" "$folder/root" ;; esac
  done
  for program in psql pg_dump pg_restore; do
    cat >"$folder/bin.new/$program" <<PROGRAM
#!/bin/sh
here=\${0%/*}/..
lib=\$(echo "\$here"/root/usr/lib/*-linux-gnu)
exec "\$lib"/ld-linux*.so.* --library-path "\$lib" "\$here/root/usr/lib/postgresql/18/bin/$program" "\$@"
PROGRAM
    chmod +x "$folder/bin.new/$program"
  done
  rm -rf "$folder/apt"
  # The folder has its name when all of it is there.
  mv "$folder/bin.new" "$folder/bin"
  "$folder/bin/psql" --version >/dev/null
}

# other_debian FOLDER deb|deb-src SUITE: what apt needs to know of another Debian, at this one's mirror; it checks signatures
other_debian() {
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | grep -v security | head -1)
  [ -n "$mirror" ] || fail "no mirror of Debian is known to apt here"
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/sources"
  : >"$1/status"
  printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
    "$2" "$mirror" "$3" /usr/share/keyrings/debian-archive-keyring.gpg >"$1/sources/other.sources"
  cat >"$1/apt.conf" <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$1/sources";
Dir::State::Lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
  apt_of "$1" update
}

# apt_of FOLDER ARGUMENT…: apt-get on another Debian
apt_of() { APT_CONFIG="$1/apt.conf" apt-get -qq "${@:2}" >&2; }

# need_suite NAME: the tests that a driver for Python publishes, in the version that is installed to be tested. Several may be
# needed at the same time.
need_suite() {
  mkdir -p "$root/.work"
  (flock 9; have_suite "$1") 9>"$root/.work/suites.lock"
}

have_suite() {
  local folder="$root/.work/suites" wanted="$root/scripts/suites/requirements.txt" version name=$1
  if ! cmp -s "$wanted" "$folder/installed.txt"; then
    step "installing the drivers whose suites are run"
    rm -rf "$folder"
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
    cp "$wanted" "$folder/installed.txt"
  fi
  [ ! -d "$folder/$name" ] || return 0
  version=$(sed -n "s/^$name\(-binary\)\{0,1\}==//p" "$wanted")
  step "unpacking the suite of $name $version"
  # pip asks a source package for its metadata before it gives it away: what that takes is in the folder already.
  (cd "$folder" && PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/pip" download --quiet --disable-pip-version-check \
    --no-deps --no-binary :all: --no-build-isolation "$name==$version" >&2)
  mkdir "$folder/$name.new"
  tar -xzf "$folder/$name-$version.tar.gz" -C "$folder/$name.new" --strip-components 1
  # The tests must find the driver that is installed, not its sources beside them.
  rm -rf "$folder/$name.new/$name" "$folder/$name.new/src"
  mv "$folder/$name.new" "$folder/$name"
}
