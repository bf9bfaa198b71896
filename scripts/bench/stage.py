"""What is measured, and what it stands between: PostgreSQL, PgBouncer, an identity provider, and the proxy.

Promises: all of it in one folder that goes at the end, on free ports of loopback, every contestant with the same
database behind it. TLS means one hop of it: from the client to whom it talks to first.
Deliberately not here: load and figures.
"""

import base64
import dataclasses
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from signal import SIGINT

import scram
from process import Failed, Programs

ROOT = Path(__file__).resolve().parents[2]
DATABASE, ROLE, LOGIN, GROUP = "payments", "payments_rw", "alice@example.com", "engineering"
SCALE = 10
SERVER_SESSIONS_MAX = 500
LOAD_PROGRAM = "pgbench"


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Somebody that a client may talk to. `pid` is None where no proxy stands between."""

    name: str
    port: int
    user: str
    password: str
    pid: int | None = None

    def conninfo(self, tls):
        sslmode = "require" if tls else "disable"
        return f"host=127.0.0.1 port={self.port} dbname={DATABASE} user={self.user} sslmode={sslmode}"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def postgres_bin():
    """The newest PostgreSQL of Debian's packages, as scripts/lib/postgres.sh finds it."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise Failed("PostgreSQL is not installed")
    return max(found, key=lambda path: int(path.parts[-3])).parent


# PostgreSQL and PgBouncer refuse to run as root. What we start must not outlive us.
UNPRIVILEGED = ["setpriv", "--pdeathsig", "INT"]
if os.getuid() == 0:
    UNPRIVILEGED += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]


