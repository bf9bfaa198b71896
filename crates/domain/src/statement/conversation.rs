//! One session's conversation between client and server: **frame -> classify -> record -> forward**.
//!
//! Promises: every frame of the client is judged once, in order; one that carries SQL is sealed behind its record; one
//! that is not understood ends the conversation. Every statement's record gets an outcome.
//! Deliberately not here: IO. The relay feeds bytes in and carries decisions out.

use std::cell::Cell;
use std::rc::Rc;

use jiff::Timestamp;
use pgproto::backend::{self, BackendError, BackendTag};
use pgproto::budget::Budget;
use pgproto::frontend::{FrontendError, FrontendTag};
use pgproto::notice::shortened;
use pgproto::tracker::answers::{Answer, Reaction};
use pgproto::tracker::{self, DuringCopy, Failure, Finished, Mark, OutOfStep, Portal, Tracker};

use super::copy::CopyProgress;
use super::failure::{failure, is_fatal};
use super::held::{HELD_BYTES_MAX, Held, Text};
use super::ink::Ink;
use crate::audit::id::RecordId;
use crate::audit::pending::Unrecorded;
use crate::audit::record::{Batch, Body, Kind, Outcome, Parameters};

/// A frame larger than this, header included, does not wait for its end in a buffer.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// How much of a server's message must be at hand to understand it: error texts may be long, types are many.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// The longest ParameterDescription that there can be: a count and 65,535 types.
const TYPES_BYTES_MAX: usize = 2 + 4 * 65_535;

/// How many prepared statements and portals a session may have. A server that has them takes gigabytes for them.
pub const NAMES_MAX: usize = 100_000;

/// How many outcomes are told in one batch: a batch that cannot be kept is lost as a whole, and each may have a long message.
const OUTCOMES_MAX: usize = 128;

/// The longest message of what is skipped, in bytes: thousands may be skipped for it.
const SKIPPED_BYTES_MAX: usize = 256;

/// The state of one conversation.
#[derive(Debug)]
pub struct Conversation {
    pub(super) tracker: Tracker<Key, Text, Option<Held>>,
    pub(super) ink: Ink,
    pub(super) parameters: Parameters,
    /// How the server reads what the client sends; none when that is UTF-8.
    pub(super) encoding: Option<Rc<str>>,
    pub(super) budget: Budget,
    pub(super) copy: Option<CopyProgress>,
    pub(super) statements: u64,
    /// The last Bind of an intake, until it is clear which record it has.
    pub(super) bound: Option<Bound>,
    /// The first record of the last intake, while it may not be written yet: until then nothing is told of what has one.
    pub(super) unsettled: Option<RecordId>,
}

/// What comes back with the end of a statement: its record, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: RecordId,
    pub(super) sent: Timestamp,
}

/// A Bind that has no record yet.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) mark: Mark,
    /// The portal's name.
    pub(super) name: Vec<u8>,
    pub(super) portal: Rc<Portal<Text, Option<Held>>>,
}

/// What one look at the client's bytes gave.
#[derive(Debug)]
pub struct Intake {
    /// How many bytes from the front were judged; the effect says that they may go up.
    pub taken: usize,
    /// What to send up, sealed until its records are durable.
    pub effect: Unrecorded<Forward>,
    /// The first of the frames taken, for [`Conversation::refuse`].
    pub mark: Mark,
    /// The first record of the batch, for [`Conversation::refuse`].
    pub(super) first: RecordId,
    /// What to do when that is done.
    pub next: Next,
}

/// The bytes that may go up: so many from the front of the client's bytes, and perhaps a Flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Whole frames from the front, in bytes.
    pub bytes: usize,
    /// Whether a Flush must follow, so that the server's answer comes.
    pub flush: bool,
    /// What goes up in their place, when they are refused.
    pub instead: Option<Vec<u8>>,
}

/// How the client's side goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// With more bytes.
    More,
    /// When the server has answered something. Nothing was taken, so that no answer can have come unseen since.
    Wait,
    /// Past so many bytes that are not sent up, because the server would ignore them; with none: by another look.
    Skip(usize),
    /// With a frame too large to wait for in a buffer: this many bytes, header included.
    Large(FrontendTag, usize),
    /// Not at all: the client said goodbye.
    Terminate,
    /// Not at all: the client broke the protocol.
    Violation(Violation),
}

