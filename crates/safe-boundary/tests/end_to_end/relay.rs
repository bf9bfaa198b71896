//! What PostgreSQL's protocol can do beyond statements and rows, and what real clients do not show of it.

use super::support::trail::Record;
use super::support::wire::{
    Wire, bind, close_statement, execute, frame, function_call, parse, query, results, sync, values,
};
use super::support::{ALICE, Stage};

/// Frames sent in one write, and the results in their order.
#[test]
fn pipelines_answer_in_order() {
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    let one = |sql| [parse("", sql), bind("", &[]), execute(0)].concat();
    let cases: [(&[Vec<u8>], &[&[&str]]); 6] = [
        (&[one("select 1"), one("select 2"), sync()], &[&["SELECT 1", "SELECT 1"]]),
        (&[one("select 1"), sync(), one("select 2"), sync()], &[&["SELECT 1"], &["SELECT 1"]]),
        (&[one("select 1 / 0"), one("select 2"), sync(), one("select 3"), sync()], &[&["22012"], &["SELECT 1"]]),
        (&[query("select 1; select 2"), one("select 3"), sync()], &[&["SELECT 1", "SELECT 1"], &["SELECT 1"]]),
        (
            &[parse("a", "select generate_series(1, 5)"), bind("a", &[]), execute(2), execute(2), execute(0), sync()],
            &[&["suspended", "suspended", "SELECT 1"]],
        ),
        (&[close_statement("a"), bind("a", &[]), execute(0), sync()], &[&["26000"]]),
    ];
    for (frames, expected) in cases {
        wire.write(&frames.concat());
        let actual: Vec<_> = expected.iter().map(|_| results(&wire.ready())).collect();
        assert_eq!(actual, expected);
    }
}

/// docs/threats.md a17b: the second Parse of a name fails, so the first text is what runs, and what must be on record.
#[test]
fn a_name_means_what_the_server_says_it_means() {
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    let race = [
        parse("s", "select 'first'"),
        sync(),
        parse("s", "select 'second'"),
        sync(),
        bind("s", &[]),
        execute(0),
        sync(),
    ];
    wire.write(&race.concat());
    let answers: Vec<_> = (0..3).map(|_| wire.ready()).collect();
    assert_eq!(results(&answers[1]), ["42P05"]);
    assert_eq!(values(&answers[2]), ["first"]);
    wire.write(&frame('X', &[]));
    stage.wait_for_record(|record| record.kind() == "end");
    let executed: Vec<_> = stage.trail().iter().filter_map(|record| executed(record, &stage)).collect();
    assert_eq!(executed, ["select 'first'"]);
}

fn executed(record: &Record, stage: &Stage) -> Option<String> {
    (record.protocol() == "execute").then(|| record.text(stage.folder()).expect("a text"))
}

#[test]
fn names_do_not_outlive_discard_all() {
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    wire.write(&[parse("kept", "select 1"), sync()].concat());
    wire.ready();
    assert_eq!(results(&wire.query("discard all")), ["DISCARD ALL"]);
    wire.write(&[bind("kept", &[]), execute(0), sync()].concat());
    assert_eq!(results(&wire.ready()), ["26000"]);
    let login = wire.query("select current_setting('safe_boundary.login')");
    assert_eq!(values(&login), [ALICE], "the label is back after DISCARD ALL");
    wire.write(&[parse("kept", "select 'new'"), bind("kept", &[]), execute(0), sync()].concat());
    assert_eq!(values(&wire.ready()), ["new"]);
}

/// COPY by the extended protocol, and one that the client gives up.
#[test]
fn copies_end_as_the_client_wants() {
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    wire.query("create temporary table copied (n int)");
    let copy = "copy copied from stdin";
    let data = |text: &str| frame('d', text.as_bytes());
    let cases: [(Vec<Vec<u8>>, &[&str]); 4] = [
        (vec![query(copy), data("1\n2\n"), data("3\n"), frame('c', &[])], &["COPY 3"]),
        (vec![query(copy), data("4\n"), frame('f', b"enough\0")], &["57014"]),
        (vec![query(copy), data("none\n"), data("5\n"), frame('c', &[])], &["22P02"]),
        (vec![parse("", copy), bind("", &[]), execute(0), data("6\n"), frame('c', &[]), sync()], &["COPY 1"]),
    ];
    for (frames, expected) in cases {
        wire.write(&frames.concat());
        assert_eq!(results(&wire.ready()), expected);
    }
    assert_eq!(values(&wire.query("select sum(n) from copied")), ["12"]);
    let ends: Vec<_> = stage.trail().into_iter().filter(|record| record.protocol() == "copy").collect();
    let given_up: Vec<_> = ends.iter().map(|end| end.0["statement"]["copied"]["failed"] == true).collect();
    assert_eq!(given_up, [false, true, false, false]);
    assert_eq!(ends[0].0["statement"]["copied"]["bytes"], 6);
}

