//! Bind parameters as they stand in a record: a JSON list of `{type, format, value}`.
//!
//! Promises: every parameter is there, in order; a value is PostgreSQL's text form of it where the type is known,
//! else base64 under `value_b64`, with the encoding of text that is not UTF-8; NULL is null.
//! Deliberately not here: decoding of single types (`values.rs`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pgproto::frontend::{Bind, Format};
use serde::Serialize;

use super::values;
use crate::audit::record::Parameters;

/// One parameter, as recorded.
#[derive(Debug, Serialize)]
struct Parameter<'a> {
    /// The type's name, or its OID as a number's text when the name is not known; none when nobody said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    format: &'static str,
    #[serde(skip_serializing_if = "Value::is_elsewhere")]
    value: Value<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
    /// How the server reads the text in `value_b64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Null,
    Text(&'a str),
    Decoded(String),
    /// Under `value_b64`.
    #[serde(skip)]
    Elsewhere,
}

impl Value<'_> {
    fn is_ascii(&self) -> bool {
        match self {
            Self::Text(text) => text.is_ascii(),
            Self::Decoded(text) => text.is_ascii(),
            Self::Null | Self::Elsewhere => true,
        }
    }

    const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere)
    }
}

/// Encodes the parameters of a Bind, whose texts are in `encoding` if that is not UTF-8; none when there are none or
/// they are not to be recorded.
#[must_use]
pub fn encode(bind: &Bind<'_>, types: &[u32], parameters: Parameters, encoding: Option<&str>) -> Option<Vec<u8>> {
    if parameters == Parameters::Omit || bind.params.is_empty() {
        return None;
    }
    let mut out = vec![b'['];
    for (at, value) in bind.params.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let oid = types.get(at).copied().unwrap_or(0);
        one(&mut out, oid, bind.format_of(at), value, encoding);
    }
    out.push(b']');
    Some(out)
}

/// Encodes one parameter; `oid` 0 says that the type is not known.
pub fn one(out: &mut Vec<u8>, oid: u32, format: Format, raw: Option<&[u8]>, encoding: Option<&str>) {
    let number = oid.to_string();
    let type_name = (oid != 0).then(|| values::type_name(oid).unwrap_or(&number));
    let value = match raw {
        None => Value::Null,
        Some(raw) if format == Format::Binary => values::decode(oid, raw).map_or(Value::Elsewhere, Value::Decoded),
        Some(raw) => std::str::from_utf8(raw).map_or(Value::Elsewhere, Value::Text),
    };
    // Bytes that happen to be UTF-8 would read as other letters than the server's.
    let value = if encoding.is_some() && !value.is_ascii() { Value::Elsewhere } else { value };
    let value_b64 = raw.filter(|_| value.is_elsewhere()).map(|raw| BASE64_STANDARD.encode(raw));
    let encoding = encoding.filter(|_| value_b64.is_some());
    let format = if format == Format::Binary { "binary" } else { "text" };
    let written = serde_json::to_writer(&mut *out, &Parameter { type_name, format, value, value_b64, encoding });
    debug_assert!(written.is_ok(), "a parameter is strings only");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_text_where_it_can_be() {
        let check = |oid, format, raw: Option<&[u8]>, expected: &str| {
            let mut out = Vec::new();
            one(&mut out, oid, format, raw, None);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(23, Format::Text, Some(b"7"), r#"{"type":"int4","format":"text","value":"7"}"#);
        check(23, Format::Binary, Some(&[0, 0, 0, 7]), r#"{"type":"int4","format":"binary","value":"7"}"#);
        check(23, Format::Binary, Some(&[7]), r#"{"type":"int4","format":"binary","value_b64":"Bw=="}"#);
        check(0, Format::Text, Some(b"\xff"), r#"{"format":"text","value_b64":"/w=="}"#);
        check(99, Format::Text, None, r#"{"type":"99","format":"text","value":null}"#);
        let mut out = Vec::new();
        one(&mut out, 25, Format::Text, Some("\u{e9}".as_bytes()), Some("GBK"));
        one(&mut out, 25, Format::Text, Some(b"a"), Some("GBK"));
        let expected = [
            r#"{"type":"text","format":"text","value_b64":"w6k=","encoding":"GBK"}"#,
            r#"{"type":"text","format":"text","value":"a"}"#,
        ];
        assert_eq!(String::from_utf8(out).unwrap(), expected.concat());
    }
}
