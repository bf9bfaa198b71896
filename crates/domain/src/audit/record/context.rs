//! What is known of a connection: who, where to, where from.
//!
//! Promises: encoded once for all records of a session, and at most [`FIELD_BYTES_MAX`] long; what a client or an
//! identity provider made too long is spilled, never cut.
//! Deliberately not here: what a record tells of that connection.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tlog::hash::Hash;

use super::batch::Blob;
use super::{FIELD_BYTES_MAX, Hex, SMALL_BYTES_MAX, Spilled};

/// What is known of the connection: the same in all records of a session, so encoded once.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// `,"subject":{…},"database":…` or nothing.
    pub(super) fragment: Vec<u8>,
    /// Spilled groups and the like; each batch that uses this context carries them.
    pub(super) blobs: Vec<Blob>,
}

/// The person, as the identity provider names her.
#[derive(Clone, Debug, Serialize)]
pub struct SubjectFields<'a> {
    /// The issuer.
    pub iss: &'a str,
    /// The issuer's stable id of the person.
    pub sub: &'a str,
    /// The name she connects with.
    pub login: &'a str,
    /// Her groups at the IdP.
    pub groups: &'a [String],
    /// Authentication context class, when the token has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<&'a str>,
    /// Authentication methods, when the token has them.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub amr: &'a [String],
    /// When she last signed in, when the token says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
}

/// The other end of the connection, as it shows itself: nothing here is proof of anything.
#[derive(Clone, Debug, Serialize)]
pub struct ClientFields<'a> {
    /// Where it connects from.
    pub address: IpAddr,
    /// From which port.
    pub port: u16,
    /// The `application_name` of its start-up packet.
    pub program: Option<&'a str>,
    /// The TLS version, or none on plaintext.
    pub tls: Option<&'a str>,
    /// The login it asked for.
    pub login: Option<&'a str>,
}

/// The parts of a [`Context`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContextFields<'a> {
    /// Who is proved to be connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectFields<'a>>,
    /// By what she proved it: `code`, `key`, `certificate`, `oauth`, `application`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'a str>,
    /// The database asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<&'a str>,
    /// The name of the `[[database]]` that serves it, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<&'a str>,
    /// The role the session has in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// The other end of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientFields<'a>>,
    /// The request id that a denial tells the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
}

impl Context {
    /// Encodes what is known of the connection.
    #[must_use]
    pub fn new(fields: &ContextFields<'_>) -> Self {
        let mut context = Self::default();
        let mut object = serde_json::to_vec(fields).unwrap_or_default();
        if object.len() > FIELD_BYTES_MAX {
            let mut value = serde_json::from_slice(&object).unwrap_or_default();
            context.spill(&mut value);
            object = serde_json::to_vec(&value).unwrap_or_default();
        }
        let inner = object.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or_default();
        if !inner.is_empty() {
            context.fragment.push(b',');
            context.fragment.extend_from_slice(inner);
        }
        context
    }

    /// Puts a reference in the place of each long text and each long list.
    fn spill(&mut self, value: &mut Value) {
        let bytes = match value {
            Value::Object(fields) => return fields.values_mut().for_each(|field| self.spill(field)),
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Array(_) => serde_json::to_vec(value).unwrap_or_default(),
            Value::Null | Value::Bool(_) | Value::Number(_) => return,
        };
        if bytes.len() > SMALL_BYTES_MAX {
            let sha256 = Hash::of(&bytes);
            let reference = Spilled { sha256: Hex(sha256), bytes: bytes.len() as u64 };
            *value = serde_json::to_value(reference).unwrap_or_default();
            self.blobs.push(Blob { sha256, bytes });
        }
    }
}
