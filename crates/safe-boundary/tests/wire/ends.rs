//! The proxy goes down, or its certificate changes.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{Peer, V3_0, psql, startup};
use super::sessions::until_running;
use super::support::process::PATIENCE;
use super::support::proxy::{self, Proxy, Settings};
use super::support::wire::{bind, execute, fields, frame, parse, query, results, sync, values};
use super::support::{ALICE, BOB, Stage, root};

/// The first error among messages, by code and text.
fn error(messages: &[(char, Vec<u8>)]) -> (String, String) {
    let body = &messages.iter().find(|(tag, _)| *tag == 'E').expect("an error").1;
    let fields = fields(body);
    (fields[&'C'].clone(), fields[&'M'].clone())
}

fn draining(drain: &str) -> Stage {
    let mut stage = Stage::start();
    let config = proxy::config(&stage.postgres, &stage.idp, &Settings::default());
    stage.proxy.kill();
    stage.proxy = Proxy::start(stage.folder(), &config.replace("drain = \"1s\"", &format!("drain = \"{drain}\"")));
    stage
}

/// Idle ones end at once, a running statement and an open transaction end first, a person who is asked is told.
#[test]
fn d7_a_drain_lets_work_finish() {
    let mut stage = draining("60s");
    let (mut idle, mut busy, mut open) =
        (Peer::signed_in(&stage, ALICE), Peer::signed_in(&stage, ALICE), Peer::signed_in(&stage, ALICE));
    // All is answered, but the transaction ends with the Sync.
    let mut pipelined = Peer::signed_in(&stage, ALICE);
    pipelined.write(&[parse("", "select 1"), bind("", &[]), execute(0), frame('H', b"")].concat());
    while pipelined.message().0 != 'C' {}
    let mut asked = Peer::tls(&stage);
    asked.write(&psql(V3_0, ALICE, &[]));
    asked.prompted();
    let mut silent = Peer::plain(stage.proxy.address);
    silent.write(&[0]);
    open.write(&query("begin"));
    open.ready();
    busy.write(&query("do $$ begin raise notice 'begun'; perform pg_sleep(3); end $$"));
    while busy.message().0 != 'N' {}
    let begun = Instant::now();
    thread::scope(|scope| {
        let stage = &mut stage;
        let drained = scope.spawn(move || stage.proxy.drain());
        for (peer, what) in [(&mut idle, "idle"), (&mut asked, "asked")] {
            let (code, message) = error(&peer.last_messages());
            assert_eq!(code, "57P01", "{what}");
            assert!(message.starts_with("your access ended: "), "{message}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{what}: told after {:?}", begun.elapsed());
        }
        let last = busy.last_messages();
        assert_eq!(results(&last), ["DO", "57P01"], "the statement ends, then the session");
        pipelined.write(&sync());
        pipelined.ready();
        assert_eq!(error(&pipelined.last_messages()).0, "57P01");
        open.write(&query("select 'still'"));
        assert_eq!(values(&open.ready()), ["still"], "a transaction goes on");
        open.write(&query("commit"));
        assert_eq!(results(&open.last_messages()), ["COMMIT", "57P01"]);
        silent.until_end();
        assert_eq!(drained.join().unwrap(), 0);
    });
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "nobody is waited for any more, but it took {:?}",
        begun.elapsed()
    );
    let trail = stage.trail();
    let ends = trail.iter().filter(|record| record.kind() == "end").count();
    assert_eq!(ends, 4);
    let abandoned = trail.iter().filter(|record| record.effect() == "abandoned").count();
    assert_eq!(abandoned, 1, "the sign-in that was under way has its end on record");
    stage.verify_trail();
}

/// What does not end by itself is ended: at the client, on record, and in the database.
#[test]
fn d7_a_drain_is_bounded() {
    let mut stage = draining("1s");
    let mut busy = Peer::signed_in(&stage, ALICE);
    let mut streaming = Peer::signed_in(&stage, ALICE);
    busy.write(&query("do $$ begin raise notice 'begun'; perform pg_sleep(600); end $$"));
    while busy.message().0 != 'N' {}
    streaming.write(&query("select repeat('x', 20000) from generate_series(1, 100000)"));
    assert_eq!(streaming.message().0, 'T');
    let begun = Instant::now();
    assert_eq!(stage.proxy.drain(), 0);
    assert!(begun.elapsed() < Duration::from_secs(12), "it took {:?}", begun.elapsed());
    assert_eq!(error(&busy.last_messages()).0, "57P01");
    // A client that does not read gets no error in the middle of a row.
    let raw = streaming.until_end();
    assert!(!raw.windows(5).any(|bytes| bytes == b"57P01"));
    assert_eq!(stage.trail().iter().filter(|record| record.kind() == "end").count(), 2);
    let log = stage.postgres.stop();
    assert!(
        log.iter().any(|entry| entry.text.contains("canceling statement due to user request")),
        "it runs on: {log:?}"
    );
}

