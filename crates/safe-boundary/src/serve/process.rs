//! Starting and stopping the process that serves.
//!
//! Promises: it says `ready` only when it takes connections; on SIGTERM, SIGINT or SIGHUP running transactions may
//! end within the drain time; the journal is closed last.
//! Deliberately not here: what happens to a connection.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use domain::audit::id::IdSource;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Proxy, cancelling, connection};
use crate::cli::exit::{Exit, Failure};
use crate::clock::now;
use crate::config::{Config, secret};
use crate::descriptors;
use crate::entropy;
use crate::idp::IdpClient;
use crate::metrics::{self, METRICS};
use crate::proxy::cancel::CancelRegistry;
use crate::proxy::listen::{self, Arrival, Port, Workers};
use crate::proxy::pace::Pace;
use crate::proxy::refused::Refused;
use crate::proxy::relay::Drain;
use crate::proxy::sign_ins::SignIns;
use crate::proxy::tally::Tallies;
use crate::proxy::tls;
use crate::proxy::vanished::Vanished;
use crate::trail::journal::{self, Journal};
use crate::version::VERSION;

/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(5);

/// How often it is told how many strangers were refused, when they were many.
const REFUSED_TOLD: Duration = Duration::from_secs(60);

/// How long sessions have for their last words once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Serves until a signal says stop.
///
/// # Errors
/// When it cannot begin: a listener, the certificate, a secret, the journal, the IdP's settings.
pub fn run(config: Config) -> Result<Exit, Failure> {
    for source in config.secrets() {
        secret::can_come(source).map_err(|error| Failure::Usage(Box::new(error)))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(running)?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<Exit, Failure> {
    // Signals first: one that comes while we begin must not be lost.
    let mut ends = Ends::new().map_err(running)?;
    let (cert, key) = (config.server.tls_cert.clone(), config.server.tls_key.clone());
    let drain_time = config.server.drain;
    let (drain, draining) = watch::channel(Drain::No);
    let (descriptors, needed) = (descriptors::raise(), descriptors::needed(config.limits.total));
    if descriptors < needed {
        tracing::warn!(
            descriptors,
            needed,
            "fewer file descriptors than limits.total connections need: raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    METRICS.prepare(&config, now());
    let listeners = bind(&config)?;
    let watched = bind_metrics(&config)?;
    let journal = open_journal(&config)?;
    let readiness = metrics::Readiness { journal: journal.clone(), drain: draining.clone() };
    let lookout = metrics::watch(config.clone());
    // An end in order, in the trail too.
    let proxy = Arc::new(proxy(config, journal.clone(), draining).inspect_err(|_| journal.close())?);

    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let workers = {
        let proxy = Arc::clone(&proxy);
        let serve = move |arrival: Arrival| one(Arc::clone(&proxy), arrival, alive.clone());
        // One core is the journal's: what its thread waits for, everybody waits for.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Arc::new(Workers::start(cores.saturating_sub(1).max(1), serve).map_err(running)?)
    };
    let mut tasks = JoinSet::new();
    for (listener, port) in listeners {
        let workers = Arc::clone(&workers);
        tasks.spawn(async move { listen::accept(&listener, &port, &workers).await });
    }
    tasks.spawn(tell_refused(Arc::clone(&proxy)));
    // Until the very end: whoever watches wants to know how the drain goes, and who vanishes during it is noticed as ever.
    let mut watching = JoinSet::new();
    watching.spawn(proxy.vanished.clone().run());
    if let Some(socket) = watched {
        watching.spawn(metrics::Listener { socket, readiness }.serve());
        watching.spawn(lookout);
    }
    tasks.spawn(watch_certificate(Arc::clone(&proxy), cert, key));
    if cfg!(feature = "unaudited-bench") {
        tracing::error!("this build records nothing; it is for measuring only");
    }
    tracing::info!(version = VERSION, epoch = journal.epoch(), "ready");
    // Not under systemd: nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    ends.one().await;
    tracing::info!(within_s = drain_time.as_secs(), "draining");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tasks.shutdown().await;
    drop(workers);
    let _ = drain.send(Drain::Gently);
    if tokio::time::timeout(drain_time, all_gone.recv()).await.is_err() {
        let _ = drain.send(Drain::Now);
        let _ = tokio::time::timeout(LAST_WORDS, all_gone.recv()).await;
    }
    proxy.tell_refused();
    journal.close();
    tracing::info!("stopped");
    Ok(Exit::Fine)
}

/// The signals that end the proxy, gently.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone, or somebody hopes for a reload: neither may cut a transaction.
    hangup: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let [terminate, interrupt, hangup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)?, hangup: signal(hangup)? })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// One connection on its worker; `_alive` is let go when it is over.
async fn one(proxy: Arc<Proxy>, arrival: Arrival, _alive: mpsc::Sender<()>) {
    match arrival.into_stream() {
        Ok((stream, peer, port)) => connection(&proxy, stream, peer, &port).await,
        Err(error) => tracing::debug!(%error, "a connection broke at once"),
    }
}

/// One port for each address, with all databases that name it. Port 0 means any free one: never the same.
fn ports(addresses: impl Iterator<Item = SocketAddr>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for (index, address) in addresses.enumerate() {
        match ports.iter_mut().find(|port| port.address == address && address.port() != 0) {
            Some(port) => port.databases.push(index),
            None => ports.push(Port { address, databases: vec![index] }),
        }
    }
    ports
}

/// A listener for each port.
fn bind(config: &Config) -> Result<Vec<(TcpListener, Arc<Port>)>, Failure> {
    let mut listeners = Vec::new();
    for port in ports(config.databases.iter().map(|database| database.listen)) {
        let failed = |source| Failure::Running(Box::new(BindError { address: port.address, source }));
        let listener = listen::bind(port.address).map_err(failed)?;
        let address = listener.local_addr().map_err(running)?;
        let names: Vec<_> = port.databases.iter().filter_map(|index| config.databases.get(*index)).collect();
        let names = names.iter().map(|database| database.name.as_str()).collect::<Vec<_>>().join(",");
        tracing::info!(%address, databases = names, "listening");
        listeners.push((listener, Arc::new(port)));
    }
    Ok(listeners)
}

/// The port for machines that watch, if there is one.
fn bind_metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = config.server.metrics else { return Ok(None) };
    let listener = listen::bind(address).map_err(|source| Failure::Running(Box::new(BindError { address, source })))?;
    tracing::info!(address = %listener.local_addr().map_err(running)?, paths = "/metrics, /healthz, /readyz", "listening");
    Ok(Some(listener))
}

/// A listener's address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn open_journal(config: &Config) -> Result<Journal, Failure> {
    let mut options = journal::Options::new(config.server.node.clone());
    options.segment_bytes = config.audit.segment_bytes;
    let (journal, recovery) = Journal::open(&config.audit.dir, options, IdSource::new(entropy::seed()))
        .map_err(|error| Failure::Running(Box::new(error)))?;
    if let Some(torn) = &recovery.torn {
        tracing::warn!(index = torn.index, bytes = torn.bytes, file = %torn.file.display(), "the journal's torn tail was put aside");
    }
    Ok(journal)
}

