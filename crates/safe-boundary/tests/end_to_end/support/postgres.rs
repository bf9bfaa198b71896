//! A PostgreSQL of the test's own: TLS, SCRAM, the `payments` database, and everything it logs.
//!
//! Promises: the server never outlives the test; its data are prepared once and unpacked for each test.
//! Deliberately not here: how the data are made (`scripts/lib/postgres.sh`).

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::{Lines, Process};
use super::root;
use super::server_log::{self, Entry};

/// What made the template: when one of these is newer, it is made again.
const TEMPLATE_SOURCES: [&str; 4] =
    ["scripts/prepare-stage", "scripts/lib/postgres.sh", "scripts/lib/tls.sh", "scripts/payments.sql"];
/// The certificates in it live for thirty days.
const TEMPLATE_AGE_MAX: Duration = Duration::from_secs(20 * 24 * 3600);

/// A running server.
pub(crate) struct Postgres {
    process: Process,
    log: Lines,
    pub(crate) port: u16,
}

impl Postgres {
    /// Starts the server in `folder`; `log_statements` as `log_statement` wants it: `all` or `none`.
    pub(crate) fn start(folder: &Path, log_statements: &str) -> Self {
        // A port that is free now may be taken in a moment by another test: then the next one.
        (0..5).find_map(|_| Self::start_on(free_port(), folder, log_statements)).expect("PostgreSQL starts")
    }

    fn start_on(port: u16, folder: &Path, log_statements: &str) -> Option<Self> {
        let data = folder.join("data");
        let owner = fs::metadata(&data).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
            let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
        }
        command.arg(bin().join("postgres")).arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let prefix = format!("log_line_prefix={}", server_log::PREFIX);
        let statements = format!("log_statement={log_statements}");
        for setting in [&prefix, &statements, "log_connections=on", "log_disconnections=on"] {
            command.args(["-c", setting]);
        }
        let mut process = Process::start(command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped()));
        let log = Lines::of(process.child().stderr.take().unwrap());
        log.find(|line| line.contains("database system is ready to accept connections").then_some(()))?;
        Some(Self { process, log, port })
    }

    /// Starts it again on its port; its log begins anew.
    pub(crate) fn start_again(&mut self, folder: &Path) {
        *self = Self::start_on(self.port, folder, "all").expect("its port is still free");
    }

    /// How many connections were let in so far; includes those whose end is not awaited.
    pub(crate) fn connections(&self) -> usize {
        self.log.all().iter().filter(|line| line.contains("LOG:  connection authorized: ")).count()
    }

    /// Stops the server and gives all that it has logged.
    pub(crate) fn stop(&mut self) -> Vec<Entry> {
        self.process.signal("INT");
        let lines = self.log.to_end();
        self.process.wait();
        server_log::entries(&lines)
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: run ./test once");
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
    PathBuf::from(format!("/usr/lib/postgresql/{}/bin", newest.expect("a version")))
}

/// A folder with authority, certificates, passwords and a PostgreSQL that is ready to start.
pub(crate) fn unpack_template() -> tempfile::TempDir {
    let folder = folder();
    let template = template();
    let unpacked = Command::new("tar").arg("-xf").arg(template).arg("-C").arg(folder.path()).status().unwrap();
    assert!(unpacked.success(), "the template could not be unpacked");
    // The server's person must be able to reach her folder; nobody can list ours.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("safe-boundary-").tempdir().unwrap()
}

fn template() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = tmp.join("stage.tar");
    let lock = File::create(tmp.join("stage.lock")).unwrap();
    lock.lock().unwrap();
    if is_fresh(&template) {
        return template;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let made = Command::new(root().join("scripts/prepare-stage")).arg(folder.path()).status().unwrap();
    assert!(made.success(), "scripts/prepare-stage failed");
    let unfinished = tmp.join("stage.tar.new");
    let packed =
        Command::new("tar").arg("-cf").arg(&unfinished).arg("-C").arg(folder.path()).arg(".").status().unwrap();
    assert!(packed.success(), "the template could not be packed");
    fs::rename(&unfinished, &template).unwrap();
    template
}

fn is_fresh(template: &Path) -> bool {
    let Ok(made) = fs::metadata(template).and_then(|metadata| metadata.modified()) else { return false };
    let newest =
        TEMPLATE_SOURCES.iter().map(|source| fs::metadata(root().join(source)).unwrap().modified().unwrap()).max();
    let age_ok = made.elapsed().is_ok_and(|age| age < TEMPLATE_AGE_MAX);
    age_ok && newest.is_some_and(|newest| newest < made)
}
