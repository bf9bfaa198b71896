//! One audit record, and the batch of records that one read of the client's bytes gives.
//!
//! Promises: an encoded record is one JSON object without line breaks, at most [`ENTRY_BYTES_MAX`] long; what is
//! larger stands in a blob named by its SHA-256, handed over together with the record. What is encoded here is
//! what is hashed, and what people read.
//! Deliberately not here: writing anything down, and reading records back (`trail/` of the shell).

mod batch;
mod context;
mod encode;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tlog::hash::Hash;

use super::id::{RecordId, SessionId};

pub use batch::{Batch, Blob};
pub use context::{ClientFields, Context, ContextFields, SubjectFields};

/// The longest encoded record, in bytes: 60 KiB, so that it fits a C2SP entry (a 16 bit length) with room.
pub const ENTRY_BYTES_MAX: usize = 60 * 1024;

/// A text or a parameter value longer than this many bytes stands in a blob of its own.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;

/// What a field may have, in bytes, in a record whose fields together are too long.
const SMALL_BYTES_MAX: usize = 256;

/// The version of the record format, the field `v`.
pub const FORMAT_VERSION: u32 = 1;

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A step of signing in; `decision.effect` says which (`prompted`, `approved`, `denied`, `expired`, `abandoned`, `failed`).
    Login,
    /// May this person reach this database, and as which role: `permit` or `forbid`.
    Connect,
    /// SQL text, an execution, a function call or a COPY on its way to the database.
    Statement,
    /// What became of a statement; `of` names its record.
    Outcome,
    /// A statement that was refused and did not reach the database.
    Denied,
    /// A cancel request that a session's client sent.
    Cancel,
    /// The end of a session, and why.
    End,
    /// Something about the journal itself: started, tail repaired, stopped.
    Journal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Login,
        Self::Connect,
        Self::Statement,
        Self::Outcome,
        Self::Denied,
        Self::Cancel,
        Self::End,
        Self::Journal,
    ];

    /// What stands in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Connect => "connect",
            Self::Statement => "statement",
            Self::Outcome => "outcome",
            Self::Denied => "denied",
            Self::Cancel => "cancel",
            Self::End => "end",
            Self::Journal => "journal",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What every record starts with.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The record's id.
    pub id: RecordId,
    /// When it was made.
    pub time: Timestamp,
    /// The name of this node, `server.node`.
    pub node: &'a str,
    /// What it tells of.
    pub kind: Kind,
    /// The session it belongs to; none for records of the journal itself.
    pub session: Option<SessionId>,
    /// Its place within the session, from 1.
    pub seq: u64,
}

/// A reference to a blob, standing where its content would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spilled {
    /// The SHA-256 of the content, the blob's name.
    pub sha256: Hex,
    /// The length of the content in bytes.
    pub bytes: u64,
}

/// A hash, encoded as lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub Hash);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// How a statement reached the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A Query message.
    Simple,
    /// A Parse message.
    Parse,
    /// A Bind message whose Execute did not come together with it.
    Bind,
    /// An Execute message.
    Execute,
    /// A FunctionCall message.
    Function,
    /// The end of a COPY from the client.
    Copy,
}

/// A text or value: at hand, or already in a blob.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// At hand.
    Bytes(&'a [u8]),
    /// In a blob that is durable or travels with the batch.
    Blob(Spilled),
    /// Parameters in a blob that holds the body of their Bind or FunctionCall message, as it came.
    Message(Spilled),
}

/// How much of the bind parameters is recorded: `audit.parameters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Parameters {
    /// Type, format and value.
    #[default]
    Full,
    /// Nothing.
    Omit,
}

