//! Cancelling what a session runs: because somebody asks, or because the session is no more.
//!
//! Promises: a request is on record, or counted, whatever it says; it reaches only the session whose secret it names.
//! Deliberately not here: the requests to servers (`proxy/upstream/cancel.rs`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::audit::pending::Unrecorded;
use domain::session::{Client, cancel_record};
use tokio::io::AsyncWriteExt as _;

use super::Proxy;
use crate::causes;
use crate::clock::now;
use crate::metrics::{CancelOutcome, METRICS};
use crate::proxy::cancel;
use crate::proxy::network::Network;
use crate::proxy::refused::What;
use crate::proxy::stream::Stream;
use crate::proxy::upstream::CancelTarget;

/// How many wrong secrets of four bytes an address may send in each [`GUESSES_WINDOW`].
pub(super) const GUESSES: usize = 10;
pub(super) const GUESSES_WINDOW: Duration = Duration::from_secs(1);

/// What a session runs must not outlive it, also when a mistake of ours ends it.
pub(super) struct CancelOnPanic(pub(super) CancelTarget);

impl Drop for CancelOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cancel = self.0.clone();
            tokio::spawn(async move { cancel.cancel().await });
        }
    }
}

/// Carries out a cancel request, once it is recorded.
pub(super) async fn answer(proxy: &Proxy, mut stream: Stream, peer: SocketAddr, pid: i32, secret: &[u8]) {
    let network = Network::of(peer.ip());
    // Who guesses is not listened to for the rest of the second; each try is on record all the same. A long secret cannot
    // be guessed: it is looked up always, so that nobody's guesses drown the cancel of somebody else.
    let is_long = cancel::is_long(secret);
    let is_heard = is_long || proxy.guesses.allows(&network, Instant::now());
    let found = if is_heard { proxy.cancels.find(pid, secret) } else { None };
    let client = Client { address: peer, program: None, tls: stream.tls_version(), login: String::new() };
    let session = found.as_ref().map(|found| found.session);
    let batch = cancel_record(&mut proxy.ink(), &client, session, pid, now());
    METRICS.cancels.one(match found {
        None => {
            if !is_long {
                proxy.guesses.missed(network, Instant::now());
            }
            if proxy.refused.is_recorded(What::Cancel, network) {
                proxy.journal.note(batch);
            }
            if is_heard { CancelOutcome::Unknown } else { CancelOutcome::Ignored }
        }
        Some(found) => match proxy.journal.append(Unrecorded::new(batch, found.target)).await {
            Err(_) => CancelOutcome::Unrecorded,
            Ok(target) => match target.cancel().await {
                Ok(()) => CancelOutcome::Sent,
                Err(error) => {
                    tracing::warn!(login = %found.login, database = %found.database, error = %causes::line(&error), "cancel failed");
                    CancelOutcome::Failed
                }
            },
        },
    });
    // As PostgreSQL: no answer, but closed in order (a client on TLS waits for close_notify).
    let _ = stream.shutdown().await;
}
