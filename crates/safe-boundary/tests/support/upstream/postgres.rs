//! A real PostgreSQL in a folder of its own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::certificates::{Authority, Says};
use super::{as_postgres, free_port};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Roles that are let in each in its own way; all have the password `secret`.
const HBA: &str = "\
local    all          all                     trust
hostssl  all          tlsonly   127.0.0.1/32  scram-sha-256
host     all          tlsonly   127.0.0.1/32  reject
hostssl  all          plainonly 127.0.0.1/32  reject
host     all          plainonly 127.0.0.1/32  scram-sha-256
host     all          trusted   127.0.0.1/32  trust
host     all          md5       127.0.0.1/32  md5
host     all          cleartext 127.0.0.1/32  password
hostssl  all          certified 127.0.0.1/32  cert
host     replication  all       127.0.0.1/32  trust
host     all          all       127.0.0.1/32  scram-sha-256
";
const SETUP: &str = "\
CREATE ROLE app LOGIN PASSWORD 'secret';
CREATE ROLE tlsonly LOGIN PASSWORD 'secret';
CREATE ROLE plainonly LOGIN PASSWORD 'secret';
CREATE ROLE trusted LOGIN;
CREATE ROLE cleartext LOGIN PASSWORD 'secret';
CREATE ROLE certified LOGIN;
CREATE ROLE crowded LOGIN PASSWORD 'secret' CONNECTION LIMIT 0;
CREATE ROLE reader LOGIN PASSWORD 'secret';
ALTER ROLE reader SET default_transaction_read_only = on;
CREATE ROLE copier LOGIN REPLICATION PASSWORD 'secret';
SET password_encryption = 'md5';
CREATE ROLE md5 LOGIN PASSWORD 'secret';
";

/// A running server.
pub(crate) struct Postgres {
    folder: TempDir,
    pub(crate) port: u16,
}

impl Postgres {
    /// A new server for the host name `db.test`, with TLS by a certificate of `authority`, or without.
    pub(crate) fn start(authority: Option<&Authority>) -> Self {
        let server = Self::folder();
        let initdb = [&format!("{BIN}/initdb"), "-N", "-A", "trust", "-U", "postgres", "-D"];
        run(as_postgres(initdb[0]).args(&initdb[1..]).arg(server.data()));
        server.write("pg_hba.conf", HBA);
        let mut settings = server.settings();
        if let Some(authority) = authority {
            let pair = authority.issue(Says { alternative_names: &["db.test"], ..Says::default() });
            server.write("server.crt", &pair.certificate.pem());
            server.write("server.key", &pair.key.serialize_pem());
            server.write("ca.crt", &authority.certificate.pem());
            settings.push_str("ssl = on\nssl_ca_file = 'ca.crt'\n");
        }
        server.write("postgresql.auto.conf", &settings);
        server.control("start");
        server.admin("postgres", "CREATE DATABASE shop");
        server.admin("postgres", SETUP);
        server
    }

    /// A standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::folder();
        let mut copy = as_postgres(&format!("{BIN}/pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "copier", "-X", "stream", "-c", "fast", "-N", "-R", "-p"]);
        run(copy.arg(self.port.to_string()).arg("-D").arg(standby.data()));
        let mut settings = std::fs::read_to_string(standby.data().join("postgresql.auto.conf")).unwrap();
        settings.push_str(&standby.settings());
        standby.write("postgresql.auto.conf", &settings);
        standby.control("start");
        standby
    }

    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self { folder, port: free_port() };
        std::fs::create_dir(server.data()).unwrap();
        for path in [server.folder.path(), &server.data()] {
            give_to_postgres(path, 0o700);
        }
        server
    }

    fn settings(&self) -> String {
        format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = off\nmax_connections = 30\n",
            self.port,
            self.sockets().display()
        )
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of the Unix socket.
    pub(crate) fn sockets(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, content).unwrap();
        give_to_postgres(&path, 0o600);
    }

    fn control(&self, verb: &str) {
        let mut command = as_postgres(&format!("{BIN}/pg_ctl"));
        command.args(["-w", "-s", "-m", "immediate", "-l"]).arg(self.folder.path().join("log"));
        if verb == "start" {
            // The log goes to the file; an inherited pipe would keep a reader of this test's output waiting.
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            assert!(command.arg("-D").arg(self.data()).arg(verb).status().unwrap().success(), "{}", self.log());
        } else {
            run(command.arg("-D").arg(self.data()).arg(verb));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Runs statements as the superuser.
    pub(crate) fn admin(&self, database: &str, statements: &str) -> String {
        let mut psql = as_postgres(&format!("{BIN}/psql"));
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(self.sockets());
        let output = run(psql.args(["-p", &self.port.to_string(), "-d", database, "-c", statements]));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A connection string for this server, by a name that its certificate has.
    pub(crate) fn conninfo(&self, more: &str) -> String {
        format!("host=db.test hostaddr=127.0.0.1 port={} dbname=shop {more}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.control("stop");
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.current_dir("/").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Hands a path to the account that the servers run as, where we may.
pub(crate) fn give_to_postgres(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let id = |kind| -> u32 {
            let output = run(Command::new("id").args([kind, "postgres"]));
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        std::os::unix::fs::chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}
