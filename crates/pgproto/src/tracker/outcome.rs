//! How statements end.
//!
//! Promises: what is kept of one Query has a bound, however many statements it has.
//! Deliberately not here: which message ends what (`answers.rs`).

use std::rc::Rc;

use super::TextFacts;

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

/// The error that ended a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The SQLSTATE, five bytes.
    pub sqlstate: Vec<u8>,
    /// The primary message.
    pub message: Vec<u8>,
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
}

impl<K> Finished<K> {
    /// Whether it was not executed. Only this can be said of what has not been sent yet.
    #[must_use]
    pub const fn is_skipped(&self) -> bool {
        matches!(self.outcomes.as_slice(), [Outcome::Skipped(_)])
    }
}

/// Adds the end of a statement to those of its Query, which may have millions.
pub(super) fn add(outcomes: &mut Vec<Outcome>, outcome: Outcome) {
    if let Some(Outcome::More(more)) = outcomes.last_mut() {
        *more += 1;
    } else {
        outcomes.push(if outcomes.len() < OUTCOMES_MAX { outcome } else { Outcome::More(1) });
    }
}

/// How many of the statements of a Query have run, as its text was read; none can be said to when more or fewer ended
/// well than were read.
pub(super) fn ran(outcomes: &[Outcome], facts: &TextFacts) -> usize {
    let ended_well = |outcome: &Outcome| match outcome {
        Outcome::Completed(_) => Some(1),
        Outcome::More(more) => usize::try_from(*more).ok(),
        _ => None,
    };
    let completed = outcomes.iter().map_while(ended_well).sum();
    let all = outcomes.iter().all(|outcome| ended_well(outcome).is_some());
    match (all, completed == facts.statements) {
        (true, true) => usize::MAX,
        (true, false) => 0,
        (false, _) => completed,
    }
}
