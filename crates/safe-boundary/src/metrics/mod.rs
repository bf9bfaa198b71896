//! What the process counts about itself, for Prometheus.
//!
//! Promises: counting costs the relay an atomic addition or two on a cache line of its own thread, never a lock; no label
//! holds a person, an address or a statement: the values of labels are in this folder or in the configuration. A scrape
//! reads numbers and waits for nobody.
//! Deliberately not here: deciding anything by these numbers.

mod count;
mod listener;
mod lookout;
mod outcome;
mod process;
mod scrape;
mod text;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use count::{Counter, Counts, Flow, Histogram, Labels, Running};
pub use listener::{Listener, Readiness};
use lookout::Certificate;
pub use lookout::watch;
pub use outcome::{CancelOutcome, ConnectionEnd, IdpOutcome, LoginOutcome, Refused, SessionEnd, UpstreamFailure};

use crate::config::Config;
use crate::idp::Endpoint;
use crate::proxy::upstream;

/// The numbers of this process. There is one process, so there is one of these, and a hook needs nothing handed to it.
pub static METRICS: Metrics = Metrics::new();

/// How many threads count on a cache line of their own; more than that share.
const LANES: usize = 64;

/// Upper bounds in nanoseconds for what a disk or a network nearby does.
const QUICK: &[u64] = &[
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Upper bounds in nanoseconds for requests that leave the machine.
const REMOTE: &[u64] = &[
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Upper bounds in nanoseconds for what people do.
const HUMAN: &[u64] = &[
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    600_000_000_000,
    1_800_000_000_000,
];

/// Upper bounds for records that share a sync.
const RECORDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];

/// All numbers.
#[derive(Debug)]
pub struct Metrics {
    lanes: [Lane; LANES],
    /// Connections of clients, from accepting to closing.
    pub connections: Flow<ConnectionEnd>,
    /// Clients that were told why they go no further.
    pub refusals: Counts<Refused>,
    logins: Flow<LoginOutcome>,
    /// How long they took, by outcome.
    login_wait: [Histogram; LoginOutcome::VALUES.len()],
    /// Cancel requests.
    pub cancels: Counts<CancelOutcome>,
    /// The journal.
    pub journal: Journal,
    /// The identity provider.
    pub idp: Idp,
    /// Panics: each ended one session, or one thread.
    pub panics: Counter,
    certificates: Mutex<Vec<Certificate>>,
    server_certificate_end: Counter,
    setup: OnceLock<Setup>,
    unnamed: Database,
}

/// What is known from the configuration on.
#[derive(Debug)]
struct Setup {
    started: Timestamp,
    databases: Box<[Database]>,
    limits: [(&'static str, u64); 4],
}

/// What one thread counts of its relays: nobody else writes to this cache line.
#[derive(Debug)]
#[repr(align(64))]
pub struct Lane {
    bytes_up: Counter,
    bytes_down: Counter,
    statements: Counter,
    statements_refused: Counter,
}

impl Lane {
    const fn new() -> Self {
        Self {
            bytes_up: Counter::new(),
            bytes_down: Counter::new(),
            statements: Counter::new(),
            statements_refused: Counter::new(),
        }
    }

    /// Bytes went to the server.
    pub fn up(&self, bytes: usize) {
        self.bytes_up.add(bytes as u64);
    }

    /// Bytes went to the client.
    pub fn down(&self, bytes: usize) {
        self.bytes_down.add(bytes as u64);
    }

    /// So many records of statements are durable, and what they are of may go up.
    pub fn recorded(&self, records: usize) {
        self.statements.add(records as u64);
    }

    /// So many statements were refused because they could not be recorded.
    pub fn refused(&self, records: usize) {
        self.statements_refused.add(records as u64);
    }
}

/// What one database of the configuration has.
#[derive(Debug)]
pub struct Database {
    name: String,
    /// Sessions that are relayed.
    pub sessions: Flow<SessionEnd>,
    connect: Histogram,
    failures: Counts<UpstreamFailure>,
}

impl Database {
    const fn new(name: String) -> Self {
        Self { name, sessions: Flow::new(), connect: Histogram::new(REMOTE), failures: Counts::new() }
    }

    /// A session upstream was opened, or was not.
    pub fn connected<T>(&self, result: &Result<T, upstream::Error>, took: Duration) {
        match result {
            Ok(_) => self.connect.took(took),
            Err(error) => self.failures.one(error.into()),
        }
    }
}

/// A sign-in that is under way. If it merely goes away, it was abandoned.
#[derive(Debug)]
#[must_use = "it ends when this goes away"]
pub struct SignIn {
    begun: Instant,
    running: Running<LoginOutcome>,
    times: &'static [Histogram],
}

impl SignIn {
    /// It has ended, and so.
    pub fn end(self, outcome: LoginOutcome) {
        if let Some(histogram) = self.times.get(outcome.place()) {
            histogram.took(self.begun.elapsed());
        }
        self.running.end(outcome);
    }
}

/// What the journal's thread counts.
#[derive(Debug)]
pub struct Journal {
    append: Histogram,
    sync: Histogram,
    batch: Histogram,
    records: Counter,
    bytes: Counter,
    disk_size: Counter,
    disk_free: Counter,
    disk_used: Counter,
}

impl Journal {
    const fn new() -> Self {
        Self {
            append: Histogram::new(QUICK),
            sync: Histogram::new(QUICK),
            batch: Histogram::new(RECORDS),
            records: Counter::new(),
            bytes: Counter::new(),
            disk_size: Counter::new(),
            disk_free: Counter::new(),
            disk_used: Counter::new(),
        }
    }

    /// Records that were handed over then are durable.
    pub fn durable(&self, since: Instant) {
        self.append.took(since.elapsed());
    }

    /// Records were written; they may not be durable yet.
    pub fn wrote(&self, records: u64, bytes: usize) {
        self.records.add(records);
        self.bytes.add(bytes as u64);
    }

    /// A sync made records durable.
    pub fn synced(&self, records: u64, took: Duration) {
        self.sync.took(took);
        self.batch.observe(records);
    }
}

/// What is asked of the identity provider, by endpoint.
#[derive(Debug)]
pub struct Idp {
    requests: [(Histogram, Counts<IdpOutcome>); Endpoint::VALUES.len()],
    keys_fetched: Counter,
}

impl Idp {
    const fn new() -> Self {
        let requests = [const { (Histogram::new(REMOTE), Counts::new()) }; Endpoint::VALUES.len()];
        Self { requests, keys_fetched: Counter::new() }
    }

    /// A request was answered, or was not.
    pub fn asked(&self, endpoint: Endpoint, outcome: impl Into<IdpOutcome>, took: Duration) {
        if let Some((time, outcomes)) = self.requests.get(endpoint.place()) {
            time.took(took);
            outcomes.one(outcome.into());
        }
    }

    /// The provider's keys came.
    pub fn keys_came(&self, now: Timestamp) {
        self.keys_fetched.set(seconds(now));
    }
}

impl Metrics {
    const fn new() -> Self {
        Self {
            lanes: [const { Lane::new() }; LANES],
            connections: Flow::new(),
            refusals: Counts::new(),
            logins: Flow::new(),
            login_wait: [const { Histogram::new(HUMAN) }; LoginOutcome::VALUES.len()],
            cancels: Counts::new(),
            journal: Journal::new(),
            idp: Idp::new(),
            panics: Counter::new(),
            certificates: Mutex::new(Vec::new()),
            server_certificate_end: Counter::new(),
            setup: OnceLock::new(),
            unnamed: Database::new(String::new()),
        }
    }

    /// Learns what the configuration names. A second call changes nothing.
    pub fn prepare(&self, config: &Config, now: Timestamp) {
        let count = |number: usize| number as u64;
        let limits = &config.limits;
        let _ = self.setup.set(Setup {
            started: now,
            databases: config.databases.iter().map(|database| Database::new(database.name.clone())).collect(),
            limits: [
                ("connections", count(limits.total)),
                ("connections_per_address", count(limits.per_address)),
                ("sessions_per_person", count(limits.per_person)),
                ("pending_logins", count(limits.pending_logins)),
            ],
        });
    }

    /// The relays of this thread.
    pub fn relay(&self) -> &Lane {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LANE: usize = NEXT.fetch_add(1, Relaxed) % LANES;
        }
        let [first, ..] = &self.lanes;
        LANE.with(|lane| self.lanes.get(*lane)).unwrap_or(first)
    }

    /// The database with this index in the configuration.
    pub fn database(&'static self, index: usize) -> &'static Database {
        self.setup.get().and_then(|setup| setup.databases.get(index)).unwrap_or(&self.unnamed)
    }

    /// A sign-in begins.
    pub fn sign_in(&'static self) -> SignIn {
        SignIn { begun: Instant::now(), running: self.logins.begin(), times: &self.login_wait }
    }

    /// This certificate is shown to clients from now on.
    pub fn serves_certificate(&self, path: &Path) {
        self.server_certificate_end.set(lookout::ends(path).first().copied().unwrap_or_default());
    }
}

/// Seconds since 1970; nothing here is older.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or_default()
}
