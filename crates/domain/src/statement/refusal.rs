//! Statements that are refused: something of ours goes up in their place and fails there.
//!
//! Promises: nothing of the client's text goes up; the server's own state (transaction, skip to Sync, order of answers)
//! stays what the client believes it to be, because the failure is the server's own.
//! Deliberately not here: why something is refused.

use pgproto::frame;
use pgproto::frontend::{FrontendTag, encode};
use pgproto::notice::{Notice, Severity};
use pgproto::sqlstate::SqlState;
use pgproto::tracker::{Mark, Refused as Why};

use super::conversation::{Conversation, Intake, Key};
use crate::audit::id::RecordId;
use crate::audit::record::{Batch, Body, Decision, Kind, Statement};

/// A text that no grammar accepts, so it fails in every state of a transaction; told to the server's own log.
const NOT_A_STATEMENT: &[u8] = b"safe_boundary: a statement was refused before it reached this server";

/// What that text is called in a Parse. Not the unnamed statement, which a Parse replaces also when it fails; whether a client
/// has a statement of this name does not matter, since the text is read first.
const NO_NAME: &[u8] = b"safe_boundary: refused";

/// Functions that libpq's and other drivers' large objects call by number (`pg_proc.dat`): open, close, read, write, seek,
/// tell, truncate, make, remove, and their 64 bit forms. Not among them: `lo_import` and `lo_export`, which reach files.
const LARGE_OBJECT_FUNCTIONS: [u32; 17] =
    [715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460];

/// Whether a function may be called by its number: such a call has no text that anybody could read.
pub(super) fn may_be_called(oid: u32) -> bool {
    LARGE_OBJECT_FUNCTIONS.contains(&oid)
}

/// Why a call by number is refused, for the record.
const NOT_BY_NUMBER: &str = "only large-object functions may be called by number";

/// What the client is told in the place of the failure of ours.
#[must_use]
pub fn notice(why: Why) -> Notice {
    match why {
        Why::Unrecorded => journal_full(),
        Why::Denied => Notice::new(Severity::Error, SqlState::INSUFFICIENT_PRIVILEGE, NOT_BY_NUMBER)
            .hint("Call the function in a SELECT."),
    }
}

fn journal_full() -> Notice {
    Notice::new(
        Severity::Error,
        SqlState::IO_ERROR,
        "the audit log cannot be written; the statement was not run".to_owned(),
    )
    .hint("The disk of the audit log is full. The session goes on; try again when the operator has made room.")
}

impl Conversation {
    /// The bytes that go up in the place of an intake whose records could not be written.
    #[must_use]
    pub fn refuse(&mut self, refused: &Refused, raw: &[u8]) -> Vec<u8> {
        self.withdraw(refused);
        let mut out = Vec::new();
        let mut rest = raw;
        while let Ok(Some((frame, tail))) = frame::split(rest) {
            if let Some(tag) = FrontendTag::from_byte(frame.tag()) {
                self.replacement(refused.mark, tag, frame.raw(), &mut out);
            }
            rest = tail;
        }
        out
    }

    /// The frame since `mark`, a FunctionCall, must not run: it is on record as denied; what goes up in its place.
    pub(super) fn deny_function(
        &mut self,
        mark: Mark,
        key: Key,
        statement: &Statement<'_>,
        batch: &mut Batch,
    ) -> Vec<u8> {
        let decision = Decision { effect: "forbid", rules: &[], reason: Some(NOT_BY_NUMBER) };
        self.ink.write(batch, Kind::Denied, key.id, key.sent, &Body::Refused(statement, &decision));
        self.tracker.refuse_since(mark, Why::Denied);
        // That it is denied says all: it has no outcome, also where the server skips.
        drop(self.tracker.finished_of(|ended| ended.key == key));
        let mut out = Vec::new();
        self.replacement(mark, FrontendTag::FunctionCall, &[], &mut out);
        out
    }

    /// The bytes that go up in the place of a frame too large for a buffer.
    #[must_use]
    pub fn refuse_large(&mut self, refused: &Refused, tag: FrontendTag) -> Vec<u8> {
        self.withdraw(refused);
        let mut out = Vec::new();
        self.replacement(refused.mark, tag, &[], &mut out);
        out
    }

    /// What was judged since, and could not be recorded, is in flight as something of ours.
    fn withdraw(&mut self, refused: &Refused) {
        self.tracker.refuse_since(refused.mark, Why::Unrecorded);
        self.unsettled = None;
        // Outcomes of what has no record would point nowhere.
        drop(self.tracker.finished_of(|ended| ended.key.id >= refused.first));
    }

    fn replacement(&mut self, mark: Mark, tag: FrontendTag, raw: &[u8], out: &mut Vec<u8>) {
        let written = match tag {
            FrontendTag::Query => encode::query(out, NOT_A_STATEMENT),
            FrontendTag::Parse
            | FrontendTag::Bind
            | FrontendTag::Execute
            | FrontendTag::Describe
            // Never an Execute: whatever name it had, a client could have made a portal of that name.
            | FrontendTag::Close => encode::parse(out, NO_NAME, NOT_A_STATEMENT, &[]),
            FrontendTag::FunctionCall => encode::query(out, NOT_A_STATEMENT),
            FrontendTag::CopyDone | FrontendTag::CopyFail => {
                self.tracker.refuse_copy(mark);
                encode::copy_fail(out, NOT_A_STATEMENT)
            }
            FrontendTag::Sync | FrontendTag::Flush | FrontendTag::Terminate | FrontendTag::CopyData => {
                out.extend_from_slice(raw);
                Ok(())
            }
            FrontendTag::Password => Ok(()),
        };
        debug_assert!(written.is_ok(), "these are short");
    }
}

/// What is left of an intake once its effect is lost.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub(super) mark: Mark,
    pub(super) first: RecordId,
}

impl Intake {
    /// What [`Conversation::refuse`] needs, should the records not be written.
    #[must_use]
    pub const fn refused(&self) -> Refused {
        Refused { mark: self.mark, first: self.first }
    }
}
