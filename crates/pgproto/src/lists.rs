//! Lists inside message bodies, left where they are: OIDs, format codes, parameter values, names.
//!
//! Promises: a list is checked as a whole when it is read, so walking it cannot fail.
//! Deliberately not here: what a value of some type means.

use std::fmt;

use crate::body::{BodyError, Reader};

/// How a value is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The type's text form.
    Text,
    /// The type's binary form.
    Binary,
    /// A code that PostgreSQL does not have; it answers with an error of its own.
    Other(u16),
}

impl Format {
    /// The format a code stands for.
    pub const fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Text,
            1 => Self::Binary,
            other => Self::Other(other),
        }
    }

    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
            Self::Other(code) => code,
        }
    }
}

/// A list of type OIDs.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Oids<'a> {
    raw: &'a [[u8; 4]],
}

impl<'a> Oids<'a> {
    /// Reads an Int16 count and that many OIDs.
    pub(crate) fn read(body: &mut Reader<'a>, what: &'static str) -> Result<Self, BodyError> {
        let count = usize::from(body.u16(what)?);
        Ok(Self { raw: body.arrays(what, count)? })
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.raw.len()
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The one at this place.
    pub fn at(self, index: usize) -> Option<u32> {
        self.raw.get(index).map(|raw| u32::from_be_bytes(*raw))
    }

    /// All of them in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.raw.iter().map(|raw| u32::from_be_bytes(*raw))
    }
}

impl fmt::Debug for Oids<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

/// A list of format codes: none means all text, one means all alike, else one for each value.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats<'a> {
    raw: &'a [[u8; 2]],
}

impl<'a> Formats<'a> {
    /// Reads an Int16 count and that many codes.
    pub(crate) fn read(body: &mut Reader<'a>, what: &'static str) -> Result<Self, BodyError> {
        let count = usize::from(body.u16(what)?);
        Ok(Self { raw: body.arrays(what, count)? })
    }

    /// How many codes were written; not the number of values.
    pub const fn len(self) -> usize {
        self.raw.len()
    }

    /// Whether no code was written, so that all values are text.
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The codes as written.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Format> + 'a {
        self.raw.iter().map(|raw| Format::from_code(u16::from_be_bytes(*raw)))
    }

    /// The format of the value at this place, by the rule of none, one or each.
    pub fn format_of(self, index: usize) -> Format {
        let place = if self.raw.len() == 1 { 0 } else { index };
        self.raw.get(place).map_or(Format::Text, |raw| Format::from_code(u16::from_be_bytes(*raw)))
    }
}

impl fmt::Debug for Formats<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

/// A list of values, each with its length; `None` is SQL NULL. `Debug` shows only how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a> {
    count: usize,
    raw: &'a [u8],
}

impl<'a> Params<'a> {
    /// Reads an Int16 count and that many values, so that every length is checked before anyone walks the list.
    pub(crate) fn read(body: &mut Reader<'a>, what: &'static str) -> Result<Self, BodyError> {
        let count = usize::from(body.u16(what)?);
        let before = *body;
        for _ in 0..count {
            body.nullable(what)?;
        }
        let bytes = before.rest().len().saturating_sub(body.rest().len());
        Ok(Self { count, raw: before.clone().bytes(what, bytes)? })
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// All of them in order.
    pub const fn iter(self) -> ParamIter<'a> {
        ParamIter { left: self.count, rest: Reader::new(self.raw) }
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Params({})", self.count)
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> ParamIter<'a> {
        self.iter()
    }
}

/// Walks the values of a [`Params`].
#[derive(Clone)]
pub struct ParamIter<'a> {
    left: usize,
    rest: Reader<'a>,
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // INVARIANT: `Params::read` walked these very bytes, so this read does not fail.
        self.rest.nullable("a value").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ParamIter<'_> {}

/// A list of names, each ended by a zero byte.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Names<'a> {
    raw: &'a [u8],
}

impl<'a> Names<'a> {
    /// Reads names until an empty one, which is taken too.
    pub(crate) fn until_empty(body: &mut Reader<'a>, what: &'static str) -> Result<Self, BodyError> {
        let before = *body;
        let mut bytes: usize = 0;
        loop {
            let name = body.text(what)?;
            if name.is_empty() {
                return Ok(Self { raw: before.clone().bytes(what, bytes)? });
            }
            bytes = bytes.saturating_add(name.len()).saturating_add(1);
        }
    }

    /// Reads this many names.
    pub(crate) fn counted(body: &mut Reader<'a>, what: &'static str, count: u32) -> Result<Self, BodyError> {
        let before = *body;
        for _ in 0..count {
            body.text(what)?;
        }
        let bytes = before.rest().len().saturating_sub(body.rest().len());
        Ok(Self { raw: before.clone().bytes(what, bytes)? })
    }

    /// All of them in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Reader::new(self.raw);
        std::iter::from_fn(move || rest.text("a name").ok())
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}
