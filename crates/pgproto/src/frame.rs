//! Frames: tag, length, body, not yet interpreted.
//!
//! Promises: the body is never copied; a bad length or tag is reported as soon as its bytes are there, before anything
//! waits for the rest; the limits are PostgreSQL's own (`SocketBackend` in `postgres.c`).
//! Deliberately not here: the untagged packets before login (`startup`), and what the bodies mean.

use crate::tag::{BackendTag, FrontendTag};

/// Bytes of the length word, which counts itself.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of tag and length word together.
pub const HEADER_BYTES: usize = 5;

/// The most bytes any body may have: the 1 GiB - 1 that one allocation of PostgreSQL can hold.
pub const BODY_BYTES_MAX: usize = 0x3fff_ffff;

/// What the length word of a frontend message that carries text or data may say at most (`PQ_LARGE_MESSAGE_LIMIT`).
const LARGE_LENGTH_MAX: usize = 0x3fff_fffe;

/// What the length word of any other frontend message may say at most (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_LENGTH_MAX: usize = 10_000;

/// What the length word of an answer to an authentication request may say at most (`PG_MAX_AUTH_TOKEN_LENGTH`).
const AUTHENTICATION_LENGTH_MAX: usize = 65_535;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is too small to count itself, or larger than any message.
    #[error("expected a message length of 4 to {max}, came {came}", max = BODY_BYTES_MAX + LENGTH_BYTES)]
    Length {
        /// The length word as it came.
        came: i32,
    },
    /// The length word is larger than this kind of message may be.
    #[error("expected a message length of at most {expected} for `{tag:?}`, came {came}")]
    LengthForTag {
        /// The kind of message.
        tag: FrontendTag,
        /// The most the length word may say.
        expected: usize,
        /// What it said.
        came: usize,
    },
    /// No client message begins with this byte.
    #[error("expected the tag of a frontend message, came byte {came:#04x}")]
    FrontendTag {
        /// The byte.
        came: u8,
    },
    /// No server message begins with this byte.
    #[error("expected the tag of a backend message, came byte {came:#04x}")]
    BackendTag {
        /// The byte.
        came: u8,
    },
}

/// The first five bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind of message.
    pub tag: u8,
    /// Bytes of the body, without tag and length word.
    pub body_bytes: usize,
}

impl Header {
    /// Bytes of the whole frame.
    pub const fn frame_bytes(self) -> usize {
        // INVARIANT: `body_bytes` came from `header`, so the sum is far from overflow; saturating for hand-made ones.
        self.body_bytes.saturating_add(HEADER_BYTES)
    }
}

/// One whole frame, borrowed from the buffer it arrived in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    header: Header,
    raw: &'a [u8],
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Tag and size.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The kind of message.
    pub const fn tag(&self) -> u8 {
        self.header.tag
    }

    /// What follows the length word.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The frame as it arrived, to be passed on.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Reads tag and length. `None` asks for more bytes.
pub fn header(raw: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some((&[tag, a, b, c, d], _)) = raw.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let came = i32::from_be_bytes([a, b, c, d]);
    match usize::try_from(came).ok().and_then(|length| length.checked_sub(LENGTH_BYTES)) {
        Some(body_bytes) if body_bytes <= BODY_BYTES_MAX => Ok(Some(Header { tag, body_bytes })),
        Some(_) | None => Err(FrameError::Length { came }),
    }
}

/// Reads the header of a message from a client: the tag must be known and the length within its limit.
///
/// As in PostgreSQL the tag is judged first, even before the length is there.
pub fn frontend_header(raw: &[u8]) -> Result<Option<(FrontendTag, Header)>, FrameError> {
    let Some(&came) = raw.first() else { return Ok(None) };
    let tag = FrontendTag::from_byte(came).ok_or(FrameError::FrontendTag { came })?;
    let Some(header) = header(raw)? else { return Ok(None) };
    let expected = limit_of(tag);
    let came = header.body_bytes.saturating_add(LENGTH_BYTES);
    if came > expected { Err(FrameError::LengthForTag { tag, expected, came }) } else { Ok(Some((tag, header))) }
}

/// Reads the header of a message from a server: the tag must be known.
pub fn backend_header(raw: &[u8]) -> Result<Option<(BackendTag, Header)>, FrameError> {
    let Some(&came) = raw.first() else { return Ok(None) };
    let tag = BackendTag::from_byte(came).ok_or(FrameError::BackendTag { came })?;
    Ok(header(raw)?.map(|header| (tag, header)))
}

/// Takes one whole frame from the front. `None` asks for more bytes.
pub fn split(raw: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, FrameError> {
    let Some(header) = header(raw)? else { return Ok(None) };
    let Some((raw, rest)) = raw.split_at_checked(header.frame_bytes()) else { return Ok(None) };
    let Some((_, body)) = raw.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    Ok(Some((Frame { header, raw, body }, rest)))
}

/// What the length word of this kind of message may say at most, as PostgreSQL limits it.
pub const fn limit_of(tag: FrontendTag) -> usize {
    match tag {
        FrontendTag::Query
        | FrontendTag::Parse
        | FrontendTag::Bind
        | FrontendTag::FunctionCall
        | FrontendTag::CopyData => LARGE_LENGTH_MAX,
        FrontendTag::Close
        | FrontendTag::CopyDone
        | FrontendTag::CopyFail
        | FrontendTag::Describe
        | FrontendTag::Execute
        | FrontendTag::Flush
        | FrontendTag::Sync
        | FrontendTag::Terminate => SMALL_LENGTH_MAX,
        FrontendTag::Password => AUTHENTICATION_LENGTH_MAX,
    }
}
