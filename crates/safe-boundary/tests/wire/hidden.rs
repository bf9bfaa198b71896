//! SQL that changes what the protocol's names mean, or begins a COPY, without saying so in its text.
//!
//! Promises: each test makes the server run something else than the text shows, and says so itself before it compares.
//! Deliberately not here: functions and DO blocks (`conversation.rs` tries what records say of them).

use serde_json::json;

use super::peer::Peer;
use super::support::proxy::Settings;
use super::support::trail::Record;
use super::support::wire::{bind, execute, frame, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

/// The record of the last Execute: its text, and what it says of that.
fn last_execute(stage: &Stage, peer: &mut Peer) -> (Option<String>, String) {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    let last = trail.iter().rfind(|record| record.protocol() == "execute").unwrap();
    (last.text(stage.folder()), last.0["statement"]["resolution"].as_str().unwrap_or_default().to_owned())
}

/// Parse takes PREPARE and DEALLOCATE, and SQL's EXECUTE runs what it has prepared. No function is needed for that.
#[test]
fn a17b_names_that_change_by_executing_what_was_parsed() {
    for pipelined in [false, true] {
        let stage = Stage::start();
        let mut peer = Peer::signed_in(&stage, ALICE);
        let prepared =
            [parse("s", "select 'A'"), parse("d", "deallocate s"), parse("g", "prepare s as select 'B'"), sync()];
        peer.write(&prepared.concat());
        peer.ready();
        let (first, second) = (query("execute d"), query("execute g"));
        let run = [bind("s", &[]), execute(0), sync()].concat();
        if pipelined {
            peer.write(&[first, second, run].concat());
            assert_eq!(results(&peer.ready()), ["DEALLOCATE"]);
            assert_eq!(results(&peer.ready()), ["PREPARE"]);
        } else {
            for (frames, tag) in [(first, "DEALLOCATE"), (second, "PREPARE")] {
                peer.write(&frames);
                assert_eq!(results(&peer.ready()), [tag]);
            }
            peer.write(&run);
        }
        assert_eq!(values(&peer.ready()), ["B"], "the server runs something else");
        assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));
        stage.verify_trail();
    }
}

/// What SQL's EXECUTE runs may be a block of code, which has a tag that says nothing, or none when it fails; what it has
/// prepared stays all the same.
#[test]
fn a17b_names_that_change_by_executing_code_that_was_parsed() {
    for (fails, told) in [("", "DO"), ("raise 'no'; ", "P0001")] {
        let stage = Stage::start();
        let mut peer = Peer::signed_in(&stage, ALICE);
        let block = format!("do $$ begin execute 'deallocate s'; execute 'prepare s as select ''B'''; {fails}end $$");
        peer.write(&[parse("s", "select 'A'"), parse("x", &block), sync()].concat());
        peer.ready();
        peer.write(&query("execute x"));
        assert_eq!(results(&peer.ready()), [told]);
        peer.write(&[bind("s", &[]), execute(0), sync()].concat());
        assert_eq!(values(&peer.ready()), ["B"], "the server runs something else");
        assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));
        stage.verify_trail();
    }
}

fn flush() -> Vec<u8> {
    frame('H', b"")
}

/// Prepares something as asyncpg does, without a Sync, and lets the time of a statement, 100 ms, be over.
fn time_out(stage: &Stage, peer: &mut Peer) {
    peer.write(&[parse("", "select 1"), flush()].concat());
    while peer.message().0 != '1' {}
    // Another session tells when.
    let mut clock = Peer::signed_in(stage, ALICE);
    clock.write(&[query("select pg_sleep(0.3)"), frame('X', b"")].concat());
    clock.until_end();
}

/// asyncpg sends no Sync after it has prepared something. When a Query comes too late then, the server says so and goes on, and
/// so does the session.
#[test]
fn a17b_a_query_that_times_out_behind_a_flush_is_only_that() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("set statement_timeout = '100ms'"));
    peer.ready();
    time_out(&stage, &mut peer);
    peer.write(&query("select 'late'"));
    let answers = peer.ready();
    let error = answers.iter().find(|(tag, _)| *tag == 'E').map(|(_, body)| String::from_utf8_lossy(body).into_owned());
    assert!(error.is_some_and(|error| error.contains("57014")), "{answers:?}");
    peer.write(&query("select 'in time'"));
    assert_eq!(values(&peer.ready()), ["in time"]);
    last_outcomes(&stage, &mut peer, &[("select 'late'", "57014"), ("select 'in time'", "SELECT 1")]);
    stage.verify_trail();
}

