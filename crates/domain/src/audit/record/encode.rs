//! The encoder of one record.
//!
//! Promises: the JSON is written once, straight into the batch; a record that comes out too long is written again
//! with everything spilled that can be, and then fits.
//! Deliberately not here: what a record consists of.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use tlog::hash::Hash;
use uuid::Uuid;

use super::batch::Batch;
use super::context::Context;
use super::{
    Body, Content, ENTRY_BYTES_MAX, FIELD_BYTES_MAX, FORMAT_VERSION, Head, Hex, Protocol, SMALL_BYTES_MAX, Spilled,
    Statement,
};

/// What most records have beside the context of their session, in bytes: room for it is made at once.
const OWN_BYTES_LIKELY: usize = 512;

/// Times to the microsecond.
static TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// Writes one record at the end of a batch.
pub(super) struct Encoder<'b> {
    batch: &'b mut Batch,
    /// Fields longer than this are spilled.
    field_bytes_max: usize,
    /// Whether the bytes of a text are UTF-8 when they look like it.
    is_utf8: bool,
}

impl<'b> Encoder<'b> {
    pub(super) fn new(batch: &'b mut Batch) -> Self {
        Self { batch, field_bytes_max: FIELD_BYTES_MAX, is_utf8: true }
    }

    pub(super) fn encode(&mut self, head: &Head<'_>, context: &Context, body: &Body<'_>) {
        let start = self.batch.entries.len();
        self.batch.entries.reserve(context.fragment.len() + OWN_BYTES_LIKELY);
        self.record(head, context, body);
        if self.batch.entries.len() - start > ENTRY_BYTES_MAX {
            // Many fields below the single limit, or text that grew by its escapes.
            self.batch.entries.truncate(start);
            self.field_bytes_max = SMALL_BYTES_MAX;
            self.record(head, context, body);
        }
        for blob in &context.blobs {
            self.batch.carry(blob.sha256, &blob.bytes);
        }
        self.batch.ends.push(self.batch.entries.len());
    }

    fn record(&mut self, head: &Head<'_>, context: &Context, body: &Body<'_>) {
        self.head(head);
        self.raw(&context.fragment);
        self.body(body);
        self.raw(b"}");
    }

    fn head(&mut self, head: &Head<'_>) {
        self.raw(b"{\"v\":");
        self.value(&FORMAT_VERSION);
        self.id("id", head.id);
        self.name("time");
        self.raw(b"\"");
        let written = TIMES.print_timestamp(&head.time, &mut self.batch.entries);
        debug_assert!(written.is_ok(), "a vector takes all");
        self.raw(b"\"");
        self.field("node", head.node);
        self.field("kind", &head.kind);
        if let Some(session) = head.session {
            self.id("session", session);
            self.field("seq", &head.seq);
        }
    }

    fn body(&mut self, body: &Body<'_>) {
        match body {
            Body::None => {}
            Body::Statement(statement) => self.statement(statement),
            Body::Decision(decision) => self.bounded("decision", decision),
            Body::Refused(statement, decision) => {
                self.statement(statement);
                self.bounded("decision", decision);
            }
            Body::Outcome { of, outcomes, duration_us, bytes, again } => {
                self.id("of", *of);
                match outcomes {
                    [one] => self.bounded("outcome", one),
                    many => self.bounded("outcome", many),
                }
                self.field("duration_us", duration_us);
                self.field("bytes", bytes);
                if *again {
                    self.field("again", again);
                }
            }
            Body::End { reason, statements } => {
                self.bounded("reason", reason);
                self.field("statements", statements);
            }
            Body::Cancel { session, pid } => {
                self.field("cancels", session);
                self.field("pid", pid);
            }
            Body::Journal(event) => self.field("journal", event),
        }
    }

