//! A person who is signed in, and does what no honest client does.

use std::time::{Duration, Instant};

use serde_json::json;

use super::peer::{Peer, V3_0};
use super::support::process::PATIENCE;
use super::support::server_log::Entry;
use super::support::wire::{bind, execute, fields, frame, function_call, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

/// Frames that no client may send: the session ends, and nothing of them reaches the server.
#[test]
fn a4_what_is_no_message_ends_the_session() {
    let mut stage = Stage::start();
    let parse_without_end = frame('P', b"\0select 'smuggled'\0\0\x01");
    let cases: [Vec<u8>; 14] = [
        frame('Q', b"select 'smuggled'\0select 'smuggled'\0"),
        frame('Q', b"select 'smuggled'\0\0"),
        frame('Q', b"select 'smuggled'"),
        frame('Q', b""),
        frame('!', b"select 'smuggled'\0"),
        frame('\0', b"select 'smuggled'\0"),
        frame('p', b"select 'smuggled'\0"),
        frame('S', b"select 'smuggled'\0"),
        frame('X', b"select 'smuggled'\0"),
        frame('E', b"select 'smuggled'"),
        frame('B', b"\0smuggled\0\0\x01"),
        frame('d', b"")[..4].iter().chain(b"\x03").copied().collect(),
        parse_without_end,
        frame('R', &[0, 0, 0, 0]),
    ];
    for case in &cases {
        let mut peer = Peer::signed_in(&stage, ALICE);
        peer.write(case);
        peer.write(&query("select 'smuggled'"));
        let (code, message, _) = peer.refused();
        assert_eq!(code, "08P01", "{case:?}: {message}");
        assert!(message.starts_with("protocol violation: "), "{message}");
    }
    let log = stage.postgres.stop();
    assert_eq!(log.iter().filter(|entry| entry.text.contains("smuggled")).count(), 0, "the server has heard of it");
}

/// Lengths in a session: each closes it at once, and costs no memory.
#[test]
fn a2_lengths_that_no_message_has() {
    let stage = Stage::start();
    let cases: [(char, u32); 12] = [
        ('Q', 0),
        ('Q', 3),
        ('Q', 0x7fff_ffff),
        ('Q', 0x8000_0000),
        ('Q', 0xffff_ffff),
        ('P', 0xffff_ffff),
        ('B', 0x7fff_ffff),
        ('E', 10_001),
        ('S', 5),
        ('S', 10_001),
        ('d', 0xffff_ffff),
        ('X', 0x7fff_ffff),
    ];
    let mut peers: Vec<_> = cases.iter().map(|_| Peer::signed_in(&stage, ALICE)).collect();
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    for ((tag, length), peer) in cases.iter().zip(&mut peers) {
        let begun = Instant::now();
        peer.write(&[&[*tag as u8][..], &length.to_be_bytes(), b"select 1"].concat());
        let (code, message, _) = peer.refused();
        assert_eq!(code, "08P01", "{tag} {length:#x}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{tag} {length:#x}: closed after {:?}", begun.elapsed());
    }
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 1024, "memory grew by {grown} KiB");
}

const RUNNING: &str =
    "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()";