/// The time of a statement may be over when the server reads a Flush. It skips to the next Sync then, and what it was never asked
/// to prepare is not what a name means.
#[test]
fn a17b_names_that_were_given_behind_a_timeout_at_a_flush() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("set statement_timeout = '100ms'"), parse("s", "select 'A'"), sync()].concat());
    peer.ready();
    peer.ready();
    time_out(&stage, &mut peer);
    peer.write(&flush());
    let error = loop {
        let (tag, body) = peer.message();
        if tag == 'E' {
            break body;
        }
    };
    assert!(String::from_utf8_lossy(&error).contains("57014"), "the clock runs out at the Flush");
    // All of it is skipped, the Query too.
    peer.write(&[query("select 1"), parse("s", "select 'B'"), sync()].concat());
    peer.ready();
    peer.write(&[parse("t", "select 2"), sync()].concat());
    peer.ready();
    peer.write(&[bind("s", &[]), execute(0), sync()].concat());
    assert_eq!(values(&peer.ready()), ["A"], "the server has never read the other text");
    assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), String::new()));

    // Where the Query may be what failed, nobody can tell what comes of the rest.
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("set statement_timeout = '100ms'"));
    peer.ready();
    time_out(&stage, &mut peer);
    peer.write(&[flush(), query("select 1"), parse("s", "select 'B'"), sync()].concat());
    let end = peer.until_end();
    assert!(String::from_utf8_lossy(&end).contains("08006"), "{}", String::from_utf8_lossy(&end));

    // Where nothing follows the Query, the server would be ready at once if that had failed. It never is.
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("set statement_timeout = '100ms'"));
    peer.ready();
    time_out(&stage, &mut peer);
    peer.write(&[flush(), query("select 1")].concat());
    while peer.message().0 != 'E' {}
    peer.write(&sync());
    let end = peer.until_end();
    assert!(String::from_utf8_lossy(&end).contains("08006"), "{}", String::from_utf8_lossy(&end));
    stage.verify_trail();
}

/// The server plans at Bind, and calls functions that it believes to be constant: they may change what they like.
#[test]
fn a17_a_bind_that_runs_code_is_on_record() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let does = "create function pg_temp.does(what text) returns int language plpgsql
                as $$ begin execute what; return 1; end $$";
    let runs = "create function pg_temp.runs(what text) returns int language plpgsql immutable
                as $$ begin return pg_temp.does(what); end $$";
    for text in ["create temporary table t (n int)", does, runs] {
        peer.write(&query(text));
        peer.ready();
    }
    peer.write(&[parse("s", "select 'A'"), parse("f", "select pg_temp.runs($1)"), sync()].concat());
    peer.ready();
    for what in ["insert into t values (7)", "no such thing"] {
        peer.write(&[bind("f", &[Some(what)]), sync()].concat());
        peer.ready();
    }
    peer.write(&query("select n from t"));
    assert_eq!(values(&peer.ready()), ["7"], "a Bind has run code");
    // Names that it may change are in doubt.
    let hides = "select pg_temp.runs('deallocate s') + pg_temp.runs('prepare s as select ''B''')";
    peer.write(&[parse("z", hides), sync()].concat());
    peer.ready();
    peer.write(&[bind("z", &[]), sync(), bind("s", &[]), execute(0), sync()].concat());
    peer.ready();
    assert_eq!(values(&peer.ready()), ["B"], "the server runs something else");
    assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));

    let trail = stage.trail();
    let told = |record: &Record| {
        let outcome = trail.iter().find(|outcome| outcome.0["of"] == record.0["id"]).unwrap();
        let statement = &record.0["statement"];
        (statement["params"][0]["value"].clone(), statement["prepared"].clone(), outcome.0["outcome"]["result"].clone())
    };
    let bound: Vec<_> = trail.iter().filter(|record| record.protocol() == "bind").map(told).collect();
    let expected = [
        (json!("insert into t values (7)"), json!("f"), json!("ok")),
        (json!("no such thing"), json!("f"), json!("error")),
        (json!(null), json!("z"), json!("ok")),
    ];
    assert_eq!(bound, expected);
    stage.verify_trail();
}