/// A statement on its way to the database.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// How it came.
    pub protocol: Protocol,
    /// Its text; none when the name could not be resolved.
    pub text: Option<Content<'a>>,
    /// How the server reads its bytes, when that is not UTF-8.
    pub encoding: Option<&'a str>,
    /// Whether code inside the server may have changed unseen what the names mean.
    pub uncertain: bool,
    /// The record of the COPY that ends here.
    pub of: Option<RecordId>,
    /// The bind parameters, already encoded as a JSON list by [`crate::statement::params`], or spilled.
    pub params: Option<Content<'a>>,
    /// The name of the prepared statement, unless unnamed.
    pub prepared: Option<&'a [u8]>,
    /// The name of the portal, unless unnamed.
    pub portal: Option<&'a [u8]>,
    /// The row limit of an Execute, unless 0.
    pub limit: Option<u32>,
    /// The OID of the function, for a FunctionCall.
    pub function: Option<u32>,
    /// Bytes, rows and hash of the data of a COPY, for [`Protocol::Copy`].
    pub copied: Option<Copied>,
    /// The text that went up instead, when the proxy rewrote the frame.
    pub forwarded: Option<&'a str>,
}

impl<'a> Statement<'a> {
    /// A statement of which nothing is known but how it came and its text.
    #[must_use]
    pub const fn new(protocol: Protocol, text: Option<Content<'a>>) -> Self {
        Self {
            protocol,
            text,
            encoding: None,
            uncertain: false,
            of: None,
            params: None,
            prepared: None,
            portal: None,
            limit: None,
            function: None,
            copied: None,
            forwarded: None,
        }
    }
}

/// What a COPY carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Bytes of data, without framing.
    pub bytes: u64,
    /// Rows, as line ends for text and CSV; absent for the binary format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// SHA-256 over the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hex>,
    /// Whether the client gave up (CopyFail).
    pub failed: bool,
}

/// What was decided, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Decision<'a> {
    /// `permit`, `forbid`, or the step of a login.
    pub effect: &'a str,
    /// The rules that gave it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub rules: &'a [String],
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// What became of one statement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// `ok`, `error`, `suspended`, `skipped` (not executed after an earlier error), or `lost` (the connection ended first).
    pub result: &'static str,
    /// The command tag, e.g. `UPDATE 3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Rows, when the tag says how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of so many more statements of one text, each of which is `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    /// The SQLSTATE of an error, also of the one because of which it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The primary message, of `skipped` its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The part of a record that differs by kind.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Nothing beyond the head and the context.
    None,
    /// A statement.
    Statement(&'a Statement<'a>),
    /// A decision.
    Decision(&'a Decision<'a>),
    /// A statement that was refused, and why.
    Refused(&'a Statement<'a>, &'a Decision<'a>),
    /// What became of the record `of`.
    Outcome {
        /// The statement's record.
        of: RecordId,
        /// One for each statement of the text.
        outcomes: &'a [Outcome],
        /// From the forwarding of the statement to its end, in microseconds.
        duration_us: u64,
        /// Bytes of result sent to the client, framing included.
        bytes: u64,
        /// It has an outcome already, and what it did does not hold, or may not.
        again: bool,
    },
    /// The end of a session: why, and the number of statements.
    End {
        /// Why it ended, for people.
        reason: &'a str,
        /// How many statement records it has.
        statements: u64,
    },
    /// A cancel request.
    Cancel {
        /// The session it names; none when its secret fits no session.
        session: Option<SessionId>,
        /// The process id it names.
        pid: i32,
    },
    /// What happened to the journal.
    Journal(&'a JournalEvent),
}

/// Something that happened to the journal itself, in `journal` of a record of [`Kind::Journal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JournalEvent {
    /// A process has opened the journal.
    Started {
        /// Which opening this is, from 1.
        epoch: u64,
        /// The version of the program.
        version: &'static str,
    },
    /// The end of the journal was torn, as after a loss of power: what had no receipt was put aside.
    Repaired {
        /// The index of the first record that was put aside.
        index: u64,
        /// How many bytes were put aside.
        bytes: u64,
        /// The file that holds them now.
        file: String,
    },
    /// The disk was full, and has room again.
    Resumed {
        /// How many batches of records were refused meanwhile; none of their statements ran.
        refused: u64,
    },
    /// More outcomes came than could be kept until they were written.
    OutcomesLost {
        /// How many records.
        count: u64,
    },
    /// The journal was closed in order.
    Stopped {
        /// The opening that ends.
        epoch: u64,
    },
}