/// Waits until that many sleepers are at work in the database.
pub(crate) fn until_running(watcher: &mut Peer, wanted: &str, what: &str) {
    let begun = Instant::now();
    loop {
        watcher.write(&query(RUNNING));
        if values(&watcher.ready()) == [wanted] {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: never {wanted}");
    }
}

/// A client that is gone, without a word and whatever it has left behind: what it ran is cancelled and gone.
#[test]
fn a7_what_a_vanished_client_runs_is_cancelled() {
    let stage = Stage::start();
    let mut watcher = Peer::signed_in(&stage, ALICE);
    let more = sync().repeat(4_000_000);
    let wait = parse("s", "select pg_sleep(60)");
    // A name whose meaning is still open makes the frames behind it wait in the proxy.
    let open =
        [wait, sync(), bind("s", &[]), execute(0), sync(), parse("s", "select 2"), sync(), bind("s", &[]), sync()]
            .concat();
    let cases: [(&str, Vec<u8>, &[u8]); 4] = [
        ("simple", query("select pg_sleep(60)"), b""),
        ("with frames behind it", query("select pg_sleep(60)"), &more),
        ("with frames that wait in the proxy", open, &more),
        ("extended", [parse("", "select pg_sleep(60)"), bind("", &[]), execute(0), sync()].concat(), b""),
    ];
    for (what, frames, behind) in &cases {
        // An orderly end is queued behind what was sent; only where there is nothing more can anybody see it.
        for is_reset in [true, false].into_iter().filter(|is_reset| *is_reset || behind.is_empty()) {
            let mut peer = Peer::signed_in(&stage, ALICE);
            peer.write(frames);
            until_running(&mut watcher, "1", what);
            // As much as there is room for on the way.
            peer.tcp().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            peer.tcp().set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let _ = peer.try_write(behind);
            let begun = Instant::now();
            if is_reset {
                peer.vanish();
            } else {
                drop(peer);
            }
            until_running(&mut watcher, "0", what);
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}: it ran on for {:?}", begun.elapsed());
        }
    }
    stage.verify_trail();
}

/// PostgreSQL ends what was sent before a goodbye; a program that does not wait for its last answer loses nothing.
#[test]
fn what_was_sent_before_a_goodbye_is_done() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(
        &[
            query("create temporary table t (n int)"),
            query("select pg_sleep(1)"),
            query("select 'last'"),
            frame('X', b""),
        ]
        .concat(),
    );
    let messages = peer.last_messages();
    assert_eq!(results(&messages), ["CREATE TABLE", "SELECT 1", "SELECT 1"]);
    assert!(messages.iter().all(|(tag, _)| *tag != 'E'), "{messages:?}");
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("select pg_sleep(1), pg_notify('done', '')"), frame('X', b"")].concat());
    drop(peer);
    let outcome =
        stage.wait_for_record(|record| record.kind() == "outcome" && record.0["outcome"]["tag"] == "SELECT 1");
    assert_eq!(outcome.0["outcome"]["result"], "ok");
}

/// A statement for each of a thousand frames that came in one segment, and an answer to each, in order.
#[test]
fn a18_a_thousand_statements_in_one_segment() {
    let mut stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let one = |number: u32| [parse("", "select $1::int"), bind("", &[Some(&number.to_string())]), execute(0)].concat();
    let mut frames: Vec<u8> = (0..1000).flat_map(one).collect();
    frames.extend(sync());
    peer.write(&frames);
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(values(&peer.ready()), expected);
    // An error in the middle: what comes after it is skipped, and on record as skipped.
    let mut frames: Vec<u8> = (0..500).flat_map(one).collect();
    frames.extend([parse("", "select 1/0"), bind("", &[]), execute(0)].concat());
    frames.extend((0..499).flat_map(one));
    frames.extend(sync());
    peer.write(&frames);
    assert_eq!(results(&peer.ready()).last().unwrap(), "22012");
    peer.write(&frame('X', b""));
    stage.wait_for_ends();
    let trail = stage.trail();
    let executed: Vec<_> = trail.iter().filter(|record| record.protocol() == "execute").collect();
    assert_eq!(executed.len(), 2000);
    let skipped =
        trail.iter().flat_map(|record| record.outcomes()).filter(|outcome| outcome["result"] == "skipped").count();
    assert_eq!(skipped, 2 * 499, "Parse and Execute of 499 each");
    let failed = trail.iter().find(|outcome| outcome.0["of"] == executed[1500].0["id"]).unwrap();
    let told = (&executed[1500].0["statement"]["text"], &failed.0["outcome"]["result"]);
    assert_eq!(told, (&json!("select 1/0"), &json!("error")), "its record stands for its Bind, which failed");
    assert_eq!(executed[999].0["statement"]["params"][0]["value"], "999");
    stage.verify_trail();
    let ran = |entry: &Entry| entry.text.starts_with("execute <unnamed>: select $1::int");
    assert_eq!(stage.postgres.stop().iter().filter(|entry| ran(entry)).count(), 1500);
}