/// An error of what has no record of its own undoes what was executed before it in the same implicit transaction.
#[test]
fn a17_what_an_error_undoes_is_said_to_be_undone() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("create temporary table t as select 1 as n"));
    peer.ready();
    let delete = [parse("", "delete from t"), bind("", &[]), execute(0)].concat();
    peer.write(&[delete.clone(), frame('D', b"Pnowhere\0"), sync()].concat());
    assert_eq!(results(&peer.ready()), ["DELETE 1", "34000"]);
    peer.write(&query("select count(*) from t"));
    assert_eq!(values(&peer.ready()), ["1"], "it is undone");
    // So is what a client leaves behind without its Sync.
    peer.write(&[delete, frame('H', b"")].concat());
    while peer.message().0 != 'C' {}
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();

    let trail = stage.trail();
    let told = trail.iter().filter(|record| record.protocol() == "execute").map(|record| {
        let outcomes = trail.iter().filter(|outcome| outcome.0["of"] == record.0["id"]);
        outcomes.map(|one| (one.0["outcome"]["result"].as_str().unwrap(), one.0["again"] == true)).collect::<Vec<_>>()
    });
    let expected = [[("ok", false), ("error", true)], [("ok", false), ("lost", true)]];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// In SJIS the byte of an `@` may be the end of a letter: then what we take for a string is none, and the other way round.
#[test]
fn a17b_a_text_that_reads_otherwise_in_the_encoding_of_the_client() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("set client_encoding = 'SJIS'"), parse("s", "select 'A'"), sync()].concat());
    peer.ready();
    peer.ready();
    let text = b"select 1 as X$a$; select $a$ ; prepare s as select 'B'; select $a$ as y; select 2 as X$a$\0";
    let text: Vec<u8> =
        text.iter().flat_map(|byte| if *byte == b'X' { vec![0x83, 0x40] } else { vec![*byte] }).collect();
    peer.write(&frame('Q', &text));
    assert_eq!(results(&peer.ready()), ["SELECT 1"; 3], "the server prepares nothing");
    peer.write(&[bind("s", &[]), execute(0), sync()].concat());
    assert_eq!(values(&peer.ready()), ["A"]);
    assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));
}

/// A COPY that SQL's EXECUTE begins: what is sent behind it waits, so that each outcome stays with its statement.
#[test]
fn a19_a_copy_that_begins_by_executing_what_was_parsed() {
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("create temporary table t (n int)"), parse("c", "copy t from stdin"), sync()].concat());
    peer.ready();
    peer.ready();
    peer.write(&[query("execute c"), sync()].concat());
    while peer.message().0 != 'G' {}
    peer.write(&[frame('d', b"1\n2\n"), frame('c', b"")].concat());
    assert_eq!(results(&peer.ready()), ["COPY 2"]);
    let frames = [query("select 1/0"), query("delete from t"), query("select 2/0")];
    peer.write(&frames.concat());
    let told: Vec<_> = (0..3).flat_map(|_| results(&peer.ready())).collect();
    assert_eq!(told, ["22012", "DELETE 2", "22012"]);
    last_outcomes(
        &stage,
        &mut peer,
        &[("select 1/0", "22012"), ("delete from t", "DELETE 2"), ("select 2/0", "22012")],
    );
}

fn last_outcomes(stage: &Stage, peer: &mut Peer, expected: &[(&str, &str)]) {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    for (text, told) in expected {
        let statement = trail.iter().rfind(|record| record.0["statement"]["text"] == *text).unwrap();
        let of_it = |record: &&Record| record.kind() == "outcome" && record.0["of"] == statement.0["id"];
        let outcome = &trail.iter().find(of_it).unwrap().0["outcome"];
        let on_record = outcome["tag"].as_str().or(outcome["sqlstate"].as_str());
        assert_eq!(on_record, Some(*told), "{text}");
    }
}
