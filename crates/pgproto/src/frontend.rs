//! Messages that clients send: views of those we must understand.
//!
//! Promises: a view borrows the body and is checked as a whole when it is made, as strictly as PostgreSQL checks it, so
//! that what we read is what the server will run; bytes after the last field are an error.
//! Deliberately not here: which statement a name stands for, and whether it may run. SASL answers are in `sasl`.

pub mod encode;

use crate::body::{BodyError, Reader};
pub use crate::lists::{Format, Formats, Oids, Params};
pub use crate::tag::FrontendTag;

/// Why the body of a client message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontendError {
    /// The fields do not fit the body.
    #[error("malformed {tag:?} message: {cause}")]
    Body {
        /// The kind of message.
        tag: FrontendTag,
        /// What did not fit.
        #[source]
        cause: BodyError,
    },
    /// Describe or Close of something that is neither statement nor portal.
    #[error("malformed {tag:?} message: expected `S` or `P`, came byte {came:#04x}")]
    Target {
        /// The kind of message.
        tag: FrontendTag,
        /// The byte that came.
        came: u8,
    },
    /// Neither none, nor one, nor one format code for each value.
    #[error("malformed {tag:?} message: expected 0, 1 or {expected} format codes, came {came}")]
    FormatCount {
        /// The kind of message.
        tag: FrontendTag,
        /// How many values there are.
        expected: usize,
        /// How many codes there are.
        came: usize,
    },
}

/// Names the message in which a field did not fit.
fn inside(tag: FrontendTag) -> impl Fn(BodyError) -> FrontendError {
    move |cause| FrontendError::Body { tag, cause }
}

/// Checks a message that has no body, such as Sync.
pub fn expect_empty(tag: FrontendTag, body: &[u8]) -> Result<(), FrontendError> {
    Reader::new(body).end().map_err(inside(tag))
}

/// Simple query: run this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The statement text, possibly several statements, in the client's encoding.
    pub text: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads the body. There must be exactly one zero byte, at the end.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let text = body.text("the statement text")?;
            body.end()?;
            Ok(Self { text })
        };
        read().map_err(inside(FrontendTag::Query))
    }
}

/// Prepare a statement under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Its name; empty is the unnamed statement.
    pub name: &'a [u8],
    /// The statement text.
    pub text: &'a [u8],
    /// Types of the first parameters; 0 leaves a type open.
    pub types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads the body.
    #[expect(clippy::self_named_constructors, reason = "every view is read by `parse`; this one is of that name")]
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let name = body.text("the statement name")?;
            let text = body.text("the statement text")?;
            let types = Oids::read(&mut body, "the parameter types")?;
            body.end()?;
            Ok(Self { name, text, types })
        };
        read().map_err(inside(FrontendTag::Parse))
    }
}

/// Bind values to a prepared statement, making a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Name of the portal; empty is the unnamed one.
    pub portal: &'a [u8],
    /// Name of the prepared statement.
    pub statement: &'a [u8],
    /// Format codes of the values, as written; ask [`Bind::format_of`].
    pub formats: Formats<'a>,
    /// The values.
    pub params: Params<'a>,
    /// Format codes of the result columns, as written.
    pub result_formats: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let portal = body.text("the portal name")?;
            let statement = body.text("the statement name")?;
            let formats = Formats::read(&mut body, "the parameter formats")?;
            let params = Params::read(&mut body, "a parameter value")?;
            let result_formats = Formats::read(&mut body, "the result formats")?;
            body.end()?;
            Ok(Self { portal, statement, formats, params, result_formats })
        };
        let bind = read().map_err(inside(FrontendTag::Bind))?;
        check_formats(FrontendTag::Bind, bind.formats, bind.params)?;
        Ok(bind)
    }

    /// The format of the value at this place.
    pub fn format_of(&self, index: usize) -> Format {
        self.formats.format_of(index)
    }
}

/// Run a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Name of the portal.
    pub portal: &'a [u8],
    /// Rows after which the portal is suspended; 0 is no limit (and so is anything negative).
    pub max_rows: u32,
}

impl<'a> Execute<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let portal = body.text("the portal name")?;
            let max_rows = u32::try_from(body.i32("the row limit")?).unwrap_or(0);
            body.end()?;
            Ok(Self { portal, max_rows })
        };
        read().map_err(inside(FrontendTag::Execute))
    }
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement, by name.
    Statement(&'a [u8]),
    /// A portal, by name.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    fn parse(tag: FrontendTag, body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let kind = body.byte("the kind of target")?;
            let name = body.text("the name")?;
            body.end()?;
            Ok((kind, name))
        };
        match read().map_err(inside(tag))? {
            (b'S', name) => Ok(Self::Statement(name)),
            (b'P', name) => Ok(Self::Portal(name)),
            (came, _) => Err(FrontendError::Target { tag, came }),
        }
    }
}

/// Ask for the shape of a prepared statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// What is asked about.
    pub target: Target<'a>,
}

impl<'a> Describe<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        Ok(Self { target: Target::parse(FrontendTag::Describe, body)? })
    }
}

/// Close a prepared statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// What is closed.
    pub target: Target<'a>,
}

impl<'a> Close<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        Ok(Self { target: Target::parse(FrontendTag::Close, body)? })
    }
}

/// Call a function by its OID, past any statement text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function.
    pub oid: u32,
    /// Format codes of the arguments, as written; ask [`FunctionCall::format_of`].
    pub formats: Formats<'a>,
    /// The arguments.
    pub args: Params<'a>,
    /// Format of the result.
    pub result_format: Format,
}

impl<'a> FunctionCall<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let oid = body.u32("the function OID")?;
            let formats = Formats::read(&mut body, "the argument formats")?;
            let args = Params::read(&mut body, "an argument")?;
            let result_format = Format::from_code(body.u16("the result format")?);
            body.end()?;
            Ok(Self { oid, formats, args, result_format })
        };
        let call = read().map_err(inside(FrontendTag::FunctionCall))?;
        check_formats(FrontendTag::FunctionCall, call.formats, call.args)?;
        Ok(call)
    }

    /// The format of the argument at this place.
    pub fn format_of(&self, index: usize) -> Format {
        self.formats.format_of(index)
    }
}

/// The client gives up a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// Why, in the client's words.
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FrontendError> {
        let read = || {
            let mut body = Reader::new(body);
            let reason = body.text("the reason")?;
            body.end()?;
            Ok(Self { reason })
        };
        read().map_err(inside(FrontendTag::CopyFail))
    }
}

fn check_formats(tag: FrontendTag, formats: Formats<'_>, values: Params<'_>) -> Result<(), FrontendError> {
    if formats.len() > 1 && formats.len() != values.len() {
        return Err(FrontendError::FormatCount { tag, expected: values.len(), came: formats.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