/// What is sent, and the results up to each ReadyForQuery.
type Case = (Vec<Vec<u8>>, &'static [&'static [&'static str]]);

/// COPY by the extended protocol with a Sync where PostgreSQL swallows one; data and Sync in every order.
#[test]
fn a20_a_sync_in_the_middle_of_a_copy() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("create temporary table copied (n int)"));
    peer.ready();
    let begin = || [parse("", "copy copied from stdin"), bind("", &[]), execute(0)].concat();
    let data = |text: &str| frame('d', text.as_bytes());
    let (done, fail, flush) = (frame('c', b""), frame('f', b"no\0"), frame('H', b""));
    let cases: [Case; 6] = [
        (vec![begin(), flush.clone(), data("1\n"), sync(), data("2\n"), flush, done.clone(), sync()], &[&["COPY 2"]]),
        (vec![begin(), sync(), data("3\n"), done.clone(), sync()], &[&["COPY 1"]]),
        (vec![begin(), data("4\n"), sync(), fail, sync()], &[&["57014"]]),
        (vec![begin(), data("x\n"), done.clone(), sync(), query("select 1")], &[&["22P02"], &["SELECT 1"]]),
        (vec![begin(), data("5\n"), sync(), sync(), done.clone(), query("select 1")], &[&["COPY 1", "SELECT 1"]]),
        (
            vec![query("copy copied from stdin"), data("6\n"), sync(), done, query("select 1")],
            &[&["COPY 1"], &["SELECT 1"]],
        ),
    ];
    for (at, (frames, expected)) in cases.iter().enumerate() {
        peer.write(&frames.concat());
        let answers: Vec<_> = expected.iter().map(|_| results(&peer.ready())).collect();
        assert_eq!(answers, *expected, "case {at}");
    }
    peer.write(&query("select sum(n) from copied"));
    assert_eq!(values(&peer.ready()), ["17"]);
}

#[test]
fn a16_a_function_that_is_none_is_an_error_and_no_end() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&function_call(0xffff_ffff, "x"));
    assert_eq!(results(&peer.ready()).len(), 1);
    peer.write(&query("select 'alive'"));
    assert_eq!(values(&peer.ready()), ["alive"]);
    let record = stage.wait_for_record(|record| record.protocol() == "function" || record.kind() == "denied");
    assert_eq!(record.login(), ALICE);
}

/// Five bytes each, for which the server owes six: a client that never reads must not fill our memory with them.
#[test]
fn a8_endless_syncs_behind_a_slow_statement() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    peer.write(&query("select pg_sleep(60)"));
    // The TLS of the test reads when it cannot write.
    peer.tcp().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    peer.tcp().set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let syncs = sync().repeat(50_000);
    let mut sent = 0;
    while sent < 64 << 20 && peer.try_write(&syncs).is_ok() {
        sent += syncs.len();
    }
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 16 << 10, "memory grew by {grown} KiB for {sent} bytes");
}

#[test]
fn a25_frames_before_the_sign_in_are_refused() {
    let stage = Stage::start();
    let mut peer = Peer::tls(&stage);
    peer.write(&super::peer::psql(V3_0, ALICE, &[]));
    peer.prompted();
    peer.write(&query("select 'early'"));
    let messages = peer.last_messages();
    let error = fields(&messages.last().unwrap().1);
    assert_eq!(error[&'C'], "08P01", "{error:?}");
    let abandoned = stage.wait_for_record(|record| record.effect() == "abandoned");
    assert_eq!(abandoned.kind(), "login");
}
