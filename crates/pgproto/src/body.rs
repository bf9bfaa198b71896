//! Reading the body of a message from front to back.
//!
//! Promises: every read is checked against what is left; nothing is copied; a read that fails says what it wanted.
//! Deliberately not here: which message has which fields; `frontend`, `backend`, `startup` and `sasl` know that.

use memchr::memchr;

/// Why the body of a message could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body ends before the field does.
    #[error("expected {expected} bytes of {what}, came {came}")]
    Short {
        /// The field.
        what: &'static str,
        /// Bytes the field needs.
        expected: usize,
        /// Bytes that were left.
        came: usize,
    },
    /// A string has no terminator.
    #[error("expected a zero byte at the end of {what}, came none in {came} bytes")]
    NoTerminator {
        /// The field.
        what: &'static str,
        /// Bytes that were left.
        came: usize,
    },
    /// The message goes on after its last field.
    #[error("expected the end of the message, came {came} more bytes")]
    Trailing {
        /// Bytes that follow.
        came: usize,
    },
    /// A length is negative and does not mean NULL.
    #[error("expected a length of -1 or more for {what}, came {came}")]
    NegativeLength {
        /// The field.
        what: &'static str,
        /// The length as it came.
        came: i32,
    },
}

/// A body, read from front to back.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn bytes(&mut self, what: &'static str, count: usize) -> Result<&'a [u8], BodyError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.short(what, count))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], BodyError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short(what, N))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A row of `count` items of `N` bytes each, as they stand in the body.
    pub(crate) fn arrays<const N: usize>(
        &mut self,
        what: &'static str,
        count: usize,
    ) -> Result<&'a [[u8; N]], BodyError> {
        let bytes = count.checked_mul(N).ok_or_else(|| self.short(what, usize::MAX))?;
        Ok(self.bytes(what, bytes)?.as_chunks::<N>().0)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, BodyError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, BodyError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, BodyError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, BodyError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// The bytes up to the next zero byte, which is taken too.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a [u8], BodyError> {
        let missing = BodyError::NoTerminator { what, came: self.rest.len() };
        let end = memchr(0, self.rest).ok_or(missing)?;
        let (taken, rest) = self.rest.split_at_checked(end).ok_or(missing)?;
        self.rest = rest.get(1..).ok_or(missing)?;
        Ok(taken)
    }

    /// An Int32 length and that many bytes; a length of -1 is SQL NULL.
    pub(crate) fn nullable(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, BodyError> {
        match self.i32(what)? {
            -1 => Ok(None),
            length => {
                let count = usize::try_from(length).map_err(|_| BodyError::NegativeLength { what, came: length })?;
                self.bytes(what, count).map(Some)
            }
        }
    }

    /// What has not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// All that is left, taken.
    pub(crate) const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Nothing may follow.
    pub(crate) const fn end(self) -> Result<(), BodyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BodyError::Trailing { came: self.rest.len() }) }
    }

    const fn short(&self, what: &'static str, expected: usize) -> BodyError {
        BodyError::Short { what, expected, came: self.rest.len() }
    }
}
