//! What does this Execute actually run? Statements, portals and transaction status of one session.
//!
//! Promises: names mean what they mean in the server, under pipelining too. A name changes when the server says so
//! (ParseComplete, CloseComplete), not when the client asks; where the answer is open, the client's next frame waits.
//! Every key that was put in flight, and not refused, comes back once as [`Finished`]; that of an Execute once more where
//! what it did does not hold, or may not.
//! Deliberately not here: IO, records, and what code inside the server (functions, DO) does to names unseen; where a
//! text shows that it may, names are marked uncertain.
//!
//! Source: PostgreSQL documentation, "Message Flow" and "Message Formats"; the server's `ignore_till_sync` rule.

pub mod answers;
mod by_name;
mod changing;
mod names;
mod outcome;
mod portals;
mod refusing;
mod renaming;
mod requests;
mod skipping;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::backend::TransactionStatus;
use crate::budget::{Budget, Counted};
use by_name::ByName;
use changing::Changing;
pub use names::TextFacts;
use outcome::Told;
pub use outcome::{Failure, Finished, Outcome};
use portals::Portals;
use skipping::Skipping;

/// How many requests may be in flight. Each brings at least five bytes of answer, and a server keeps far fewer bytes
/// than these bring before it sends them: who waits here always gets on, without a Flush.
const IN_FLIGHT_MAX: usize = 32 * 1024;

/// How many OIDs of parameter types a session keeps, 4 MiB of them. Of statements beyond that the types are not known.
const TYPES_MAX: usize = 1024 * 1024;

/// A statement as it was prepared: by Parse, or by PREPARE in SQL.
#[derive(Debug)]
pub struct Prepared<T> {
    /// Its text, in whatever form the caller keeps it.
    pub text: T,
    /// Parameter type OIDs; 0 where not known. Filled by Parse, completed by ParameterDescription.
    types: RefCell<Option<Counted<u32>>>,
    facts: TextFacts,
}

/// A statement with parameters, ready to run.
#[derive(Debug)]
pub struct Portal<T, P> {
    /// What it runs; none when its name could not be resolved.
    pub statement: Option<Rc<Prepared<T>>>,
    /// The name under which the statement was bound.
    pub statement_name: Rc<[u8]>,
    /// The parameters, in whatever form the caller keeps them; none for SQL cursors.
    pub params: Option<P>,
    /// False when code inside the server may have changed what the statement's name means.
    pub certain: bool,
}

/// What an Execute will run.
#[derive(Debug)]
pub struct Running<T, P> {
    /// The portal.
    pub portal: Rc<Portal<T, P>>,
    /// False when code inside the server may have changed what a name on the way means.
    pub certain: bool,
}

/// What a name means, and whether code inside the server may have changed that unseen.
#[derive(Debug)]
struct Named<V> {
    value: Rc<V>,
    certain: bool,
    /// How often names of its kind had been in doubt when it got this one.
    doubts: u64,
}

impl<V> Clone for Named<V> {
    fn clone(&self) -> Self {
        Self { value: Rc::clone(&self.value), ..*self }
    }
}

/// What to do with a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<A = ()> {
    /// Send it up.
    Pass(A),
    /// Not now: ask again after the server's next answer. Nothing has changed.
    Wait,
    /// Do not send it up: the server would ignore it.
    Drop,
}

impl<A> Step<A> {
    /// The same step with something else to tell.
    pub fn map<B>(self, tell: impl FnOnce(A) -> B) -> Step<B> {
        match self {
            Self::Pass(told) => Step::Pass(tell(told)),
            Self::Wait => Step::Wait,
            Self::Drop => Step::Drop,
        }
    }
}

/// Why something of ours fails in the place of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its record could not be written.
    Unrecorded,
    /// It is not allowed.
    Denied,
}