/// Large objects are function calls of libpq; lo_import and lo_export of psql are the client's own.
#[test]
fn large_objects_come_and_go() {
    let stage = Stage::start();
    let (there, back) = (stage.folder().join("there"), stage.folder().join("back"));
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&there, &content).unwrap();
    let script =
        format!("\\lo_import {}\n\\lo_export :LASTOID {}\n\\lo_unlink :LASTOID\n", there.display(), back.display());
    stage.psql(ALICE).script(&script).lines();
    assert!(std::fs::read(&back).unwrap() == content, "the large object came back changed");
    let calls = stage.trail().iter().filter(|record| record.protocol() == "function").count();
    assert!(calls > 4, "{calls} function calls on record");
}

/// Every other function needs a statement, where it can be read.
#[test]
fn other_functions_are_not_called_by_number() {
    const UPPER_TEXT: u32 = 871;
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    wire.write(&function_call(UPPER_TEXT, "shout"));
    let answer = wire.ready();
    assert_eq!(results(&answer), ["42501"]);
    assert_eq!(values(&wire.query("select 'alive'")), ["alive"]);
    stage.wait_for_record(|record| record.kind() == "denied");
}

#[test]
fn news_from_others_arrive_unasked() {
    let stage = Stage::start();
    let (mut hears, mut tells) = (Wire::signed_in(&stage, ALICE), Wire::signed_in(&stage, ALICE));
    hears.query("listen news");
    tells.query("notify news, 'hello'");
    loop {
        let (tag, body) = hears.message();
        if tag == 'A' {
            assert_eq!(body[..4], tells.key[..4], "the process id is the real one");
            assert_eq!(body[4..], *b"news\0hello\0");
            return;
        }
    }
}

#[test]
fn frames_nobody_knows_end_the_session() {
    let stage = Stage::start();
    let cases: [&[u8]; 4] = [&frame('!', b""), b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", &frame('Q', b"no end")];
    for bytes in cases {
        let mut wire = Wire::signed_in(&stage, ALICE);
        wire.write(bytes);
        let (error, _) = wire.refused();
        assert_eq!(error[&'C'], "08P01", "{bytes:?}: {error:?}");
        assert!(wire.try_message().is_none(), "{bytes:?}: the session goes on");
    }
}

/// The process id is the server's own; the secret is not.
#[test]
fn a_cancel_needs_the_session_s_own_secret() {
    let stage = Stage::start();
    let mut wire = Wire::signed_in(&stage, ALICE);
    let pid = values(&wire.query("select pg_backend_pid()"))[0].parse::<u32>().unwrap();
    assert_eq!(wire.key[..4], pid.to_be_bytes());
    wire.write(&query("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$"));
    while wire.message().0 != 'N' {}
    let mut wrong = wire.key.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    for key in [wrong, wire.key.clone()] {
        let mut cancel = Wire::plain(stage.proxy.address);
        cancel.write(&[&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &key].concat());
        assert!(cancel.try_message().is_none(), "a cancel is not answered");
    }
    assert_eq!(results(&wire.ready()), ["57014"]);
    let cancels = stage.trail().into_iter().filter(|record| record.kind() == "cancel");
    let reached: Vec<_> = cancels.map(|cancel| cancel.0["cancels"].is_string()).collect();
    assert_eq!(reached, [false, true], "both tries are on record, one reached a session");
}

#[test]
fn a_drain_tells_the_client() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut stage = Stage::start();
        let mut wire = Wire::signed_in(&stage, ALICE);
        stage.proxy.signal(signal);
        assert_eq!(stage.proxy.end_of_drain(), 0, "{signal}");
        let (error, _) = wire.refused();
        assert_eq!(error[&'C'], "57P01", "{signal}: {error:?}");
        stage.verify_trail();
    }
}

#[test]
fn psql_cancels_a_statement() {
    let stage = Stage::start();
    let sleep = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$";
    let psql = stage.psql(ALICE).argument("-c").argument(sleep).start();
    psql.answer();
    psql.err.wait_for(|line| line.contains("begun").then_some(()));
    psql.process.signal("INT");
    let spoken = psql.finish();
    assert!(spoken.err.contains("ERROR:  57014: canceling statement due to user request"), "{spoken:?}");
    let cancel = stage.wait_for_record(|record| record.kind() == "cancel");
    let session = cancel.0["cancels"].as_str().expect("the session that was meant");
    let hers = stage.wait_for_record(|record| record.session() == session && !record.login().is_empty());
    assert_eq!(hers.login(), ALICE);
}