class Stage:
    """A database, and one of each contestant that was asked for."""

    def __init__(self, parent):
        self.programs = Programs()
        self.dir = Path(tempfile.mkdtemp(prefix="safe-boundary-bench.", dir=parent))
        self.dir.chmod(0o711)
        self.bin = postgres_bin()

    def __enter__(self):
        try:
            self._postgres()
            self.direct = Contestant("direct", self.postgres_port, ROLE, self.password)
            self.pgbouncer = self._pgbouncer()
            self.issuer = self._idp()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.programs.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _postgres(self):
        subprocess.run([ROOT / "scripts/prepare-stage", self.dir], check=True)
        self.password = (self.dir / f"{ROLE}.password").read_text().strip()
        (self.dir / "data/pg_hba.conf").write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n")
        with open(self.dir / "data/postgresql.conf", "a") as settings:
            settings.write(f"max_connections = {SERVER_SESSIONS_MAX}\n")
        self.postgres_port = free_port()
        command = [*UNPRIVILEGED, self.bin / "postgres", "-D", self.dir / "data", "-p", self.postgres_port]
        server = self.programs.start("PostgreSQL", command, self.dir / "postgres.log", SIGINT, cwd="/")
        server.wait_until(lambda: self._answers(self.postgres_port))
        self.run("pgbench", "-q", "-i", "-s", SCALE, f"host=127.0.0.1 port={self.postgres_port} dbname={DATABASE} user={ROLE}")
        self.sql("create table sink (line text)")

    def _answers(self, port):
        probe = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        return subprocess.run(probe, check=False).returncode == 0

    def environment(self):
        return os.environ | {"PGPASSWORD": self.password, "PGAPPNAME": LOAD_PROGRAM}

    def run(self, program, *arguments):
        """One of PostgreSQL's own programs, to its end."""
        command = [str(part) for part in (self.bin / program, *arguments)]
        done = subprocess.run(command, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{program} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def sql(self, statement):
        return self.run("psql", "-XAtq", "-c", statement, self.direct_conninfo())

    def direct_conninfo(self):
        return f"host=127.0.0.1 port={self.postgres_port} dbname={DATABASE} user={ROLE}"

    def _pgbouncer(self):
        port = free_port()
        # The server's own verifier: from a password PgBouncer would derive one for each session, 4 ms of processor time.
        (self.dir / "users.txt").write_text(f'"{ROLE}" "{self._share_verifier()}"\n')
        (self.dir / "bouncer.key").write_bytes((self.dir / "server.key").read_bytes())
        (self.dir / "pgbouncer.ini").write_text(
            f"[databases]\n{DATABASE} = host=127.0.0.1 port={self.postgres_port} dbname={DATABASE}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {self.dir}/users.txt\npool_mode = session\ndefault_pool_size = 100\nmax_client_conn = 500\n"
            f"client_tls_sslmode = allow\nclient_tls_key_file = {self.dir}/bouncer.key\n"
            f"client_tls_cert_file = {self.dir}/server.crt\nserver_tls_sslmode = disable\n"
            "ignore_startup_parameters = extra_float_digits\nlog_connections = 0\nlog_disconnections = 0\nlogfile =\n"
        )
        if os.getuid() == 0:
            for name in ("users.txt", "bouncer.key", "pgbouncer.ini"):
                shutil.chown(self.dir / name, "postgres", "postgres")
        command = [*UNPRIVILEGED, "pgbouncer", "-q", self.dir / "pgbouncer.ini"]
        bouncer = self.programs.start("PgBouncer", command, self.dir / "pgbouncer.log", SIGINT, cwd="/")
        bouncer.wait_until(lambda: self._answers(port))
        return Contestant("pgbouncer", port, ROLE, self.password, bouncer.pid)

    def _share_verifier(self):
        salt = os.urandom(16)
        client_key, server_key = scram.keys(self.password.encode(), salt, scram.ITERATIONS)
        text = lambda raw: base64.b64encode(raw).decode()  # noqa: E731
        stored = hashlib.sha256(client_key).digest()
        verifier = f"SCRAM-SHA-256${scram.ITERATIONS}:{text(salt)}${text(stored)}:{text(server_key)}"
        self.sql(f"alter role {ROLE} password '{verifier}'")
        return verifier

    def _idp(self):
        command = ["setpriv", "--pdeathsig", "TERM", "node", ROOT / "scripts/bench/idp.mjs"]
        idp = self.programs.start("the identity provider", command, self.dir / "idp.log")
        return idp.wait_until(lambda: idp.find_in_log(r'"issuer":"([^"]+)"'))

    def proxy(self, binary, name="safe-boundary", idle_upstream=None):
        """Starts a Safe Boundary of its own folder. Returns it as a contestant, and the port of its second database,
        behind which stands `idle_upstream` (a port), if there is one."""
        home = Path(tempfile.mkdtemp(prefix="proxy.", dir=self.dir))
        (home / "safe-boundary.toml").write_text(self._config(home, idle_upstream))
        command = ["setpriv", "--pdeathsig", "TERM", binary, "serve", "--config", home / "safe-boundary.toml"]
        proxy = self.programs.start(name, command, home / "log")
        proxy.wait_until(lambda: '"message":"ready"' in proxy.log.read_text())
        listens = r'"message":"listening","address":"127\.0\.0\.1:(\d+)","databases":"%s"'
        ports = [proxy.find_in_log(listens % database) for database in (DATABASE, "idle")]
        return Contestant(name, int(ports[0]), LOGIN, "", proxy.pid), ports[1] and int(ports[1])

    def pipe(self, name, *command):
        """Starts a pipe to the database: a program that takes its port, and prints its own."""
        command = ["setpriv", "--pdeathsig", "TERM", *command]
        pipe = self.programs.start(name, command, self.dir / f"{name}.log")
        port = int(pipe.wait_until(lambda: pipe.find_in_log(r'"port": (\d+)')))
        return Contestant(name, port, ROLE, self.password, pipe.pid)

    def end(self, contestant):
        self.programs.end(next(one for one in self.programs.running if one.pid == contestant.pid))

    def _config(self, home, idle_upstream):
        def database(name, port, more):
            return (
                f'[[database]]\nname = "{name}"\nlisten = "127.0.0.1:{free_port()}"\ndatabases = "{DATABASE}"\n'
                f'upstream = "host=127.0.0.1 port={port} dbname={DATABASE} sslmode=disable"\n'
                f'[[database.role]]\nrole = "{ROLE}"\ngroups = ["{GROUP}"]\n{more}\n'
            )

        text = (
            f'[server]\ntls_cert = "{self.dir}/server.crt"\ntls_key = "{self.dir}/server.key"\n'
            'allow_plaintext = ["127.0.0.0/8"]\ndrain = "0"\nnode = "bench"\n'
            f'[idp]\nissuer = "{self.issuer}"\nclient_id = "safe-boundary"\nscopes = ["openid", "email", "groups"]\n'
            f'[session]\nprompting_programs = ["{LOAD_PROGRAM}"]\n'
            "[limits]\nper_person = 20000\nper_address = 20000\ntotal = 20000\npending_logins = 20000\n"
            f'[audit]\ndir = "{home}/audit"\n'
        )
        text += database(DATABASE, self.postgres_port, f'password = {{ file = "{self.dir}/{ROLE}.password" }}')
        return text + (database("idle", idle_upstream, "") if idle_upstream else "")
