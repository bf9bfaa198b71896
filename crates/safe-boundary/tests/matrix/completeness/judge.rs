//! PostgreSQL itself, asked whether two ways to write a parameter are one value.
//!
//! The server logs what the output function of the parameter's type prints. The trail has what the client sent. Where
//! these differ, the value on record is bound once more, in its own format and as its type, and what the server prints
//! of it must be what it logged. When the client did not name the type (the server then took it from the statement), one
//! of the common types must explain the difference: text is not among them, so a changed text is never explained by it.
//!
//! Promises: equal bytes are never asked about; nothing is asked twice.
//! Deliberately not here: reading values ourselves; our own mistake must not hide itself.

use std::collections::BTreeMap;

use super::super::support::Stage;
use super::super::support::wire::{Message, Wire, execute, frame, sync, values};
use super::record::Recorded;

/// What may be the type of a text that nobody named.
const TYPES: &[&str] = &[
    "bool",
    "int8",
    "numeric",
    "float4",
    "float8",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "jsonb",
    "bytea",
    "uuid",
    "inet",
    "int4[]",
    "text[]",
];
/// Likewise of a value in binary: here the width counts. No type is on record when parameters are long (`audit.md`).
const BINARY_TYPES: &[&str] = &["int2", "int4", "oid"];

pub(super) struct Judge {
    wire: Wire,
    /// What the server printed of each value that was asked about, as each type.
    printed: BTreeMap<(Recorded, String), Option<String>>,
}

impl Judge {
    pub(super) fn of(stage: &Stage, login: &str) -> Self {
        let mut wire = Wire::tls(stage);
        wire.start(&[("user", login), ("database", "payments"), ("application_name", "psql"), ("TimeZone", "UTC")]);
        wire.ready();
        Self { wire, printed: BTreeMap::new() }
    }

    /// Whether the value on record is the one that the server logged.
    pub(super) fn is_same(&mut self, recorded: &Recorded, logged: &Option<String>) -> bool {
        let (raw, logged) = match (&recorded.raw, logged) {
            (None, None) => return true,
            (Some(raw), Some(logged)) => (raw, logged),
            (Some(_), None) | (None, Some(_)) => return false,
        };
        let binary = if recorded.is_binary { BINARY_TYPES } else { &[] };
        let types = recorded.type_name.as_deref().map_or_else(|| [TYPES, binary].concat(), |name| vec![name]);
        raw == logged.as_bytes()
            || types.iter().any(|name| self.prints(recorded, name).is_some_and(|printed| printed == *logged))
    }

    pub(super) fn told(&self) -> String {
        format!("{} values were read once more by the server", self.printed.len())
    }

    /// What the server prints of a value, as a type; none when it is no value of that type.
    fn prints(&mut self, recorded: &Recorded, type_name: &str) -> Option<String> {
        let key = (recorded.clone(), type_name.to_owned());
        if let Some(printed) = self.printed.get(&key) {
            return printed.clone();
        }
        let printed = self.ask(recorded, type_name);
        self.printed.insert(key, printed.clone());
        printed
    }

    fn ask(&mut self, recorded: &Recorded, type_name: &str) -> Option<String> {
        // An OID in digits is a type whose name the proxy does not know: then the parameter is declared with it.
        let (oid, sql) = type_name
            .parse::<u32>()
            .map_or_else(|_| (0, format!("select $1::{type_name}")), |oid| (oid, "select $1".to_owned()));
        let raw = recorded.raw.as_deref().unwrap_or_default();
        let parse = [&[0], sql.as_bytes(), &[0, 0, 1], &oid.to_be_bytes()].concat();
        let length = u32::try_from(raw.len()).unwrap().to_be_bytes();
        let format = [0, u8::from(recorded.is_binary)];
        let bind = [&[0, 0, 0, 1], &format[..], &[0, 1], &length, raw, &[0, 0]].concat();
        self.wire.write(&[frame('P', &parse), frame('B', &bind), execute(0), sync()].concat());
        let answer: Vec<Message> = self.wire.ready();
        values(&answer).pop()
    }
}
