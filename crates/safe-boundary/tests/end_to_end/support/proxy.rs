//! The proxy as operators run it: the built program, a configuration file, its log.
//!
//! Promises: a started proxy is ready; it is ended by its id, and can be started again on the same trail.
//! Deliberately not here: what it promises to its clients.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http;
use super::idp::Idp;
use super::postgres::{Postgres, Programs};
use super::process::{Lines, Process, mortal};

/// The line of `[server]` that gives a proxy a port for metrics.
pub(crate) const METRICS_PORT: &str = "metrics = \"127.0.0.1:0\"";

const BINARY: &str = env!("CARGO_BIN_EXE_safe-boundary");

/// What differs between the proxies of tests.
pub(crate) struct Settings {
    pub(crate) prompting_programs: Vec<String>,
    /// Further lines of `[server]`.
    pub(crate) server: &'static str,
    /// `drain` of it.
    pub(crate) drain: &'static str,
    /// Further lines of `[[database]]`, and roles before the others.
    pub(crate) database: &'static str,
    /// `client_id` at the provider: that decides by which key ID tokens are signed.
    pub(crate) client: &'static str,
    /// `log_statement` of the database behind it.
    pub(crate) log_statements: &'static str,
    /// The programs of the PostgreSQL behind it.
    pub(crate) postgres: Programs,
    /// Further lines of `[audit]`.
    pub(crate) audit: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prompting_programs: vec!["psql".to_owned()],
            server: "",
            drain: "1s",
            database: "",
            client: "safe-boundary",
            log_statements: "all",
            postgres: Programs::newest(),
            audit: "",
        }
    }
}

/// The configuration of a proxy between `idp` and `postgres`; paths are relative to the stage's folder.
pub(crate) fn config(postgres: &Postgres, idp: &Idp, settings: &Settings) -> String {
    let Settings { prompting_programs, server, database, drain, client, audit, .. } = settings;
    let (issuer, port) = (&idp.issuer, postgres.port);
    format!(
        r#"
[server]
tls_cert = "server.crt"
tls_key = "server.key"
public_url = "https://boundary.example.com"
node = "test"
drain = "{drain}"
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
{audit}

[[database]]
name = "payments"
listen = "127.0.0.1:0"
upstream = "host=localhost port={port} dbname=payments sslmode=verify-full sslrootcert=ca.crt"
{database}
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
    wrapper: Vec<String>,
    pub(crate) address: SocketAddr,
    /// Where it tells of itself, with [`METRICS_PORT`] among its settings.
    pub(crate) metrics: Option<SocketAddr>,
    /// What it logs.
    pub(crate) log: Lines,
    /// From its start to the first connection that it took, without the time in which the machine was busy with others.
    pub(crate) up_after: Duration,
}

/// A proxy that ended before it was ready.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Proxy {
    /// Starts a proxy with `config` in `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path, config: &str) -> Self {
        Self::start_in(folder, config, Vec::new()).unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    /// As [`Proxy::start`], but started by `wrapper` (variables, a tracer), and it may end instead.
    pub(crate) fn start_in(folder: &Path, config: &str, wrapper: Vec<String>) -> Result<Self, NotStarted> {
        fs::write(folder.join("safe-boundary.toml"), config).unwrap();
        Self::start_again(folder, wrapper)
    }

    /// Starts a proxy on what lies in `folder`, its configuration included.
    pub(crate) fn start_again(folder: &Path, wrapper: Vec<String>) -> Result<Self, NotStarted> {
        // A write beyond a limit of the system fails then, as it does on a broken disk, and does not end the process.
        let mut command = mortal("env");
        command.arg("--ignore-signal=XFSZ").args(&wrapper).arg(BINARY);
        command.arg("serve").arg("--config").arg(folder.join("safe-boundary.toml")).stderr(Stdio::piped());
        let (started, own_wait) = (Instant::now(), waited("thread-self"));
        let mut process = Process::start(&mut command);
        let log = Lines::of(process.child().stderr.take().unwrap());
        let address = log.find(|line| said(line, "listening")?["address"].as_str()?.parse::<SocketAddr>().ok());
        let ready = log.find(|line| said(line, "ready"));
        let (Some(address), Some(_)) = (address, ready) else {
            return Err(NotStarted { code: process.wait().code(), log: log.to_end().join("\n") });
        };
        TcpStream::connect(address).unwrap();
        let others = waited(&process.id().to_string()).max(waited("thread-self").saturating_sub(own_wait));
        let (folder, up_after) = (folder.to_owned(), started.elapsed().saturating_sub(others));
        let metrics = log.all().iter().find_map(|line| {
            let listening = said(line, "listening")?;
            listening["paths"].as_str()?;
            listening["address"].as_str()?.parse().ok()
        });
        Ok(Self { process, folder, wrapper, address, metrics, log, up_after })
    }

    /// As kill -9 does it, and then from the beginning on what lies on disk.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        let started = Self::start_again(&self.folder, self.wrapper.clone());
        *self = started.unwrap_or_else(|ended| panic!("{ended:?}"));
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn drain(&mut self) -> i32 {
        self.begin_drain();
        self.end_of_drain()
    }

    /// Asks it to stop.
    pub(crate) fn begin_drain(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it has stopped.
    pub(crate) fn end_of_drain(&mut self) -> i32 {
        self.process.wait().code().unwrap_or(-1)
    }

    /// From now on it cannot write beyond the first bytes of any file.
    pub(crate) fn break_writes(&self) {
        let pid = self.process.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=4096"]).status().unwrap();
        assert!(limited.success(), "the process could not be limited");
    }

    /// What `/metrics`, `/healthz` or `/readyz` says: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let answer = http::request(&self.metrics_authority(), "GET", path, "").unwrap();
        (answer.status, answer.body)
    }

    /// Where [`Proxy::get`] asks.
    pub(crate) fn metrics_authority(&self) -> String {
        self.metrics.expect("this proxy has a port for metrics").to_string()
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

/// How long a thread could have run, but no processor was free.
fn waited(thread: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// The fields of a log line that says `message`.
pub(crate) fn said(line: &str, message: &str) -> Option<Value> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let fields = if line["fields"].is_object() { line["fields"].take() } else { line };
    (fields["message"] == message).then_some(fields)
}