    fn statement(&mut self, statement: &Statement<'_>) {
        self.raw(b",\"statement\":{\"protocol\":");
        self.value(&statement.protocol);
        match statement.text {
            Some(text) => {
                // Bytes that happen to be UTF-8 would read as other letters than the server's.
                self.is_utf8 = statement.encoding.is_none();
                self.text("text", text, true);
                self.is_utf8 = true;
                if let Some(encoding) = statement.encoding {
                    self.field("encoding", encoding);
                }
            }
            // A COPY's end and a function call have no text of their own; anything else is a name nobody knows.
            None if matches!(statement.protocol, Protocol::Copy | Protocol::Function) => {}
            None => {
                self.field("text", &());
                self.field("resolution", "unknown");
            }
        }
        if statement.uncertain && statement.text.is_some() {
            self.field("resolution", "uncertain");
        }
        if let Some(of) = statement.of {
            self.id("of", of);
        }
        match statement.params {
            Some(Content::Blob(spilled)) => self.field("params", &spilled),
            Some(Content::Message(spilled)) => {
                let Spilled { sha256, bytes } = spilled;
                self.field("params", &MessageBlob { sha256, bytes, encoding: "message" });
            }
            Some(Content::Bytes(json)) => self.json("params", json),
            None => {}
        }
        if let Some(name) = statement.prepared {
            self.text("prepared", Content::Bytes(name), false);
        }
        if let Some(name) = statement.portal {
            self.text("portal", Content::Bytes(name), false);
        }
        if let Some(limit) = &statement.limit {
            self.field("limit", limit);
        }
        if let Some(oid) = &statement.function {
            self.field("function", oid);
        }
        if let Some(copied) = &statement.copied {
            self.field("copied", copied);
        }
        if let Some(forwarded) = statement.forwarded {
            self.text("forwarded", Content::Bytes(forwarded.as_bytes()), false);
        }
        self.raw(b"}");
    }

    /// A text as a string; as base64 under `NAME_b64` when it is not UTF-8; as a reference when it is too long.
    fn text(&mut self, name: &str, text: Content<'_>, with_hash: bool) {
        let sha256 = match text {
            Content::Blob(spilled) | Content::Message(spilled) => {
                self.field(name, &spilled);
                spilled.sha256
            }
            Content::Bytes(bytes) if bytes.len() > self.field_bytes_max => {
                let spilled = self.batch.spill(bytes);
                self.field(name, &spilled);
                spilled.sha256
            }
            Content::Bytes(bytes) => {
                match std::str::from_utf8(bytes) {
                    Ok(text) if self.is_utf8 || bytes.is_ascii() => self.field(name, text),
                    Ok(_) | Err(_) => self.field(&format!("{name}_b64"), &BASE64_STANDARD.encode(bytes)),
                }
                if !with_hash {
                    return;
                }
                Hex(Hash::of(bytes))
            }
        };
        if with_hash {
            self.field("sha256", &sha256);
        }
    }

    /// A value that a peer may have made long.
    fn bounded<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let start = self.batch.entries.len();
        self.field(name, value);
        if self.batch.entries.len() - start > self.field_bytes_max {
            let json = self.batch.entries.split_off(start);
            // After `,"NAME":` stands the value.
            let spilled = self.batch.spill(json.get(name.len() + 4..).unwrap_or_default());
            self.field(name, &spilled);
        }
    }

    fn json(&mut self, name: &str, json: &[u8]) {
        if json.len() > self.field_bytes_max {
            let spilled: Spilled = self.batch.spill(json);
            return self.field(name, &spilled);
        }
        self.name(name);
        self.raw(json);
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        self.value(value);
    }

    /// Digits and hyphens need no escapes.
    fn id(&mut self, name: &str, id: impl Into<Uuid>) {
        self.name(name);
        self.raw(b"\"");
        self.raw(id.into().hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        self.raw(b"\"");
    }

    fn name(&mut self, name: &str) {
        self.raw(b",\"");
        self.raw(name.as_bytes());
        self.raw(b"\":");
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let written = serde_json::to_writer(&mut self.batch.entries, value);
        debug_assert!(written.is_ok(), "records hold only strings, numbers and lists");
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.batch.entries.extend_from_slice(bytes);
    }
}

/// A reference to a blob that holds a message's body instead of a JSON list.
#[derive(Serialize)]
struct MessageBlob {
    sha256: Hex,
    bytes: u64,
    encoding: &'static str,
}
