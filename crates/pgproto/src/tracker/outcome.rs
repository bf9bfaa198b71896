//! How statements end.
//!
//! Promises: what is kept of one Query has a bound, however many statements it has; that names have changed is known by
//! the server's own word, the tag, whatever the text looks like.
//! Deliberately not here: which message ends what (`answers.rs`).

use std::rc::Rc;

use super::names::CHANGES_MAX;

/// How many outcomes of the statements of one Query are told one by one.
const OUTCOMES_MAX: usize = 1000;

/// How one statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran; the command tag, empty for an empty query or a Parse.
    Completed(Vec<u8>),
    /// The row limit was reached; the portal can go on.
    Suspended,
    /// It failed.
    Failed(Failure),
    /// It was not executed, because an earlier message failed.
    Skipped(Rc<Failure>),
    /// So many more statements of one Query, each [`Self::Completed`].
    More(u64),
    /// The connection ended first: whether it ran is not known.
    Lost,
}

impl Outcome {
    /// Whether it has the tag of what ends a transaction, in a text that [may](super::TextFacts::may_end_transaction).
    pub(super) fn is_end_of_transaction(&self) -> bool {
        matches!(self, Self::Completed(tag) if ENDINGS.contains(&tag.as_slice()))
    }
}

/// The error that ended a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The SQLSTATE, five bytes.
    pub sqlstate: Vec<u8>,
    /// The primary message.
    pub message: Vec<u8>,
}

impl Failure {
    /// Whether it may come when the server has read a message, before it looks at what that is: of a timer that runs on between
    /// two messages, or of a standby's conflict. All else is of what the message asks for.
    pub(super) fn may_be_of_reading(&self) -> bool {
        matches!(self.sqlstate.as_slice(), b"" | b"57014" | b"55P03" | b"40001")
    }

    /// Whether it may have nothing to do with what the server was reading: a timeout, a conflict, a lack of memory. By the classes
    /// of PostgreSQL's error codes; code may raise these too.
    pub(super) fn is_of_circumstances(&self) -> bool {
        let class = self.sqlstate.get(..2).unwrap_or_default();
        matches!(class, b"" | b"08" | b"40" | b"53" | b"54" | b"55" | b"57" | b"58" | b"XX")
    }
}

/// A key that came back, with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished<K> {
    /// The caller's key.
    pub key: K,
    /// One for each statement of a Query (of very many the first, and how many more), else exactly one.
    pub outcomes: Vec<Outcome>,
    /// Bytes that the server sent for it, framing included.
    pub bytes: u64,
    /// It came back before, having ended well: this says that what it did does not hold, or may not.
    pub again: bool,
}

/// What the server has told of a Query so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) outcomes: Vec<Outcome>,
    /// The tags by which names have changed, in order; each with the number of statements before it.
    pub(super) changed: Vec<(usize, &'static [u8])>,
    ended: usize,
}

impl Told {
    /// Of very many changes each tag is kept once more: that something of its kind has changed must not be lost.
    fn has_room(&self, tag: &[u8]) -> bool {
        self.changed.iter().skip(CHANGES_MAX).all(|(_, kept)| *kept != tag)
    }

    /// The rest of it has failed. A server says so once.
    pub(super) fn fail(&mut self, failure: &Failure) {
        if !matches!(self.outcomes.last(), Some(Outcome::Failed(_))) {
            self.outcomes.push(Outcome::Failed(failure.clone()));
        }
    }

    /// One more statement has ended well. There may be millions.
    pub(super) fn add(&mut self, outcome: Outcome) {
        if let Outcome::Completed(tag) = &outcome
            && let Some(tag) = changing_tag(tag)
            && self.has_room(tag)
        {
            self.changed.push((self.ended, tag));
        }
        self.ended += 1;
        if let Some(Outcome::More(more)) = self.outcomes.last_mut() {
            *more += 1;
        } else {
            self.outcomes.push(if self.outcomes.len() < OUTCOMES_MAX { outcome } else { Outcome::More(1) });
        }
    }
}

/// Tags of commands that change names of statements, and of those that change names of portals.
pub(super) const OF_STATEMENTS: [&[u8]; 4] = [b"PREPARE", b"DEALLOCATE", b"DEALLOCATE ALL", b"DISCARD ALL"];
pub(super) const OF_PORTALS: [&[u8]; 4] = [b"DECLARE CURSOR", b"CLOSE CURSOR", b"CLOSE CURSOR ALL", b"DISCARD ALL"];

/// Tags of commands that end a transaction.
const ENDINGS: [&[u8]; 3] = [b"COMMIT", b"ROLLBACK", b"PREPARE TRANSACTION"];

/// The tag, if its command changes names.
pub(super) fn changing_tag(tag: &[u8]) -> Option<&'static [u8]> {
    OF_STATEMENTS.into_iter().chain(OF_PORTALS).find(|known| *known == tag)
}
