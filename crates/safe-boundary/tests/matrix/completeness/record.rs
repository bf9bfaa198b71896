//! The stories that the trail tells.
//!
//! Promises: a session is known by the program that the client said it is; every text and every parameter is read,
//! from its blob when it is long.
//! Deliberately not here: whether the records are whole (`audit verify`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pgproto::frontend::{Bind, Format};
use serde_json::Value;

use super::super::support::trail::Record;
use super::difference::{Step, Story};

/// A parameter as it is on record.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Recorded {
    /// Name, or OID in digits; none when the client did not say it.
    pub(super) type_name: Option<String>,
    /// Whether `raw` is in the type's binary form, which the proxy did not decode.
    pub(super) is_binary: bool,
    /// None is NULL.
    pub(super) raw: Option<Vec<u8>>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.raw.as_deref().map(String::from_utf8_lossy);
        write!(f, "{value:?} as {:?}", self.type_name.as_deref().unwrap_or("?"))
    }
}

/// What was sent in every session and, by its outcome, was about to run.
pub(super) fn statements(records: &[Record], folder: &Path) -> Vec<Story<Recorded>> {
    let outcomes = outcomes(records);
    let mut stories = Stories::default();
    for record in records.iter().filter(|record| record.kind() == "statement") {
        let statement = &record.0["statement"];
        let step = match record.protocol() {
            "simple" | "execute" if was_logged(record, &outcomes) => {
                let text = record.text(folder).expect("every statement has its text");
                let params = parameters(&statement["params"], folder);
                Step { what: format!("{}: {text}", record.protocol()), params }
            }
            "function" => Step { what: format!("function: {}", statement["function"]), params: Vec::new() },
            _ => continue,
        };
        stories.of(record).push(step);
    }
    stories.told()
}

/// The executions that ended with an error, by program and step.
pub(super) fn failed_executions(records: &[Record], folder: &Path) -> BTreeSet<(String, String)> {
    let outcomes = outcomes(records);
    let has_failed = |record: &&Record| {
        let outcome = outcomes.get(record.id());
        outcome.is_some_and(|outcome| outcome.outcomes().iter().any(|one| one["result"] == "error"))
    };
    let executions = records.iter().filter(|record| record.kind() == "statement" && record.protocol() == "execute");
    let named = |record: &Record| {
        let text = record.text(folder).unwrap_or_default();
        (program(record), format!("execute: {text}"))
    };
    executions.filter(has_failed).map(named).collect()
}

/// What failed in every session, in the order in which it was sent. An error that came before an execution began (in
/// its Bind) stands in the outcome of what it made the server skip; what is skipped behind that says so again.
pub(super) fn errors(records: &[Record], folder: &Path) -> Vec<Story<Vec<Recorded>>> {
    let outcomes = outcomes(records);
    let mut stories = Stories::default();
    let mut cause: BTreeMap<&str, String> = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind() == "statement") {
        for outcome in outcomes.get(record.id()).map_or_else(Vec::new, |outcome| outcome.outcomes()) {
            let result = word(outcome, "result");
            if !matches!(result, "error" | "skipped") {
                cause.remove(record.session());
                continue;
            }
            let error = format!("{}: {}", word(outcome, "sqlstate"), word(outcome, "message"));
            let before = cause.insert(record.session(), error.clone());
            if result == "error" || before.as_ref() != Some(&error) {
                let text = record.text(folder).map_or_else(String::new, |text| format!(": {text}"));
                let params = parameters(&record.0["statement"]["params"], folder);
                stories.of(record).push(Step { what: format!("{error}{text}"), params: vec![params] });
            }
        }
    }
    stories.told()
}

fn outcomes(records: &[Record]) -> BTreeMap<&str, &Record> {
    records.iter().filter_map(|record| Some((record.0["of"].as_str()?, record))).collect()
}

/// The server logs a text when it has parsed it and is about to run it: not one that it could not parse, not what it
/// skipped after an earlier error, and not an Execute of an empty statement.
fn was_logged(record: &Record, outcomes: &BTreeMap<&str, &Record>) -> bool {
    const SYNTAX_ERROR: &str = "42601";
    let outcome = outcomes.get(record.id()).unwrap_or_else(|| panic!("no outcome: {}", record.0));
    !outcome
        .outcomes()
        .iter()
        .any(|one| one["result"] == "skipped" || (one["sqlstate"] == SYNTAX_ERROR && record.protocol() == "simple"))
}

/// What the client said it is.
fn program(record: &Record) -> String {
    word(&record.0["client"], "program").to_owned()
}

fn word<'a>(outcome: &'a Value, name: &str) -> &'a str {
    outcome[name].as_str().unwrap_or_default()
}

struct Stories<'a, P>(BTreeMap<&'a str, Story<P>>);

impl<P> Default for Stories<'_, P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'a, P> Stories<'a, P> {
    fn of(&mut self, record: &'a Record) -> &mut Vec<Step<P>> {
        let story = self.0.entry(record.session());
        &mut story.or_insert_with(|| Story { program: program(record), steps: Vec::new() }).steps
    }

    fn told(self) -> Vec<Story<P>> {
        self.0.into_values().collect()
    }
}

fn parameters(params: &Value, folder: &Path) -> Vec<Recorded> {
    let one = |param: &Value| {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).expect("base64");
        let encoded = param["value_b64"].as_str().map(bytes);
        Recorded {
            type_name: param["type"].as_str().map(str::to_owned),
            is_binary: encoded.is_some() && param["format"] == "binary",
            raw: encoded.or_else(|| param["value"].as_str().map(|text| text.as_bytes().to_vec())),
        }
    };
    match params {
        Value::Array(many) => many.iter().map(one).collect(),
        Value::Null => Vec::new(),
        blob => {
            let hash = blob["sha256"].as_str().expect("a list or a blob");
            let raw = fs::read(folder.join("audit/blobs/sha256").join(&hash[..2]).join(hash)).unwrap();
            if blob["encoding"] == "message" {
                return bound(&raw);
            }
            let list: Value = serde_json::from_slice(&raw).expect("a list in JSON");
            parameters(&list, folder)
        }
    }
}

/// The parameters of a Bind that is kept as it came, without their types.
fn bound(body: &[u8]) -> Vec<Recorded> {
    let bind = Bind::parse(body).expect("the body of a Bind");
    let one = |(at, raw): (usize, Option<&[u8]>)| Recorded {
        type_name: None,
        is_binary: bind.format_of(at) == Format::Binary,
        raw: raw.map(<[u8]>::to_vec),
    };
    bind.params.iter().enumerate().map(one).collect()
}
