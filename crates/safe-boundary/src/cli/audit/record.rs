//! A record as it is read back, for people.
//!
//! Promises: total: a field that is missing or of another shape is shown as nothing, never an error.
//! Deliberately not here: escaping; each format has its own.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use memchr::memmem;
use serde_json::Value;
use tlog::hash::Hash;

use super::when::time_of;
use crate::trail::blob::blob_path;
use crate::trail::read::{Entry, open_file};

/// No content is longer: a message of PostgreSQL says its length in 31 bits.
pub(super) const BLOB_BYTES_MAX: u64 = 1 << 31;

/// What is wrong with a blob whose content or length is another.
pub(super) const OTHER_CONTENT: &str = "has other content than its name says";

/// One record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) index: u64,
    /// Its JSON, byte for byte.
    pub(super) raw: Vec<u8>,
    value: Value,
}

/// A reference to a blob, standing where a value would.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub(super) sha256: Hash,
    pub(super) bytes: u64,
}

/// One record, not taken apart: that makes it several times as large.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) index: u64,
    /// Its JSON, byte for byte.
    pub(super) raw: Vec<u8>,
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        Written { index: entry.index, raw: entry.bytes }.into()
    }
}

impl From<Written> for Record {
    fn from(written: Written) -> Self {
        let value = serde_json::from_slice(&written.raw).unwrap_or_default();
        Self { index: written.index, raw: written.raw, value }
    }
}

impl From<Record> for Written {
    fn from(record: Record) -> Self {
        Self { index: record.index, raw: record.raw }
    }
}

impl Record {
    pub(super) fn time(&self) -> Option<Timestamp> {
        time_of(&self.value)
    }

    /// The record as it was written, or `null` if that is no JSON.
    pub(super) fn json(&self) -> &[u8] {
        if self.value.is_null() { b"null" } else { &self.raw }
    }

    /// Whether it is what a record must be.
    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// The text at a JSON pointer (RFC 6901), numbers and lists as JSON; empty when there is none.
    pub(super) fn field(&self, pointer: &str) -> String {
        self.value.pointer(pointer).map(plain).unwrap_or_default()
    }

    /// The person: proved, or else as the client named her, with a question mark.
    pub(super) fn person(&self) -> String {
        let proved = self.field("/subject/login");
        let named = self.field("/client/login");
        if proved.is_empty() && !named.is_empty() { format!("{named}?") } else { proved }
    }

    /// Whether it is about this login, proved or only named, also with a key of hers; ASCII letters in either case, as at
    /// sign-in.
    pub(super) fn is_of(&self, login: &str) -> bool {
        let (proved, named) = (self.field("/subject/login"), self.field("/client/login"));
        let is_named = || named.split('/').next().is_some_and(|named| named.eq_ignore_ascii_case(login));
        proved.eq_ignore_ascii_case(login) || (proved.is_empty() && is_named())
    }

