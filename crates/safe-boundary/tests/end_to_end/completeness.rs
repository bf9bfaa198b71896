//! Two witnesses: what PostgreSQL logged that it ran, and what the trail says was sent to it.

use std::collections::BTreeMap;

use super::clients::TRUSTED;
use super::support::program::Library;
use super::support::psql::Answer;
use super::support::server_log::{self, Entry};
use super::support::trail::Record;
use super::support::wire::{Wire, bind, execute, frame, parse, query, sync};
use super::support::{ALICE, Stage};

/// What one session ran, in order.
type Story = Vec<String>;

/// What the proxy itself asks a new upstream session, before any client is let through to it.
const OWN_QUESTION: &str = "SELECT pg_catalog.pg_backend_pid() /* safe-boundary: is this a pooler? */";

#[test]
fn the_trail_and_the_server_s_log_tell_the_same() {
    let mut stage = Stage::prompting(&["psql", TRUSTED]);
    run_everything(&stage);
    stage.wait_for_ends();
    let log = stage.postgres.stop();
    let records = stage.trail();
    let (ran, recorded) = (stories_of_the_server(&log), stories_of_the_trail(&records, &stage));
    let count = |stories: &[Story]| stories.iter().map(Vec::len).sum::<usize>();
    println!("sessions: {} logged by the server, {} on record", ran.len(), recorded.len());
    println!("statements: {} logged by the server, {} on record", count(&ran), count(&recorded));
    let (missing, unexplained) = difference(ran, recorded);
    assert!(missing.is_empty(), "ran without a record: {missing:#?}\nunexplained: {unexplained:#?}");
    assert!(unexplained.is_empty(), "on record, never ran: {unexplained:#?}");
    failures_are_on_record(&log, &records, &stage);
}

/// All clients at once, each in a session of its own.
fn run_everything(stage: &Stage) {
    let clients = Library::ALL.map(|library| stage.client(library, ALICE, Some(TRUSTED)));
    let script = "
        select 1; select nonsense; selec 2; select 3 \\; select 4;
        begin; insert into refunds (\"order\", amount) values (2, 2); savepoint s; select 1 / 0; rollback to s; commit;
        create temporary table copied (n int);
        \\copy copied from program 'seq 1000'
        \\copy copied to /dev/null
        prepare p as select $1::int; execute p(1); execute p(2); deallocate p;
        begin; declare far cursor for select generate_series(1, 100); fetch 10 from far; close far; commit;
        set work_mem = '8MB'; reset all; discard all;
        \\lo_import /proc/version
        select 'line
        break', $$dollar$$, E'\\t';
        ";
    let psql = stage.psql(ALICE).answered(Answer::Nothing).start_script(script);
    let mut seen = Vec::new();
    for _ in 0..=clients.len() {
        let code = stage.idp.next_code(&seen);
        stage.idp.approve(&code, ALICE);
        seen.push(code);
    }
    psql.finish();
    pipelines(&mut Wire::signed_in(stage, ALICE));
    for client in clients {
        client.finish();
    }
}

/// Pipelines with errors in them, names that are taken, limits, an empty statement.
fn pipelines(wire: &mut Wire) {
    let one = |sql| [parse("", sql), bind("", &[]), execute(0)].concat();
    let groups: [Vec<Vec<u8>>; 7] = [
        (0..100).map(|_| one("select 'many'")).chain([sync()]).collect(),
        vec![one("select 1 / 0"), one("select 'skipped'"), sync()],
        vec![parse("a", "select generate_series(1, 9)"), bind("a", &[]), execute(2), execute(2), execute(0), sync()],
        vec![parse("a", "select 'taken'"), bind("a", &[]), execute(0), sync()],
        vec![one("select nonsense"), sync()],
        vec![one("begin"), one("select 1 / 0"), sync()],
        vec![one("select 'aborted'"), sync()],
    ];
    wire.write(&groups.concat().concat());
    for _ in groups {
        wire.ready();
    }
    wire.query("select 'aborted too'");
    wire.query("rollback");
    wire.write(&[query("select 1;;select 2"), query(""), frame('X', &[])].concat());
    while wire.try_message().is_some() {}
}

fn stories_of_the_server(log: &[Entry]) -> Vec<Story> {
    let mut stories: BTreeMap<u32, Story> = BTreeMap::new();
    for entry in log {
        let told = match server_log::statement(entry) {
            Some((OWN_QUESTION, false)) if !stories.contains_key(&entry.pid) => None,
            Some((text, extended)) => Some(line(if extended { "execute" } else { "simple" }, text)),
            // `fastpath function call: "lo_open" (OID 952)`
            None => entry.text.strip_prefix("fastpath function call: ").and_then(|call| {
                let (_, oid) = call.rsplit_once("(OID ")?;
                Some(line("function", oid.trim_end_matches(')')))
            }),
        };
        if let Some(told) = told {
            stories.entry(entry.pid).or_default().push(told);
        }
    }
    stories.into_values().collect()
}

fn stories_of_the_trail(records: &[Record], stage: &Stage) -> Vec<Story> {
    let outcomes: BTreeMap<&str, &Record> =
        records.iter().filter_map(|record| Some((record.0["of"].as_str()?, record))).collect();
    let mut stories: BTreeMap<&str, Story> = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind() == "statement") {
        let told = match record.protocol() {
            "simple" | "execute" if was_logged(record, &outcomes) => {
                let text = record.text(stage.folder()).expect("every statement has its text");
                Some(line(record.protocol(), &text))
            }
            "function" => Some(line("function", &record.0["statement"]["function"].to_string())),
            _ => None,
        };
        stories.entry(record.session()).or_default().extend(told);
    }
    stories.into_values().filter(|story| !story.is_empty()).collect()
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

fn line(protocol: &str, text: &str) -> String {
    format!("{protocol}: {text}")
}

/// Pairs equal stories; gives what is left on each side.
fn difference(mut left: Vec<Story>, mut right: Vec<Story>) -> (Vec<Story>, Vec<Story>) {
    left.retain(|story| match right.iter().position(|other| other == story) {
        Some(place) => {
            right.swap_remove(place);
            false
        }
        None => true,
    });
    (left, right)
}

/// What the server complained about was sent to it, so it is on record: also a text that never ran.
fn failures_are_on_record(log: &[Entry], records: &[Record], stage: &Stage) {
    let texts: Vec<_> = records.iter().filter_map(|record| record.text(stage.folder())).collect();
    let complaints: Vec<_> = log.iter().filter(|entry| entry.severity == "STATEMENT").collect();
    let missing: Vec<_> = complaints.iter().filter(|entry| !texts.contains(&entry.text)).collect();
    println!("failed statements: {} logged by the server, {} not on record", complaints.len(), missing.len());
    assert!(missing.is_empty(), "{missing:#?}");
}
