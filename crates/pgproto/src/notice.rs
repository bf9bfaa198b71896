//! Errors and notices: building ours, reading the upstream's.
//!
//! Promises: what we build always fits a message and never holds a zero byte, so building cannot fail; it stays below
//! the 30000 bytes that libpq takes as an error before login.
//! Deliberately not here: what to say when; the wording belongs to who decides.

use std::borrow::Cow;

use crate::body::{BodyError, Reader};
use crate::encode::{EncodeError, message};
use crate::sqlstate::SqlState;
use crate::tag::BackendTag;

/// The most bytes one text of a notice may have; longer ones are cut and end with `…`.
pub const TEXT_BYTES_MAX: usize = 8192;

/// How bad it is. The first five are notices, the last three are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For developers.
    Debug,
    /// For the server's log.
    Log,
    /// What was asked for.
    Info,
    /// Good to know.
    Notice,
    /// Probably not meant so.
    Warning,
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// All sessions end.
    Panic,
}

impl Severity {
    /// The word on the wire, not translated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Log => "LOG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
        }
    }

    /// The severity this word stands for.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        Some(match raw {
            b"DEBUG" => Self::Debug,
            b"LOG" => Self::Log,
            b"INFO" => Self::Info,
            b"NOTICE" => Self::Notice,
            b"WARNING" => Self::Warning,
            b"ERROR" => Self::Error,
            b"FATAL" => Self::Fatal,
            b"PANIC" => Self::Panic,
            _ => return None,
        })
    }

    /// Errors travel as ErrorResponse, all else as NoticeResponse.
    pub const fn tag(self) -> BackendTag {
        match self {
            Self::Debug | Self::Log | Self::Info | Self::Notice | Self::Warning => BackendTag::NoticeResponse,
            Self::Error | Self::Fatal | Self::Panic => BackendTag::ErrorResponse,
        }
    }
}

/// An error or notice of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub severity: Severity,
    /// The code for programs.
    pub sqlstate: SqlState,
    /// The text every client shows.
    pub message: String,
    /// More about it; some clients do not show it.
    pub detail: Option<String>,
    /// What to do now; some clients do not show it.
    pub hint: Option<String>,
}

impl Notice {
    /// A notice or error without detail and hint.
    pub fn new(severity: Severity, sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The same with more about it.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The same with what to do now.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Appends it as ErrorResponse or NoticeResponse, whichever its severity asks for.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let severity = self.severity.as_str();
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(self.sqlstate.as_str())),
            (b'M', Some(self.message.as_str())),
            (b'D', self.detail.as_deref()),
            (b'H', self.hint.as_deref()),
        ];
        let written: Result<(), EncodeError> = message(out, self.severity.tag().byte(), |body| {
            for (field, text) in fields {
                if let Some(text) = text {
                    body.byte(field);
                    body.text("a field", sendable(text).as_bytes())?;
                }
            }
            body.byte(0);
            Ok(())
        });
        // INVARIANT: `sendable` leaves no zero byte and a few KiB at most, the only two reasons to fail.
        debug_assert_eq!(written, Ok(()));
    }
}

/// The text without zero bytes and not too long.
fn sendable(text: &str) -> Cow<'_, str> {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) };
    if text.len() <= TEXT_BYTES_MAX { text } else { Cow::Owned(shortened(text.into_owned(), TEXT_BYTES_MAX)) }
}

/// At most this many bytes of a text: a longer one is cut between characters, and ends with `…`.
#[must_use]
pub fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// Why an error or notice of the upstream is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The fields do not fit the body.
    #[error("malformed error or notice message: {0}")]
    Body(#[from] BodyError),
}

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, NoticeError> {
        let fields = Self { raw: body };
        let mut body = Reader::new(body);
        while body.byte("a field's kind")? != 0 {
            body.text("a field")?;
        }
        body.end()?;
        Ok(fields)
    }

    /// All fields in order: kind and text.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = Reader::new(self.raw);
        std::iter::from_fn(move || match rest.byte("a field's kind").ok()? {
            0 => None,
            kind => Some((kind, rest.text("a field").ok()?)),
        })
    }

    /// The text of the field of this kind, such as `M`.
    pub fn field(self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find_map(|(each, text)| (each == kind).then_some(text))
    }

    /// The code for programs.
    pub fn sqlstate(self) -> Option<SqlState> {
        self.field(b'C').and_then(SqlState::from_bytes)
    }

    /// How bad it is. Only the untranslated field is believed, or the other one when it is not there.
    pub fn severity(self) -> Option<Severity> {
        self.field(b'V').or_else(|| self.field(b'S')).and_then(Severity::from_bytes)
    }

    /// The text every client shows, in the client's encoding.
    pub fn message(self) -> &'a [u8] {
        self.field(b'M').unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