    /// The statement's text as far as it stands in the record.
    pub(super) fn text(&self) -> String {
        let Some(statement) = self.value.get("statement") else { return String::new() };
        if let Some(text) = statement.get("text").filter(|text| !text.is_null()) {
            return plain(text);
        }
        let raw = statement.get("text_b64").and_then(Value::as_str);
        match raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok()) {
            Some(raw) => String::from_utf8_lossy(&raw).into_owned(),
            None => String::new(),
        }
    }

    /// What it tells, on one line.
    pub(super) fn what(&self) -> String {
        let statement = self.value.get("statement");
        let mut what = self.text();
        if let (Some(_), true) = (statement, what.is_empty()) {
            what = match self.field("/statement/protocol").as_str() {
                "function" => format!("function {}", self.field("/statement/function")),
                "copy" if self.field("/statement/copied/failed") == "true" => "copy given up by the client".to_owned(),
                "copy" => format!("copied {} bytes", self.field("/statement/copied/bytes")),
                _ => "(a name nobody knows)".to_owned(),
            };
        }
        if let Some(Value::Array(params)) = self.value.pointer("/statement/params")
            && !params.is_empty()
        {
            let values: Vec<String> = params.iter().map(|param| param.get("value").map_or("?".into(), shown)).collect();
            what.push_str(&format!("  ({})", values.join(", ")));
        }
        if self.field("/statement/protocol") == "bind" {
            what.insert_str(0, "(bind) ");
        }
        if self.field("/statement/resolution") == "uncertain" {
            what.insert_str(0, "(uncertain) ");
        }
        let event = self.value.get("journal").map(plain).unwrap_or_default();
        let parts = [what, self.step(), self.field("/decision/reason"), self.field("/reason"), event];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    /// What was decided, or which session was to be cancelled; of sign-ins and cancels also the address they came from. It
    /// stands before the reason, which may be long, and may have words of others in it.
    fn step(&self) -> String {
        let (kind, session) = (self.field("/kind"), self.field("/cancels"));
        let step = match kind.as_str() {
            "cancel" if session.is_empty() => format!("process {} of no session", self.field("/pid")),
            "cancel" => format!("process {} of session {session}", self.field("/pid")),
            _ => self.field("/decision/effect"),
        };
        let address = self.field("/client/address");
        let has_origin = matches!(kind.as_str(), "login" | "cancel") && !address.is_empty();
        if has_origin { format!("{step}, from {address}") } else { step }
    }

    /// What became of a statement, from its outcome record, on one line.
    pub(super) fn outcome(&self) -> String {
        match self.value.get("outcome") {
            Some(Value::Array(many)) => many.iter().map(one_outcome).collect::<Vec<_>>().join("; "),
            Some(one) => one_outcome(one),
            None => String::new(),
        }
    }

    /// As [`Record::outcome`], where the statement is not beside it: a second one says that it is not the first.
    pub(super) fn own_outcome(&self) -> String {
        let then = if self.field("/again") == "true" { "then " } else { "" };
        format!("{then}{}", self.outcome())
    }

    /// All references to blobs.
    pub(super) fn references(&self) -> Vec<Reference> {
        // A reference is the only thing that is written so; inside a text the quotes would be escaped.
        if memmem::find(&self.raw, b"{\"sha256\":\"").is_none() {
            return Vec::new();
        }
        let mut found = Vec::new();
        walk(&self.value, &mut |value| found.extend(reference(value)));
        found
    }

    /// Calls for every text in it, and for the statement's as it is shown.
    pub(super) fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.text());
        walk(&self.value, &mut |value| {
            if let Some(text) = value.as_str() {
                visit(text);
            }
        });
    }
}

fn reference(value: &Value) -> Option<Reference> {
    let object = value.as_object()?;
    // The body of a Bind or FunctionCall says that it is one.
    let is_message = object.get("encoding").is_some_and(|encoding| encoding == "message");
    if object.len() != if is_message { 3 } else { 2 } {
        return None;
    }
    let sha256 = parse_hash(object.get("sha256")?.as_str()?)?;
    Some(Reference { sha256, bytes: object.get("bytes")?.as_u64()? })
}

/// A hash in lower-case hexadecimal.
pub(super) fn parse_hash(hex: &str) -> Option<Hash> {
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(Hash(hash))
}

/// Calls for every value below this one that is no list and no object but a reference.
fn walk(value: &Value, visit: &mut dyn FnMut(&Value)) {
    match value {
        Value::Object(fields) if reference(value).is_none() => fields.values().for_each(|field| walk(field, visit)),
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => visit(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => match reference(other) {
            Some(blob) => format!("({} bytes in blob {})", blob.bytes, blob.sha256),
            None => other.to_string(),
        },
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "NULL".to_owned() } else { plain(value) }
}

fn one_outcome(outcome: &Value) -> String {
    let field = |name: &str| outcome.get(name).map(plain).unwrap_or_default();
    let tag = field("tag");
    match field("result").as_str() {
        "ok" if !tag.is_empty() => tag,
        "error" => format!("error {} {}", field("sqlstate"), field("message")),
        "" => plain(outcome),
        result => result.to_owned(),
    }
}

/// The content of a blob, or why it is not what the record says. The trail may come from a stranger: nothing is read that
/// may never end, or is not as long as the record says.
pub(super) fn open_blob(dir: &Path, blob: &Reference) -> io::Result<Result<io::Take<File>, &'static str>> {
    if blob.bytes > BLOB_BYTES_MAX {
        return Ok(Err("is said to be longer than any message can be"));
    }
    let file = match open_file(&blob_path(dir, &blob.sha256)) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Err("is not a file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Err("is missing"));
        }
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != blob.bytes {
        return Ok(Err(OTHER_CONTENT));
    }
    Ok(Ok(file.take(blob.bytes)))
}
