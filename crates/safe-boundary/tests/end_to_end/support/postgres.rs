//! A PostgreSQL of the test's own: TLS, SCRAM, the `payments` database, and everything it logs.
//!
//! Promises: the server never outlives the test; its data are prepared once and unpacked for each test.
//! Deliberately not here: how the data are made (`scripts/lib/postgres.sh`).

use std::fs::{self, File};
use std::io::Write as _;
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

/// What the server logs besides statements: sessions, and every parameter whole, of what fails too.
const LOGGED: [&str; 4] = [
    "log_connections=on",
    "log_disconnections=on",
    "log_parameter_max_length=-1",
    "log_parameter_max_length_on_error=-1",
];

/// Where the programs of one PostgreSQL lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs(PathBuf);

/// The role that may do everything; its password stands in `postgres.password`.
pub(crate) const KEEPER: &str = "postgres";

impl Programs {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Those in `folder`: `postgres`, `initdb`.
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The newest that Debian's packages brought.
    pub(crate) fn newest() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: run ./test once");
        let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
        Self(format!("/usr/lib/postgresql/{}/bin", newest.expect("a version")).into())
    }

    /// A file name of its own for what is made with these.
    fn label(&self) -> String {
        self.0.to_string_lossy().chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
    }
}

/// A running server.
pub(crate) struct Postgres {
    process: Process,
    log: Lines,
    pub(crate) port: u16,
}

impl Postgres {
    /// Starts the server in `folder`; `log_statements` as `log_statement` wants it: `all` or `none`.
    pub(crate) fn start(folder: &Path, programs: &Programs, log_statements: &str) -> Self {
        // A port that is free now may be taken in a moment by another test: then the next one.
        (0..5).find_map(|_| Self::start_on(free_port(), folder, programs, log_statements)).expect("PostgreSQL starts")
    }

    fn start_on(port: u16, folder: &Path, programs: &Programs, log_statements: &str) -> Option<Self> {
        let data = folder.join("data");
        let owner = fs::metadata(&data).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
            let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
        }
        command.arg(programs.0.join("postgres")).arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let prefix = format!("log_line_prefix={}", server_log::PREFIX);
        let statements = format!("log_statement={log_statements}");
        for setting in [&prefix, &statements].into_iter().map(String::as_str).chain(LOGGED) {
            command.args(["-c", setting]);
        }
        // A file: of what several sessions write to one pipe, long entries would be torn.
        let path = folder.join(format!("postgres-{port}.log"));
        let file = File::options().create(true).append(true).open(&path).unwrap();
        let process = Process::start(command.current_dir("/").stdout(Stdio::null()).stderr(file));
        let log = followed(&path, process.id());
        log.find(|line| line.contains("database system is ready to accept connections").then_some(()))?;
        Some(Self { process, log, port })
    }

    /// Starts it again on its port; its log goes on.
    #[allow(dead_code, reason = "not every binary of tests needs it")]
    pub(crate) fn start_again(&mut self, folder: &Path) {
        *self = Self::start_on(self.port, folder, &Programs::newest(), "all").expect("its port is still free");
    }

    /// How many connections were let in so far; includes those whose end is not awaited.
    pub(crate) fn connections(&self) -> usize {
        self.log.all().iter().filter(|line| line.contains("LOG:  connection authorized: ")).count()
    }

    /// Waits until every session that was let in is over, and gives all that it has logged so far.
    pub(crate) fn log_when_idle(&self) -> Vec<Entry> {
        self.log.wait_until(|lines| {
            let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
            count("LOG:  connection authorized: ") == count("LOG:  disconnection: ")
        });
        server_log::entries(&self.log.all())
    }

    /// The lines that it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Stops the server and gives all that it has logged.
    pub(crate) fn stop(&mut self) -> Vec<Entry> {
        self.process.signal("INT");
        self.process.wait();
        server_log::entries(&self.log.to_end())
    }
}

/// The lines of a file that the process `writer` writes; they end with it.
fn followed(path: &Path, writer: u32) -> Lines {
    let mut tail = Command::new("tail");
    tail.args(["--follow", "--bytes=+1", "--sleep-interval=0.1"]).arg(format!("--pid={writer}")).arg(path);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let lines = Lines::of(tail.stdout.take().unwrap());
    std::thread::spawn(move || tail.wait());
    lines
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder with authority, certificates, passwords and a PostgreSQL that is ready to start.
pub(crate) fn unpack_template(programs: &Programs) -> tempfile::TempDir {
    let folder = folder();
    let template = template(programs);
    let unpacked = Command::new("tar").arg("-xf").arg(template).arg("-C").arg(folder.path()).status().unwrap();
    assert!(unpacked.success(), "the template could not be unpacked");
    // The server's person must be able to reach her folder; nobody can list ours.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Lets the roles in without TLS as well.
pub(crate) fn allow_plain(folder: &Path) {
    let line = "\nhost all payments_rw,payments_ro 127.0.0.1/32 scram-sha-256\n";
    let mut file = File::options().append(true).open(folder.join("data/pg_hba.conf")).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("safe-boundary-").tempdir().unwrap()
}

fn template(programs: &Programs) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = tmp.join(format!("stage{}.tar", programs.label()));
    let lock = File::create(template.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if is_fresh(&template) {
        return template;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let mut prepare = Command::new(root().join("scripts/prepare-stage"));
    let made = prepare.arg(folder.path()).env("SB_POSTGRES_BIN", &programs.0).status().unwrap();
    assert!(made.success(), "scripts/prepare-stage failed");
    let unfinished = template.with_extension("new");
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
