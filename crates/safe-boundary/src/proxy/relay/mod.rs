//! The relay of one bound session: two halves on one thread, sharing the conversation.
//!
//! Promises: client to server waits for the journal; server to client never does, so neither side can starve the other;
//! memory is bounded whatever the sizes of results; the server's work is cancelled when the client vanishes.
//! Deliberately not here: what frames mean (`domain::statement`).

mod buffer;
mod downward;
mod large;
mod upward;
mod when_woken;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::audit::pending::Unrecorded;
use domain::session::ToClient as _;
use domain::statement::conversation::Conversation;
use pgproto::frontend::encode;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::refusal::Refusal;
use super::stream::{self, Stream};
use super::upstream::CancelTarget;
use crate::clock::now;
use crate::metrics::METRICS;
use crate::trail::journal::{AppendError, Journal, Status};
use when_woken::WhenWoken;

/// How long a message to a client that does not read is waited for at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The client said goodbye.
    Goodbye,
    /// The client went away without a word.
    ClientGone,
    /// The client does not answer any more, and nothing can be said to it.
    Vanished,
    /// The client broke the protocol.
    Violation(String),
    /// The server closed the connection; it has told the client why.
    ServerClosed,
    /// The connection to the server broke, or what it says cannot be followed.
    ServerLost(String),
    /// The journal takes no more records.
    JournalStopped,
    /// From outside: time, drain.
    Outside(&'static str),
}

impl Ended {
    /// Why, for the record.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Goodbye => "the client closed the session".to_owned(),
            Self::ClientGone => "the client went away".to_owned(),
            Self::Vanished => "the client vanished: it acknowledges nothing".to_owned(),
            Self::Violation(what) => format!("protocol violation: {what}"),
            Self::ServerClosed => "the database closed the connection".to_owned(),
            Self::ServerLost(why) => format!("the connection to the database was lost: {why}"),
            Self::JournalStopped => "the audit log cannot be written".to_owned(),
            Self::Outside(why) => (*why).to_owned(),
        }
    }

    fn refusal(&self, database: &str) -> Option<Refusal> {
        Some(match self {
            Self::Goodbye | Self::ClientGone | Self::Vanished | Self::ServerClosed => return None,
            Self::Violation(what) => Refusal::Violation(what.clone()),
            Self::ServerLost(_) => Refusal::UpstreamLost(database.to_owned()),
            Self::JournalStopped => Refusal::Journal,
            Self::Outside(why) => Refusal::Ended(why),
        })
    }
}

/// When a session must end although nobody wants it to.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The end of its life.
    pub until: Instant,
    /// Whether the proxy drains.
    pub drain: watch::Receiver<Drain>,
    /// Told when the client is found to have vanished.
    pub vanished: Arc<Notify>,
}

/// How the proxy goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It does not.
    No,
    /// Sessions end when they are between transactions.
    Gently,
    /// Sessions end now.
    Now,
}

impl Drain {
    /// Why sessions end then.
    pub const REASON: &'static str = "the proxy is shutting down";
}

/// What both halves share.
struct Shared<'a> {
    conversation: RefCell<Box<Conversation>>,
    journal: &'a Journal,
    /// The server has answered something the client's half waits for.
    progress: Notify,
    /// The client's half waits for an answer.
    is_waiting: Cell<bool>,
    /// The server's half must stop at the next frame.
    is_ending: Cell<bool>,
    ending: Notify,
    /// The server has nothing to answer any more, or has ended a transaction.
    is_quiet: Notify,
    /// The client has got a part of a message, and nothing else may follow but the rest.
    client_is_within: Cell<bool>,
    /// The server may have got a part of a frame.
    server_is_within: Cell<bool>,
}

impl Shared<'_> {
    /// Gives up what may go up now: at once where it leaves no record, else once its records are durable.
    ///
    /// # Errors
    /// [`AppendError`] when they cannot be made so; the effect is gone then.
    async fn open<T>(&self, effect: Unrecorded<T>) -> Result<T, AppendError> {
        let statements = effect.batch().statements();
        let sealed = match effect.unsealed() {
            Ok(opened) => return Ok(opened),
            Err(sealed) => sealed,
        };
        let opened = self.journal.append(sealed).await?;
        self.settled();
        METRICS.relay().recorded(statements);
        Ok(opened)
    }

    /// The records of what goes up now are durable. What ended before they were is told now: the server may say nothing more.
    fn settled(&self) {
        let mut conversation = self.conversation.borrow_mut();
        conversation.settled();
        conversation.outcomes(now(), |batch| self.journal.note(batch));
    }
}

/// What a relay needs.
#[derive(Debug)]
pub struct Relay<'a> {
    /// The client's connection.
    pub client: Stream,
    /// The server's connection.
    pub server: Stream,
    /// What the server sent already.
    pub leftover: Vec<u8>,
    /// The session's conversation.
    pub conversation: Box<Conversation>,
    /// Where records go.
    pub journal: &'a Journal,
    /// Stops what the server runs.
    pub cancel: CancelTarget,
    /// When it must end.
    pub bounds: Bounds,
    /// The database's name, for messages.
    pub database: &'a str,
}

