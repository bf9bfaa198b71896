//! The untagged packets before login: startup packet, SSLRequest, GSSENCRequest, CancelRequest.
//!
//! Promises: a length out of bounds fails on its four bytes, a bad code or size on the first eight; nothing waits for
//! the rest of a packet that will be refused.
//! Deliberately not here: which parameters are accepted, and the order in which packets may come.

use std::fmt;
use std::ops::RangeInclusive;

use crate::body::{BodyError, Reader};

/// The smallest packet: length word and code.
pub const PACKET_BYTES_MIN: usize = 8;

/// The largest packet. Everyone may send one, so it is small.
pub const PACKET_BYTES_MAX: usize = 10_000;

/// The most parameters in a startup packet.
pub const PARAMETERS_MAX: usize = 100;

/// How large the secret of a cancel request may be; on protocol 3.0 it is always 4.
pub const CANCEL_SECRET_BYTES: RangeInclusive<usize> = 4..=256;

pub(crate) const CANCEL_CODE: u32 = 80_877_102;
pub(crate) const SSL_CODE: u32 = 80_877_103;
const GSSENC_CODE: u32 = 80_877_104;

/// Bytes of a CancelRequest before the secret: length word, code, process id.
const CANCEL_FIXED_BYTES: usize = 12;

/// Why a first packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length word is out of bounds.
    #[error("expected a startup packet of {PACKET_BYTES_MIN} to {PACKET_BYTES_MAX} bytes, came length {came}")]
    Length {
        /// The length word as it came.
        came: i32,
    },
    /// A request that has always the same size has another one.
    #[error("expected a {request} of {expected} bytes, came {came}")]
    RequestSize {
        /// The request.
        request: &'static str,
        /// The size it always has.
        expected: usize,
        /// The size it had.
        came: usize,
    },
    /// A cancel request whose secret cannot be one.
    #[error("expected a cancel secret of 4 to 256 bytes, came a packet of {came} bytes")]
    CancelSize {
        /// Size of the packet.
        came: usize,
    },
    /// A protocol that is not version 3.
    #[error("expected protocol 3, came {}.{}", .came.major, .came.minor)]
    Version {
        /// The version asked for.
        came: ProtocolVersion,
    },
    /// The parameters do not fit the packet.
    #[error("malformed startup packet: {0}")]
    Body(#[from] BodyError),
    /// More parameters than anyone needs.
    #[error("expected at most {PARAMETERS_MAX} startup parameters, came more")]
    Parameters,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// 3 for everything alive.
    pub major: u16,
    /// 0, or 2 for long cancel secrets.
    pub minor: u16,
}

impl ProtocolVersion {
    /// What everyone speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// The same with long cancel secrets (PostgreSQL 18).
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// The version in a code on the wire.
    pub const fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    /// The code on the wire.
    pub const fn code(self) -> u32 {
        let [a, b] = self.major.to_be_bytes();
        let [c, d] = self.minor.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// A packet without a tag: what a connection begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Untagged<'a> {
    /// Asks for TLS; answered by one byte.
    SslRequest,
    /// Asks for GSSAPI encryption; answered by one byte.
    GssEncRequest,
    /// Asks to cancel what another session is running; never answered.
    CancelRequest {
        /// Process id as the client was told.
        pid: i32,
        /// Secret as the client was told.
        secret: &'a [u8],
    },
    /// Asks for a session.
    Startup(StartupPacket<'a>),
}

impl fmt::Debug for Untagged<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SslRequest => out.write_str("SslRequest"),
            Self::GssEncRequest => out.write_str("GssEncRequest"),
            Self::CancelRequest { pid, secret: _ } => write!(out, "CancelRequest({pid}, …)"),
            Self::Startup(packet) => packet.fmt(out),
        }
    }
}

/// The packet that asks for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupPacket<'a> {
    /// The version the client would like; major is 3, minor is anything.
    pub version: ProtocolVersion,
    /// Who one claims to be, and settings.
    pub parameters: Parameters<'a>,
}

/// The names and values of a startup packet, in order, as bytes of no known encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parameters<'a> {
    raw: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, StartupError> {
        let mut body = Reader::new(raw);
        let mut count: usize = 0;
        while !body.text("a parameter name")?.is_empty() {
            body.text("a parameter value")?;
            count = count.saturating_add(1);
            if count > PARAMETERS_MAX {
                return Err(StartupError::Parameters);
            }
        }
        body.end()?;
        Ok(Self { raw })
    }

    /// All of them, equal names too.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = Reader::new(self.raw);
        std::iter::from_fn(move || match rest.text("a parameter name").ok()? {
            b"" => None,
            name => Some((name, rest.text("a parameter value").ok()?)),
        })
    }

    /// The value PostgreSQL would take: the last one of exactly this name.
    ///
    /// PostgreSQL compares `user`, `database`, `options` and `replication` exactly, but the names of settings without
    /// regard to ASCII case: whoever looks for a setting must walk [`Parameters::iter`].
    pub fn lookup(self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter().filter_map(|(each, value)| (each == name).then_some(value)).last()
    }

    /// The options of the protocol itself, whose names begin with `_pq_.`.
    pub fn pq_options(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.iter().filter(|(name, _)| name.starts_with(b"_pq_."))
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        out.debug_map().entries(shown).finish()
    }
}

/// Takes one packet from the front and says how many bytes it had. `None` asks for more bytes.
pub fn parse_untagged(raw: &[u8]) -> Result<Option<(Untagged<'_>, usize)>, StartupError> {
    let Some((word, _)) = raw.split_first_chunk() else { return Ok(None) };
    let came = i32::from_be_bytes(*word);
    let length = match usize::try_from(came) {
        Ok(length) if (PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&length) => length,
        Ok(_) | Err(_) => return Err(StartupError::Length { came }),
    };
    let Some((&[_, _, _, _, a, b, c, d], _)) = raw.split_first_chunk::<PACKET_BYTES_MIN>() else { return Ok(None) };
    let code = u32::from_be_bytes([a, b, c, d]);
    check_size(code, length)?;
    let Some(mut body) = raw.get(PACKET_BYTES_MIN..length).map(Reader::new) else { return Ok(None) };
    let packet = match code {
        SSL_CODE => Untagged::SslRequest,
        GSSENC_CODE => Untagged::GssEncRequest,
        CANCEL_CODE => Untagged::CancelRequest { pid: body.i32("the process id")?, secret: body.take_rest() },
        code => Untagged::Startup(StartupPacket {
            version: ProtocolVersion::from_code(code),
            parameters: Parameters::read(body.rest())?,
        }),
    };
    Ok(Some((packet, length)))
}

/// What can be refused by code and length alone.
fn check_size(code: u32, came: usize) -> Result<(), StartupError> {
    let request_size = |request| match came {
        PACKET_BYTES_MIN => Ok(()),
        came => Err(StartupError::RequestSize { request, expected: PACKET_BYTES_MIN, came }),
    };
    match code {
        SSL_CODE => request_size("SSLRequest"),
        GSSENC_CODE => request_size("GSSENCRequest"),
        CANCEL_CODE => match came.checked_sub(CANCEL_FIXED_BYTES) {
            Some(secret) if CANCEL_SECRET_BYTES.contains(&secret) => Ok(()),
            Some(_) | None => Err(StartupError::CancelSize { came }),
        },
        code => match ProtocolVersion::from_code(code) {
            ProtocolVersion { major: 3, .. } => Ok(()),
            version => Err(StartupError::Version { came: version }),
        },
    }
}

#[cfg(test)]
mod tests;