/// Where in the order of frames something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// The server sent a message that nothing in flight explains.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unexpected `{0}` from the server")]
pub struct OutOfStep(pub &'static str);

/// A client message that PostgreSQL does not take at this point.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unexpected `{0}` during COPY from the client")]
pub struct DuringCopy(pub &'static str);

#[derive(Debug)]
enum Request<K, T, P> {
    Query {
        key: K,
        told: Told,
        facts: TextFacts,
        text: T,
    },
    Parse {
        key: K,
        name: Rc<[u8]>,
        statement: Rc<Prepared<T>>,
    },
    Bind {
        /// Only where it has a record of its own.
        key: Option<K>,
        name: Rc<[u8]>,
        portal: Rc<Portal<T, P>>,
    },
    Describe {
        statement: Option<Rc<Prepared<T>>>,
    },
    Execute {
        key: K,
        statement: Option<Rc<Prepared<T>>>,
        /// The Bind that it has one record with.
        bind: Option<Mark>,
    },
    CloseStatement {
        name: Rc<[u8]>,
    },
    ClosePortal {
        name: Rc<[u8]>,
    },
    /// Its result may have come; whether it holds tells the commit, and so what comes then.
    Function {
        key: K,
        has_result: bool,
    },
    /// Nothing answers it but an error: whatever is read last, a timeout or the like may end the group there.
    Flush,
    /// An error at its commit is told of the last Execute before it.
    Sync,
    /// Something of ours that fails in the server, in the place of a refused frame.
    Refused {
        ends_with_ready: bool,
    },
    /// All is told but the ReadyForQuery.
    Ready,
}

#[derive(Debug)]
struct InFlight<K, T, P> {
    mark: Mark,
    /// Requests between two Syncs are one group: after an error the rest of the group is skipped.
    group: u64,
    /// Its error is told as ours: the proxy made it fail.
    refused: Option<Refused>,
    request: Request<K, T, P>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyIn {
    No,
    /// The server waits for data; `held_sync`: a Sync came that it would swallow, and no data after that.
    Yes {
        held_sync: bool,
    },
}

/// The tracker of one session. `K`: the caller's key of a request; `T`: statement text; `P`: parameters.
#[derive(Debug)]
pub struct Tracker<K, T, P> {
    in_flight: VecDeque<InFlight<K, T, P>>,
    changing: Changing,
    statements: ByName<Named<Prepared<T>>>,
    portals: Portals<Named<Portal<T, P>>>,
    status: TransactionStatus,
    copy_in: CopyIn,
    /// Frames wait until this request has ended or has begun a COPY from the client.
    fence: Option<Mark>,
    /// An error may have been of a Flush or of what stands behind it: ReadyForQuery follows at once, or never.
    is_in_doubt: bool,
    flush_wanted: bool,
    /// A Sync that was held back during a COPY must still go up, because the COPY failed.
    sync_owed: bool,
    group: u64,
    /// Something has come of the group, and its Sync has not.
    is_within_group: bool,
    /// The last Execute that was answered, and whose ReadyForQuery was not: what it did may still be undone.
    unsettled: Option<K>,
    next_mark: u64,
    /// How often all names of statements that SQL can write have come into doubt.
    statement_doubts: u64,
    /// The same of portals.
    portal_doubts: u64,
    /// Something has been prepared, or has run, that may change names unseen: SQL's EXECUTE may run it.
    hides: bool,
    /// Until the transaction has ended, names that SQL can write may change unseen.
    runs_at_end: bool,
    skipping: Option<Skipping<T, P>>,
    types: Budget,
    finished: Vec<Finished<K>>,
    /// Position in the server's byte stream up to which bytes are already attributed.
    attributed: u64,
}

impl<K: Copy, T: Clone, P> Default for Tracker<K, T, P> {
    fn default() -> Self {
        Self {
            in_flight: VecDeque::new(),
            changing: Changing::default(),
            statements: ByName::default(),
            portals: Portals::default(),
            status: TransactionStatus::Idle,
            copy_in: CopyIn::No,
            fence: None,
            is_in_doubt: false,
            flush_wanted: false,
            sync_owed: false,
            group: 0,
            is_within_group: false,
            unsettled: None,
            next_mark: 0,
            statement_doubts: 0,
            portal_doubts: 0,
            hides: false,
            runs_at_end: false,
            skipping: None,
            types: Budget::new(TYPES_MAX),
            finished: Vec::new(),
            attributed: 0,
        }
    }
}

impl<K: Copy, T: Clone, P> Tracker<K, T, P> {
    /// The transaction status of the last ReadyForQuery.
    #[must_use]
    pub const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Whether the server has answered everything that it answers.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        // No two of them stand side by side.
        self.in_flight.len() < 2 && self.in_flight.iter().all(InFlight::is_flush)
    }

    /// Whether nothing is under way: all is answered, no transaction is open, and no Sync is still to come that would end one.
    /// The server tells what a group has begun only after its Sync.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.is_quiet() && !self.is_within_group && self.status == TransactionStatus::Idle
    }

    /// Whether the server's next word must come soon: it is not known whether it waits for us.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// How many statements and portals have a name.
    #[must_use]
    pub fn names(&self) -> usize {
        self.statements.len() + self.portals.len()
    }

    /// Whether the server waits for COPY data from the client.
    #[must_use]
    pub fn is_copying_in(&self) -> bool {
        self.copy_in != CopyIn::No
    }

    /// Whether a Flush must follow what was passed: the client's next frame waits for an answer that the server would
    /// otherwise keep until the Sync that waits. Who asks sends it.
    pub fn wants_flush(&mut self) -> bool {
        let is_wanted = std::mem::take(&mut self.flush_wanted);
        if is_wanted {
            self.push_flush();
        }
        is_wanted
    }

    /// The place before the next frame, for [`Self::refuse_since`].
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark(self.next_mark)
    }

    /// The requests that ended since the last call.
    pub fn finished(&mut self) -> std::vec::Drain<'_, Finished<K>> {
        self.finished.drain(..)
    }

    /// The request that the running COPY from the client belongs to.
    #[must_use]
    pub fn copying(&self) -> Option<K> {
        self.in_flight.front().filter(|_| self.is_copying_in()).and_then(|entry| entry.request.key())
    }

    /// The requests that ended since the last call, those that are `wanted`; the others stay.
    pub fn finished_of(&mut self, wanted: impl Fn(&Finished<K>) -> bool) -> Vec<Finished<K>> {
        self.finished.extract_if(.., |finished| wanted(finished)).collect()
    }

    /// The connection is over: everything in flight comes back as lost.
    pub fn lost(&mut self) {
        while let Some(entry) = self.in_flight.pop_front() {
            let key = entry.request.key();
            let mut outcomes = if let Request::Query { told, .. } = entry.request { told.outcomes } else { Vec::new() };
            outcomes.push(Outcome::Lost);
            if let Some(key) = key {
                self.finish(key, outcomes, self.attributed);
            }
        }
        if let Some(key) = self.unsettled.take() {
            self.finish_again(key, Outcome::Lost, self.attributed);
        }
        self.changing = Changing::default();
        self.fence = None;
    }

    fn finish(&mut self, key: K, outcomes: Vec<Outcome>, at: u64) {
        let bytes = at.saturating_sub(self.attributed);
        self.attributed = at;
        self.finished.push(Finished { key, outcomes, bytes, again: false });
    }

    /// The server does not execute it, because of an error.
    fn finish_skipped(&mut self, key: K, failure: Rc<Failure>, at: u64) {
        self.finish(key, vec![Outcome::Skipped(failure)], at);
    }

    /// What has ended well before does not hold, or may not.
    fn finish_again(&mut self, key: K, outcome: Outcome, at: u64) {
        self.finish(key, vec![outcome], at);
        if let Some(finished) = self.finished.last_mut() {
            finished.again = true;
        }
    }
}

impl<K: Copy, T, P> Request<K, T, P> {
    const fn key(&self) -> Option<K> {
        match self {
            Self::Query { key, .. }
            | Self::Parse { key, .. }
            | Self::Execute { key, .. }
            | Self::Function { key, .. } => Some(*key),
            Self::Bind { key, .. } => *key,
            Self::Describe { .. }
            | Self::CloseStatement { .. }
            | Self::ClosePortal { .. }
            | Self::Flush
            | Self::Sync
            | Self::Refused { .. }
            | Self::Ready => None,
        }
    }
}
