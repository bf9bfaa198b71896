//! The pen of one session: everything that its records have in common, and the numbers they carry.
//!
//! Promises: records of one session are numbered from 1 in the order in which they are made. A gap means records that
//! could not be written: statements refused for it (a full disk), which did not run; or outcomes and ends that nothing
//! waited for and that were too many to keep, of statements that have their own records.
//! Deliberately not here: what a record says.

use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::id::{IdSource, RecordId, SessionId};
use crate::audit::record::{Batch, Body, Context, Head, Kind};

/// Writes the records of one session.
#[derive(Debug)]
pub struct Ink {
    node: Arc<str>,
    session: SessionId,
    context: Context,
    ids: IdSource,
    seq: u64,
}

impl Ink {
    /// A pen for a session that starts now; the seed must be random.
    #[must_use]
    pub fn new(node: Arc<str>, seed: [u8; 6], now: Timestamp) -> Self {
        let mut ids = IdSource::new(seed);
        Self { node, session: ids.session(now), context: Context::default(), ids, seq: 0 }
    }

    /// The session's id.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// From now on records say this of the connection.
    pub fn set_context(&mut self, context: Context) {
        self.context = context;
    }

    /// The id for a record that is written next.
    pub fn id(&mut self, now: Timestamp) -> RecordId {
        self.ids.record(now)
    }

    /// Writes one record.
    pub fn write(&mut self, batch: &mut Batch, kind: Kind, id: RecordId, now: Timestamp, body: &Body<'_>) {
        self.seq += 1;
        let head = Head { id, time: now, node: &self.node, kind, session: Some(self.session), seq: self.seq };
        batch.push(&head, &self.context, body);
    }

    /// A batch of one record with an id of its own.
    #[must_use]
    pub fn note(&mut self, kind: Kind, now: Timestamp, body: &Body<'_>) -> Batch {
        let mut batch = Batch::default();
        let id = self.id(now);
        self.write(&mut batch, kind, id, now, body);
        batch
    }
}
