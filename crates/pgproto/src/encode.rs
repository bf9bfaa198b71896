//! Writing messages: the one place where a length is computed for somebody else to believe.
//!
//! Promises: a length that does not fit is an error, never wrapped (a wrapped length lets data become messages); a
//! string that holds a zero byte is an error; after an error the buffer is as it was before.
//! Deliberately not here: which message has which fields; `frontend`, `backend` and `notice` know that.

use crate::frame::{BODY_BYTES_MAX, LENGTH_BYTES};

/// Why a message could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message or field is larger than its length word may say.
    #[error("expected at most {expected} bytes, came {came}")]
    TooLong {
        /// The most there may be.
        expected: usize,
        /// What there was to write.
        came: usize,
    },
    /// More items than their count may say.
    #[error("expected at most {expected} {what}, came {came}")]
    TooMany {
        /// The items.
        what: &'static str,
        /// The most there may be.
        expected: usize,
        /// What there was to write.
        came: usize,
    },
    /// A string holds a zero byte, which would end it early.
    #[error("expected no zero byte in {what}, came one at {at}")]
    Zero {
        /// The field.
        what: &'static str,
        /// Where the zero byte stands.
        at: usize,
    },
    /// A name is empty, which would end the list it stands in.
    #[error("expected a name in {what}, came an empty one")]
    EmptyName {
        /// The list.
        what: &'static str,
    },
    /// A cancel secret is not of a size the protocol has.
    #[error("expected a cancel secret of 4 to 256 bytes, came {came}")]
    SecretSize {
        /// Its size.
        came: usize,
    },
}

/// A message under construction at the end of a buffer.
pub(crate) struct Body<'b> {
    out: &'b mut Vec<u8>,
}

impl Body<'_> {
    pub(crate) fn byte(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.out.extend_from_slice(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// A string and its zero byte.
    pub(crate) fn text(&mut self, what: &'static str, value: &[u8]) -> Result<(), EncodeError> {
        if let Some(at) = memchr::memchr(0, value) {
            return Err(EncodeError::Zero { what, at });
        }
        self.bytes(value);
        self.byte(0);
        Ok(())
    }

    /// A string that must not be empty, because an empty one ends its list.
    pub(crate) fn name(&mut self, what: &'static str, value: &[u8]) -> Result<(), EncodeError> {
        if value.is_empty() { Err(EncodeError::EmptyName { what }) } else { self.text(what, value) }
    }

    /// An Int16 count, which PostgreSQL reads as unsigned.
    pub(crate) fn count(&mut self, what: &'static str, came: usize) -> Result<(), EncodeError> {
        let expected = usize::from(u16::MAX);
        let count = u16::try_from(came).map_err(|_| EncodeError::TooMany { what, expected, came })?;
        self.u16(count);
        Ok(())
    }

    /// An Int32 length and the bytes, or -1 for none.
    pub(crate) fn nullable(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        match value {
            None => self.i32(-1),
            Some(value) => {
                self.bytes(&length_word(value.len(), BODY_BYTES_MAX)?);
                self.bytes(value);
            }
        }
        Ok(())
    }
}

/// Appends a whole message; `fill` writes its body, the length word is put in afterwards.
pub(crate) fn message(
    out: &mut Vec<u8>,
    tag: u8,
    fill: impl FnOnce(&mut Body<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(tag);
    lengthed(out, BODY_BYTES_MAX.saturating_add(LENGTH_BYTES), fill).inspect_err(|_| out.truncate(start))
}

/// Appends an untagged packet of at most `bytes_max` bytes with its length word.
pub(crate) fn lengthed(
    out: &mut Vec<u8>,
    bytes_max: usize,
    fill: impl FnOnce(&mut Body<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let length = fill(&mut Body { out }).and_then(|()| length_word(out.len().saturating_sub(start), bytes_max));
    match (length, out.get_mut(start..).and_then(<[u8]>::first_chunk_mut)) {
        (Ok(length), Some(word)) => {
            *word = length;
            Ok(())
        }
        (length, _) => {
            out.truncate(start);
            length.map(|_| ())
        }
    }
}

/// A message without a body.
pub(crate) fn empty(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&[tag, 0, 0, 0, 4]);
}

fn length_word(came: usize, expected: usize) -> Result<[u8; LENGTH_BYTES], EncodeError> {
    match i32::try_from(came) {
        Ok(length) if came <= expected => Ok(length.to_be_bytes()),
        Ok(_) | Err(_) => Err(EncodeError::TooLong { expected, came }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_does_not_fit_is_refused_and_never_wrapped() {
        let i32_max = i32::MAX.unsigned_abs() as usize;
        for (came, fits) in [
            (0, true),
            (4, true),
            (BODY_BYTES_MAX, true),
            (BODY_BYTES_MAX + 1, false),
            (i32_max, false),
            (i32_max + 1, false),
            (u32::MAX as usize, false),
            (u32::MAX as usize + 5, false),
        ] {
            assert_eq!(length_word(came, BODY_BYTES_MAX).is_ok(), fits, "{came}");
        }
        assert_eq!(length_word(i32_max, usize::MAX), Ok([0x7f, 0xff, 0xff, 0xff]));
        assert!(length_word(i32_max + 1, usize::MAX).is_err(), "an Int32 cannot say 2^31");
    }

    #[test]
    fn after_an_error_the_buffer_is_as_it_was() {
        let mut out = b"kept".to_vec();
        let error = message(&mut out, b'Q', |body| {
            body.bytes(b"lost");
            body.text("text", b"a\0b")
        });
        assert_eq!(error, Err(EncodeError::Zero { what: "text", at: 1 }));
        let error = lengthed(&mut out, 10, |body| {
            body.bytes(b"1234567");
            Ok(())
        });
        assert_eq!(error, Err(EncodeError::TooLong { expected: 10, came: 11 }));
        assert_eq!(out, b"kept");
    }

    #[test]
    fn a_count_beyond_an_int16_is_refused() {
        let mut out = Vec::new();
        for (came, fits) in [(0, true), (65_535, true), (65_536, false), (usize::MAX, false)] {
            assert_eq!(message(&mut out, b'P', |body| body.count("types", came)).is_ok(), fits, "{came}");
        }
    }
}