#[test]
fn d5_a_new_certificate_is_taken_and_sessions_go_on() {
    let stage = Stage::start();
    let mut old = Peer::signed_in(&stage, ALICE);
    let (cert, key) = (stage.folder().join("server.crt"), stage.folder().join("server.key"));
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // For a moment the two do not fit together: then the old pair stays.
    fs::write(&cert, signed.cert.pem()).unwrap();
    fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    fs::write(stage.folder().join("ca.crt"), signed.cert.pem()).unwrap();
    takes_it(&stage);
    old.write(&query("select 'on'"));
    assert_eq!(values(&old.ready()), ["on"]);
    // A file that is none, and a key that belongs to another certificate: the good pair stays, and the log says so.
    let failed = || {
        let log = stage.proxy.log.all();
        log.iter().filter(|line| line.contains("the new certificate cannot be used; the old one stays")).count()
    };
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (cert_pem, key_pem) in [
        ("-----BEGIN CERTIFICATE-----\nnothing\n".to_owned(), signed.signing_key.serialize_pem()),
        (String::new(), String::new()),
        (other.cert.pem(), signed.signing_key.serialize_pem()),
    ] {
        let before = failed();
        fs::write(&cert, cert_pem).unwrap();
        fs::write(&key, key_pem).unwrap();
        let seen = stage.proxy.log.wait_for_more(before, |line| line.contains("the new certificate cannot be used"));
        assert!(seen > before);
        takes_it(&stage);
    }
    // What was in the way may go without a trace in the times of the files.
    let at = fs::metadata(&cert).unwrap().modified().unwrap();
    let write = |cert_pem: &str| {
        fs::write(&cert, cert_pem).unwrap();
        fs::File::options().write(true).open(&cert).unwrap().set_modified(at).unwrap();
    };
    let before = failed();
    write("not yet");
    stage.proxy.log.wait_for_more(before, |line| line.contains("the new certificate cannot be used"));
    let renewed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&key, renewed.signing_key.serialize_pem()).unwrap();
    stage.proxy.log.wait_for_more(before + 1, |line| line.contains("the new certificate cannot be used"));
    write(&renewed.cert.pem());
    fs::write(stage.folder().join("ca.crt"), renewed.cert.pem()).unwrap();
    takes_it(&stage);
    let signed = renewed;
    fs::remove_file(&cert).unwrap();
    takes_it(&stage);
    fs::write(&cert, signed.cert.pem()).unwrap();
    fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    old.write(&query("select 'on'"));
    assert_eq!(values(&old.ready()), ["on"], "the session has seen nothing of it");
}

/// Waits until connections are shown the certificate that `ca.crt` is.
fn takes_it(stage: &Stage) {
    let begun = Instant::now();
    loop {
        let mut peer = Peer::tls(stage);
        // Only the new certificate can be verified now.
        if peer.try_write(&psql(V3_0, "nobody", &[])).is_ok() {
            assert_eq!(peer.refused().0, "28000");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the old certificate is still shown");
    }
}

/// A server process is gone in the middle of a session, or of a row: told, and never in the middle of a message.
#[test]
fn d4_a_server_that_dies_is_told() {
    let stage = Stage::start();
    let mut idle = Peer::signed_in(&stage, ALICE);
    kill_server_of(&idle);
    let (code, message) = error(&idle.last_messages());
    assert_eq!((code.as_str(), message.as_str()), ("08006", "the connection to database \"payments\" was lost"));

    let mut streaming = Peer::signed_in_when_possible(&stage, ALICE);
    streaming.write(&query("select repeat('x', 200000000)"));
    assert_eq!(streaming.message().0, 'T');
    kill_server_of(&streaming);
    let raw = streaming.until_end();
    assert_eq!(raw.first(), Some(&b'D'));
    assert!(raw.len() < 200_000_000, "it was not cut");
    assert!(raw.iter().skip(11).all(|byte| *byte == b'x'), "an error in the middle of a row");
}

/// A mistake of ours in one session: it ends, what it ran is cancelled, its places are given back, and nobody else on its
/// thread or elsewhere feels it.
#[test]
fn d9_a_panic_ends_one_session() {
    const PROGRAM: &str = "an injected panic";
    let settings = Settings {
        prompting_programs: vec!["psql".to_owned(), PROGRAM.to_owned()],
        server: "[limits]\nper_person = 6\nper_address = 10",
        ..Settings::default()
    };
    let stage = Stage::with(&settings);
    // Sessions on every thread.
    let mut others: Vec<_> = (0..4).map(|_| Peer::signed_in(&stage, ALICE)).collect();
    for other in &mut others {
        other.write(&query("begin; create temporary table kept as select 7 as n"));
        other.ready();
    }
    // More in turn than there are places.
    for round in 0..8 {
        let mut victim = Peer::tls(&stage);
        victim.write(&startup(V3_0, &[("user", ALICE), ("database", "payments"), ("application_name", PROGRAM)]));
        stage.idp.approve(&victim.prompted(), ALICE);
        victim.ready();
        victim.write(&query("select pg_sleep(60)"));
        victim.until_end();
        for other in &mut others {
            other.write(&query("select n from kept"));
            assert_eq!(values(&other.ready()), ["7"], "round {round}");
        }
    }
    until_running(&mut Peer::signed_in(&stage, BOB), "0", "after the panics");
    let told = stage.proxy.log.all().iter().filter(|line| line.contains("internal error: this is a bug")).count();
    assert_eq!(told, 8);
    stage.verify_trail();
}

/// What the test above asks for must be impossible where it is not a test.
#[test]
fn d9_released_binaries_cannot_be_made_to_panic() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let manifest = read("Cargo.toml");
    let (_, released) = manifest.split_once("[profile.release]").unwrap();
    assert!(!released.contains("debug-assertions"), "released binaries have no debug assertions");
    let serve = read("crates/safe-boundary/src/serve.rs");
    let lines: Vec<_> = serve.lines().map(str::trim).collect();
    let uses: Vec<_> = lines.windows(2).filter(|pair| pair[1].contains("injected")).collect();
    assert_eq!(uses.len(), 2);
    assert!(uses.iter().all(|pair| pair[0] == "#[cfg(debug_assertions)]"), "{uses:?}");
}

fn kill_server_of(peer: &Peer) {
    let pid = u32::from_be_bytes(*peer.key.first_chunk().unwrap());
    assert!(Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success());
}
