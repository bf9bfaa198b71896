//! A real PgBouncer before a server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::postgres::{Postgres, give_to_postgres};
use super::{as_postgres, free_port};

/// A running pooler.
pub(crate) struct Bouncer {
    _folder: TempDir,
    pub(crate) port: u16,
    process: Child,
    pid: String,
}

impl Bouncer {
    /// A pooler in this mode, with further settings.
    pub(crate) fn start(server: &Postgres, mode: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let at = folder.path().display();
        let config = format!(
            "[databases]\nshop = host=127.0.0.1 port={} dbname=shop\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {at}/users\n\
             pidfile = {at}/pid\npool_mode = {mode}\n{more}\n",
            server.port
        );
        for (name, content) in [("ini", config.as_str()), ("users", "\"app\" \"secret\"\n")] {
            std::fs::write(folder.path().join(name), content).unwrap();
            give_to_postgres(&folder.path().join(name), 0o600);
        }
        give_to_postgres(folder.path(), 0o700);
        let mut command = as_postgres("/usr/sbin/pgbouncer");
        command.arg(folder.path().join("ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let up = lines.by_ref().map(Result::unwrap).find(|line| line.contains("process up"));
        assert!(up.is_some(), "pgbouncer did not start");
        // What it goes on to say must go somewhere, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().to_owned();
        Self { _folder: folder, port, process, pid }
    }

    pub(crate) fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} dbname=shop sslmode=disable", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // The pooler itself, not `runuser` before it, which then ends too.
        let killed = std::process::Command::new("kill").arg(&self.pid).status();
        assert!(killed.is_ok_and(|status| status.success()));
        self.process.wait().unwrap();
    }
}
