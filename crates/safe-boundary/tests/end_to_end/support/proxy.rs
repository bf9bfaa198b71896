//! The proxy as operators run it: the built program, a configuration file, its log.
//!
//! Promises: a started proxy is ready; it is ended by its id, and can be started again on the same trail.
//! Deliberately not here: what it promises to its clients.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::idp::Idp;
use super::postgres::Postgres;
use super::process::{Lines, Process, mortal};

const BINARY: &str = env!("CARGO_BIN_EXE_safe-boundary");

/// What differs between the proxies of tests.
pub(crate) struct Settings {
    pub(crate) prompting_programs: Vec<String>,
    /// Further lines of `[server]`.
    pub(crate) server: &'static str,
    /// `client_id` at the provider: that decides by which key ID tokens are signed.
    pub(crate) client: &'static str,
    /// `log_statement` of the database behind it.
    pub(crate) log_statements: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { prompting_programs: vec!["psql".to_owned()], server: "", client: "safe-boundary", log_statements: "all" }
    }
}

/// The configuration of a proxy between `idp` and `postgres`; paths are relative to the stage's folder.
pub(crate) fn config(postgres: &Postgres, idp: &Idp, settings: &Settings) -> String {
    let Settings { prompting_programs, server, client, .. } = settings;
    let (issuer, port) = (&idp.issuer, postgres.port);
    format!(
        r#"
[server]
tls_cert = "server.crt"
tls_key = "server.key"
public_url = "https://boundary.example.com"
node = "test"
drain = "1s"
{server}

[idp]
preset = "generic"
issuer = "{issuer}"
client_id = "{client}"
scopes = ["openid", "email", "groups", "offline_access"]

[session]
prompting_programs = {prompting_programs:?}

[audit]
dir = "audit"

[[database]]
name = "payments"
listen = "127.0.0.1:0"
upstream = "host=localhost port={port} dbname=payments sslmode=verify-full sslrootcert=ca.crt"

[[database.role]]
role = "payments_rw"
groups = ["on-call"]
password = {{ file = "payments_rw.password" }}

[[database.role]]
role = "payments_ro"
groups = ["engineering"]
password = {{ file = "payments_ro.password" }}
"#
    )
}

/// A running proxy.
pub(crate) struct Proxy {
    process: Process,
    folder: PathBuf,
    /// What it says to its operator.
    #[allow(dead_code, reason = "not every binary of tests reads it")]
    pub(crate) log: Lines,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy with `config` in `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path, config: &str) -> Self {
        fs::write(folder.join("safe-boundary.toml"), config).unwrap();
        Self::start_again(folder)
    }

    fn start_again(folder: &Path) -> Self {
        let mut command = mortal(BINARY);
        command.arg("serve").arg("--config").arg(folder.join("safe-boundary.toml")).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let log = Lines::of(process.child().stderr.take().unwrap());
        let address = log.wait_for(|line| said(line, "listening")?["address"].as_str()?.parse().ok());
        log.wait_for(|line| said(line, "ready"));
        Self { process, folder: folder.to_owned(), log, address }
    }

    /// As kill -9 does it, and then from the beginning on what lies on disk.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        *self = Self::start_again(&self.folder.clone());
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn drain(&mut self) -> i32 {
        self.process.signal("TERM");
        self.process.wait().code().unwrap_or(-1)
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sets the peak back to what it has now.
    pub(crate) fn reset_peak_memory(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// `safe-boundary audit …` on its trail.
    pub(crate) fn audit(&self, arguments: &[&str]) -> Output {
        let dir = self.folder.join("audit");
        Command::new(BINARY).arg("audit").arg("--dir").arg(dir).args(arguments).output().unwrap()
    }
}

/// The fields of a log line that says `message`.
fn said(line: &str, message: &str) -> Option<Value> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let fields = if line["fields"].is_object() { line["fields"].take() } else { line };
    (fields["message"] == message).then_some(fields)
}