impl Relay<'_> {
    /// Relays until an end, tells the client why, and records it.
    pub async fn run(self) -> Ended {
        let (client, server) = (stream::Shared::new(self.client), stream::Shared::new(self.server));
        let shared = Shared {
            conversation: RefCell::new(self.conversation),
            journal: self.journal,
            progress: Notify::new(),
            is_waiting: Cell::new(false),
            is_ending: Cell::new(false),
            ending: Notify::new(),
            is_quiet: Notify::new(),
            client_is_within: Cell::new(false),
            server_is_within: Cell::new(false),
        };
        let ended = {
            let upward = pin!(upward::run(&shared, &client, &server));
            let downward = pin!(downward::run(&shared, &server, &client, self.leftover));
            let outside = pin!(outside(&shared, self.bounds));
            let (mut downward, mut outside) = (WhenWoken::new(downward), WhenWoken::new(outside));
            let by_client = tokio::select! {
                biased; // A goodbye explains why the server closes.
                ended = WhenWoken::new(upward) => ended,
                ended = &mut outside => ended,
                ended = &mut downward => ended,
            };
            match by_client {
                // The server has the goodbye too: as ever, it finishes what was sent before it.
                Ended::Goodbye if !shared.conversation.borrow().is_quiet() => tokio::select! {
                    ended = &mut outside => stop(&shared, downward, ended).await,
                    ended = &mut downward => if let Ended::ClientGone = ended { ended } else { Ended::Goodbye },
                },
                // Nobody is there to be told the rest of a message.
                Ended::ServerClosed | Ended::ServerLost(_) | Ended::Vanished | Ended::ClientGone => by_client,
                _ => stop(&shared, downward, by_client).await,
            }
        };
        let mut conversation = shared.conversation.into_inner();
        let was_busy = !conversation.is_quiet();
        // A client must not read a refusal in the middle of a row, nor a server a goodbye in the middle of a statement.
        let refusal = ended.refusal(self.database).filter(|_| !shared.client_is_within.get());
        let is_within = shared.server_is_within.get();
        tokio::join!(farewell(&client, refusal), leave(&server, is_within, was_busy.then_some(self.cancel)));
        // The end of a session is recorded after the fact: nothing waits for it.
        conversation.end(&ended.reason(), now(), |batch| self.journal.note(batch));
        ended
    }
}

/// Lets the server's half come to the end of the message it is in.
async fn stop(shared: &Shared<'_>, downward: impl Future<Output = Ended>, why: Ended) -> Ended {
    shared.is_ending.set(true);
    shared.ending.notify_one();
    let _ = timeout(FAREWELL, downward).await;
    why
}

/// Resolves when the session must end for reasons that are neither the client's nor the server's.
async fn outside(shared: &Shared<'_>, mut bounds: Bounds) -> Ended {
    let is_between_transactions = || shared.conversation.borrow().is_between_transactions();
    let drained = async {
        loop {
            let drain = *bounds.drain.borrow_and_update();
            match drain {
                Drain::Now => return,
                Drain::Gently if is_between_transactions() => return,
                Drain::Gently => {
                    tokio::select! {
                        () = shared.is_quiet.notified() => {}
                        changed = bounds.drain.changed() => if changed.is_err() { return },
                    }
                }
                Drain::No => {
                    if bounds.drain.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    let mut journal = shared.journal.status();
    tokio::select! {
        _ = journal.wait_for(|status| *status == Status::Stopped) => Ended::JournalStopped,
        () = drained => Ended::Outside(Drain::REASON),
        () = bounds.vanished.notified() => Ended::Vanished,
        () = sleep_until(bounds.until) => Ended::Outside("the session has reached its maximum age; connect again to sign in"),
    }
}

/// The last words to the client, if it listens.
async fn farewell(mut client: &stream::Shared, refusal: Option<Refusal>) {
    let mut bytes = Vec::new();
    if let Some(refusal) = refusal {
        refusal.to_client().encode(&mut bytes);
    }
    // A client that does not read is let go.
    let _ = timeout(FAREWELL, async {
        client.write_all(&bytes).await?;
        client.shutdown().await
    })
    .await;
}

/// Ends the server's session; what still runs there for a client that is gone is cancelled.
async fn leave(mut server: &stream::Shared, is_within: bool, cancel: Option<CancelTarget>) {
    // The server may be long in answering; it is asked all the same when the session does not wait any more.
    let cancelled = cancel.map(|cancel| {
        tokio::spawn(async move {
            if let Err(error) = cancel.cancel().await {
                tracing::debug!(%error, "what an ended session ran could not be cancelled");
            }
        })
    });
    let mut bytes = Vec::new();
    if !is_within {
        encode::terminate(&mut bytes);
    }
    let _ = timeout(FAREWELL, async {
        if let Some(cancelled) = cancelled {
            let _ = cancelled.await;
        }
        server.write_all(&bytes).await?;
        server.shutdown().await
    })
    .await;
}
