//! The server's own log, the other witness of what ran: which texts, and in which order.
//!
//! Promises: what a session logged is held against its records, one after the other, the errors of a parser aside.
//! Deliberately not here: results, which the client sees; and what PostgreSQL does not log (Parse, Bind, skipped frames).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server_log::{self, PREFIX};
use crate::support::postgres::Postgres;

/// How long the server may take to say that it has crashed, and to be there again.
const CRASH: Duration = Duration::from_secs(5);

/// Reads on in the log of one server.
pub(crate) struct Witness {
    log: File,
    /// How many statements were heard of.
    pub(crate) heard: usize,
}

impl Witness {
    /// From now on the server logs every statement.
    pub(crate) fn of(server: &Postgres) -> Self {
        let change = |name: &str, value: &str| {
            server.admin("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        };
        change("log_statement", "all");
        change("log_line_prefix", PREFIX);
        server.admin("postgres", "SELECT pg_reload_conf()");
        // A new session has the new settings once the postmaster has read them.
        while server.admin("postgres", "SHOW log_statement") != "all" {}
        let mut log = File::open(server.log_path()).unwrap();
        log.seek(SeekFrom::End(0)).unwrap();
        Self { log, heard: 0 }
    }

    /// Whether a process of the server has died of a signal since the last call, which is a bug of its own; then it takes
    /// connections again.
    pub(crate) fn has_crashed(&mut self) -> bool {
        let deadline = Instant::now() + CRASH;
        let mut log = String::new();
        ["was terminated by signal 11", "ready to accept connections"].iter().all(|line| {
            while !log.contains(line) && Instant::now() < deadline {
                self.log.read_to_string(&mut log).unwrap();
            }
            log.contains(line)
        })
    }

    /// What this session has logged since the last call. It is written before a statement runs, so all of it is there.
    pub(crate) fn statements(&mut self, pid: u32) -> Vec<String> {
        let mut raw = Vec::new();
        self.log.read_to_end(&mut raw).unwrap();
        let lines: Vec<String> = String::from_utf8_lossy(&raw).lines().map(str::to_owned).collect();
        let entries = server_log::entries(&lines);
        let said = entries.iter().filter(|entry| entry.pid == pid).filter_map(|entry| {
            let call = entry.text.strip_prefix("fastpath function call: ").filter(|_| entry.severity == "LOG");
            match call {
                Some(call) => {
                    call.rsplit_once("(OID ").map(|(_, oid)| format!("function {}", oid.trim_end_matches(')')))
                }
                None => server_log::statement(entry).map(|(text, _)| text.to_owned()),
            }
        });
        let said: Vec<String> = said.collect();
        self.heard += said.len();
        said
    }
}

/// What the log must, may or cannot hold of one record.
struct Expected {
    /// None: code in the server may have changed what it is.
    text: Option<String>,
    must: bool,
    may: bool,
}

fn expected(record: &Value, outcomes: &[Value]) -> Expected {
    let statement = &record["statement"];
    let is = |outcome: &Value, result: &str| outcome["result"] == result;
    // What is empty is not logged when it comes by Execute.
    let ran = outcomes.iter().any(|one| (is(one, "ok") && one.get("tag").is_some()) || is(one, "suspended"));
    let skipped = outcomes.iter().all(|one| is(one, "skipped"));
    let (text, logged) = match statement["protocol"].as_str() {
        Some("function") => (Some(format!("function {}", statement["function"])), true),
        Some("simple") => (statement["text"].as_str().map(str::to_owned), true),
        Some("execute") if statement["resolution"].is_string() => (None, true),
        Some("execute") => (statement["text"].as_str().map(str::to_owned), true),
        _ => (None, false),
    };
    let ran = ran || (statement["protocol"] == "function" && outcomes.iter().any(|one| is(one, "ok")));
    Expected { text, must: logged && ran, may: logged && !skipped }
}

/// Whether the log can be read as these records, in their order, and nothing else.
pub(crate) fn agree(logged: &[String], records: &[(&Value, Vec<Vec<Value>>)]) -> Result<(), String> {
    // Which parts of the log can be what the records so far have said.
    let mut read = vec![false; logged.len() + 1];
    read[0] = true;
    for (record, outcomes) in records {
        let expected = expected(record, outcomes.first().map_or(&[], Vec::as_slice));
        let mut next = vec![false; logged.len() + 1];
        for at in 0..=logged.len() {
            let is_it = logged.get(at).is_some_and(|text| expected.text.as_ref().is_none_or(|wanted| wanted == text));
            if read[at] && expected.may && is_it {
                next[at + 1] = true;
            }
            next[at] |= read[at] && !expected.must;
        }
        if !next.contains(&true) {
            let at = read.iter().rposition(|read| *read).unwrap_or_default();
            return Err(format!("{record} {outcomes:?}\n  ran, and the server's log says {:?}", logged.get(at)));
        }
        read = next;
    }
    match read.last() {
        Some(true) => Ok(()),
        _ => Err(format!("the server logged statements that have no record, among {logged:?}")),
    }
}

#[test]
fn the_log_is_all_of_what_ran_in_its_order() {
    let record = |protocol: &str, text: &str, result: &str| {
        let record = serde_json::json!({ "statement": { "protocol": protocol, "text": text } });
        (record, vec![vec![serde_json::json!({ "result": result, "tag": "X" })]])
    };
    let records = [
        record("parse", "A", "ok"),
        record("simple", "begin", "error"),
        record("simple", "begin", "ok"),
        record("execute", "A", "suspended"),
        record("execute", "A", "skipped"),
        record("execute", "B", "error"),
    ];
    let records: Vec<(&Value, Vec<Vec<Value>>)> =
        records.iter().map(|(record, outcomes)| (record, outcomes.clone())).collect();
    for (log, expected) in [
        (&["begin", "A"][..], true),
        (&["begin", "A", "B"], true),
        (&["begin", "begin", "A"], true),
        (&["A"], false),
        (&["begin"], false),
        (&["begin", "B"], false),
        (&["A", "begin"], false),
        (&["begin", "A", "A"], false),
        (&["begin", "A", "C"], false),
        (&["begin", "A", "B", "B"], false),
    ] {
        let log: Vec<String> = log.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(agree(&log, &records).is_ok(), expected, "{log:?}");
    }
}