/// How a client broke the protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Violation {
    /// A text without its end, or a name without one.
    #[error("malformed {0:?} message")]
    Malformed(FrontendTag),
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] pgproto::frame::FrameError),
    /// Not the message that its tag says.
    #[error(transparent)]
    Message(#[from] FrontendError),
    /// A message that the server does not take while it waits for COPY data.
    #[error(transparent)]
    Copy(#[from] DuringCopy),
    /// More names than can be remembered.
    #[error("expected at most {NAMES_MAX} prepared statements and portals in one session")]
    Names,
    /// A password, when nobody asked for one.
    #[error("unexpected password message")]
    Password,
}

/// The server said something that cannot be understood, so the session cannot be followed any more.
#[derive(Debug, thiserror::Error)]
pub enum Confusion {
    /// Nothing explains the message.
    #[error(transparent)]
    OutOfStep(#[from] OutOfStep),
    /// Not the message that its tag says.
    #[error(transparent)]
    Message(#[from] BackendError),
}

impl Conversation {
    /// A conversation that begins, with the server ready for the first statement.
    #[must_use]
    pub fn new(ink: Ink, parameters: Parameters) -> Self {
        Self {
            tracker: Tracker::default(),
            ink,
            parameters,
            encoding: None,
            budget: Budget::new(HELD_BYTES_MAX),
            copy: None,
            statements: 0,
            bound: None,
            unsettled: None,
        }
    }

    /// A setting that the server has reported: what the client sends is in its `client_encoding`.
    pub fn reported(&mut self, name: &[u8], value: &[u8]) {
        if name == b"client_encoding" {
            let value = String::from_utf8_lossy(value);
            self.encoding = (value != "UTF8").then(|| value.into());
        }
    }

    pub(super) fn text(&self, held: Held) -> Text {
        Text { held, encoding: self.encoding.clone() }
    }

    /// Whether the server has answered everything.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.tracker.is_quiet()
    }

    /// Whether nothing is under way that an end would undo.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.tracker.is_between_transactions()
    }

    /// Whether the server's next word must come soon: it is not known whether it waits for us.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.tracker.is_in_doubt()
    }

    /// The pen, for records that are not about statements.
    pub const fn ink(&mut self) -> &mut Ink {
        &mut self.ink
    }

    /// Whether a Sync that the client sent during a COPY must go up now, because the COPY failed.
    pub fn owes_sync(&mut self) -> bool {
        self.tracker.take_held_sync()
    }

    /// How many bytes of the body must be at hand for [`Self::answer`]; none for what passes unread.
    #[must_use]
    pub fn reads(tag: BackendTag, body_bytes: usize) -> Option<usize> {
        match tag {
            BackendTag::ParseComplete
            | BackendTag::BindComplete
            | BackendTag::CloseComplete
            | BackendTag::NoData
            | BackendTag::EmptyQueryResponse
            | BackendTag::PortalSuspended
            | BackendTag::RowDescription
            | BackendTag::FunctionCallResponse => Some(0),
            BackendTag::CommandComplete
            | BackendTag::ErrorResponse
            | BackendTag::CopyInResponse
            | BackendTag::CopyBothResponse
            | BackendTag::ParameterStatus
            | BackendTag::ReadyForQuery => Some(body_bytes.min(ANSWER_BYTES_MAX)),
            BackendTag::ParameterDescription => Some(body_bytes.min(TYPES_BYTES_MAX)),
            BackendTag::NotificationResponse
            | BackendTag::CopyDone
            | BackendTag::CopyData
            | BackendTag::DataRow
            | BackendTag::CopyOutResponse
            | BackendTag::BackendKeyData
            | BackendTag::NoticeResponse
            | BackendTag::Authentication
            | BackendTag::NegotiateProtocolVersion => None,
        }
    }

    /// Takes one message of the server, or as much of it as [`Self::reads`] asked for; `at`: the position in the
    /// server's byte stream where the message ends.
    ///
    /// # Errors
    /// [`Confusion`]: the session must end, for nobody knows any more what runs.
    pub fn answer(&mut self, tag: BackendTag, body: &[u8], at: u64) -> Result<Reaction, Confusion> {
        let answer = match tag {
            BackendTag::ParseComplete => Answer::ParseComplete,
            BackendTag::BindComplete => Answer::BindComplete,
            BackendTag::CloseComplete => Answer::CloseComplete,
            BackendTag::NoData => Answer::NoData,
            BackendTag::EmptyQueryResponse => Answer::EmptyQuery,
            BackendTag::PortalSuspended => Answer::Suspended,
            BackendTag::RowDescription => Answer::RowDescription,
            BackendTag::FunctionCallResponse => Answer::FunctionResult,
            BackendTag::CommandComplete => Answer::Complete(backend::CommandComplete::parse(body)?.tag),
            BackendTag::ErrorResponse if is_fatal(body) => Answer::Fatal(failure(body)),
            BackendTag::ErrorResponse => Answer::Error(failure(body)),
            BackendTag::ParameterDescription => {
                Answer::ParameterTypes(backend::ParameterDescription::parse(body)?.types.iter().collect())
            }
            BackendTag::CopyInResponse | BackendTag::CopyBothResponse => {
                self.tracker.answer(Answer::CopyIn, at)?;
                // What a standby sends has no lines, whatever the format is said to be.
                let is_binary = tag == BackendTag::CopyBothResponse || body.first() == Some(&1);
                self.copy = Some(CopyProgress::new(is_binary));
                return Ok(Reaction::Pass);
            }
            BackendTag::ParameterStatus => {
                // A name and a value, each with its end; what is longer than we hold is not the setting that matters.
                let mut texts = body.split(|byte| *byte == 0);
                self.reported(texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                return Ok(Reaction::Pass);
            }
            BackendTag::ReadyForQuery => Answer::Ready(backend::ReadyForQuery::parse(body)?.status),
            BackendTag::NotificationResponse
            | BackendTag::CopyDone
            | BackendTag::CopyData
            | BackendTag::DataRow
            | BackendTag::CopyOutResponse
            | BackendTag::BackendKeyData
            | BackendTag::NoticeResponse
            | BackendTag::Authentication
            | BackendTag::NegotiateProtocolVersion => return Ok(Reaction::Pass),
        };
        let reaction = self.tracker.answer(answer, at)?;
        if !self.tracker.is_copying_in() {
            self.copy = None;
        }
        Ok(reaction)
    }

    /// The records of the last intake are durable.
    pub const fn settled(&mut self) {
        self.unsettled = None;
    }

    /// The outcome records of statements that ended since the last call, batch by batch. What ended before its record was
    /// [settled](Self::settled) comes only after that: a server may fail, or end, of its own accord.
    pub fn outcomes(&mut self, now: Timestamp, mut note: impl FnMut(Batch)) {
        loop {
            let batch = self.next_outcomes(now);
            if batch.is_empty() {
                return;
            }
            note(batch);
        }
    }

    fn next_outcomes(&mut self, now: Timestamp) -> Batch {
        let mut batch = Batch::default();
        let unsettled = self.unsettled;
        let is_recorded = |id: RecordId| unsettled.is_none_or(|first| id < first);
        let left = Cell::new(OUTCOMES_MAX);
        let is_next = |ended: &Finished<Key>| {
            let is_next = left.get() > 0 && is_recorded(ended.key.id);
            left.set(left.get().saturating_sub(if is_next { ended.outcomes.len() } else { 0 }));
            is_next
        };
        for finished in self.tracker.finished_of(is_next) {
            write_outcome(&mut self.ink, &mut batch, &finished, now);
        }
        batch
    }

    /// The session is over: outcomes of what was in flight, and the end itself. What may have no record has no outcome.
    pub fn end(&mut self, reason: &str, now: Timestamp, mut note: impl FnMut(Batch)) {
        self.tracker.lost();
        if let Some(first) = self.unsettled.take() {
            drop(self.tracker.finished_of(|ended| ended.key.id >= first));
        }
        self.outcomes(now, &mut note);
        let mut batch = Batch::default();
        let id = self.ink.id(now);
        let body = Body::End { reason, statements: self.statements };
        self.ink.write(&mut batch, Kind::End, id, now, &body);
        note(batch);
    }
}

pub(super) fn write_outcome(ink: &mut Ink, batch: &mut Batch, finished: &Finished<Key>, now: Timestamp) {
    let outcomes: Vec<Outcome> = finished.outcomes.iter().map(outcome).collect();
    let id = ink.id(now);
    let duration_us = u64::try_from(now.duration_since(finished.key.sent).as_micros()).unwrap_or(0);
    let (of, bytes, again) = (finished.key.id, finished.bytes, finished.again);
    let body = Body::Outcome { of, outcomes: &outcomes, duration_us, bytes, again };
    ink.write(batch, Kind::Outcome, id, now, &body);
}

fn outcome(ended: &tracker::Outcome) -> Outcome {
    let text = |raw: &[u8]| Some(String::from_utf8_lossy(raw).into_owned());
    let ended_so = |result| Outcome { result, ..Outcome::default() };
    match ended {
        tracker::Outcome::Completed(tag) => Outcome {
            tag: text(tag).filter(|tag| !tag.is_empty()),
            rows: backend::CommandComplete { tag }.rows(),
            ..ended_so("ok")
        },
        tracker::Outcome::More(more) => Outcome { statements: Some(*more), ..ended_so("ok") },
        tracker::Outcome::Suspended => ended_so("suspended"),
        tracker::Outcome::Failed(Failure { sqlstate, message }) => {
            Outcome { sqlstate: text(sqlstate), message: text(message), ..ended_so("error") }
        }
        tracker::Outcome::Skipped(failure) => Outcome {
            sqlstate: text(&failure.sqlstate),
            message: text(&failure.message).map(|message| shortened(message, SKIPPED_BYTES_MAX)),
            ..ended_so("skipped")
        },
        tracker::Outcome::Lost => ended_so("lost"),
    }
}

#[cfg(test)]
mod tests;