fn proxy(config: Config, journal: Journal, drain: watch::Receiver<Drain>) -> Result<Proxy, Failure> {
    let tls = tls::server_config(&config.server.tls_cert, &config.server.tls_key)
        .map_err(|error| Failure::Usage(Box::new(error)))?;
    METRICS.serves_certificate(&config.server.tls_cert);
    let idp = IdpClient::new(&config.idp).map_err(|error| Failure::Usage(Box::new(error)))?;
    let mappings = config.databases.iter().map(|database| config.mappings(database)).collect();
    Ok(Proxy {
        mappings,
        node: config.server.node.as_str().into(),
        journal,
        idp,
        cancels: CancelRegistry::default(),
        tallies: Tallies::new(&config.limits),
        sign_ins: SignIns::new(&config.limits, Instant::now()),
        guesses: Pace::new(cancelling::GUESSES, cancelling::GUESSES_WINDOW, Instant::now()),
        refused: Refused::default(),
        vanished: Vanished::default(),
        tls: RwLock::new(tls),
        drain,
        config,
    })
}

/// Each minute, how many more were refused than have a record each.
async fn tell_refused(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(REFUSED_TOLD).await;
        proxy.tell_refused();
    }
}

/// Takes a new certificate when its files change; running sessions keep theirs. A bad one changes nothing.
async fn watch_certificate(proxy: Arc<Proxy>, cert: std::path::PathBuf, key: std::path::PathBuf) {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let look = || -> (Option<SystemTime>, Option<SystemTime>) { (changed(&cert), changed(&key)) };
    let mut known = look();
    let mut told = None;
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK).await;
        let seen = look();
        if seen == known {
            told = None;
            continue;
        }
        match tls::server_config(&cert, &key) {
            Ok(config) => {
                (known, told) = (seen, None);
                *proxy.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
                METRICS.serves_certificate(&cert);
                tracing::info!(cert = %cert.display(), "the certificate was read again");
            }
            // It is tried again: what was in its way, such as the key's permissions, may go without a trace in the files.
            Err(error) => {
                let why = Some((seen, error.to_string()));
                if told != why {
                    tracing::error!(%error, "the new certificate cannot be used; the old one stays");
                }
                told = why;
            }
        }
    }
}

fn running(error: io::Error) -> Failure {
    Failure::Running(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_share_an_address_but_not_any_free_one() {
        let addresses = ["127.0.0.1:6432", "127.0.0.1:0", "127.0.0.1:6432", "127.0.0.1:0", "127.0.0.2:6432"];
        let ports = ports(addresses.iter().map(|address| address.parse().unwrap()));
        let databases: Vec<_> = ports.into_iter().map(|port| port.databases).collect();
        assert_eq!(databases, [vec![0, 2], vec![1], vec![3], vec![4]]);
    }
}
