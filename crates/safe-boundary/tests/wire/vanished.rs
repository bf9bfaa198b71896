//! Clients whose network is gone: no goodbye, no reset, nothing.
//!
//! The stage of such a test stands in a network namespace of its own, where a route can be taken away.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use super::peer::{Peer, V3_0};
use super::sessions::until_running;
use super::support::process::PATIENCE;
use super::support::proxy::Settings;
use super::support::wire::{query, results, values};
use super::support::{ALICE, Stage};

/// The address of the clients that vanish; loopback has it like all of 127.0.0.0/8.
const THERE: [u8; 4] = [127, 0, 0, 77];

/// What must have happened by then.
const BOUND: Duration = Duration::from_secs(15);

/// Runs the test of that name once more, in a network namespace of its own; whether this is that run.
fn is_in_namespace(test: &str) -> bool {
    const MARK: &str = "SAFE_BOUNDARY_TEST_NAMESPACE";
    if env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    // Without root, a namespace of users in which one stays who one is: PostgreSQL does not run as root.
    let is_root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t");
    command.args(if is_root { &["--net"][..] } else { &["--net", "--map-current-user", "--keep-caps"] });
    command.args(["sh", "-c", "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture"]);
    let status = command.arg(env::current_exe().unwrap()).arg(test).env(MARK, "1").status().unwrap();
    assert!(status.success(), "{test}, in a network namespace of its own");
    false
}

/// From now on nothing reaches that address any more, and nothing is heard of it.
fn cut(is_cut: bool) {
    let verb = if is_cut { "add" } else { "delete" };
    let route = ["route", verb, "blackhole", "127.0.0.77/32", "table", "local"];
    assert!(Command::new("ip").args(route).status().unwrap().success());
}

fn from_there(stage: &Stage) -> Peer {
    let mut peer = Peer::plain_from(THERE, stage.proxy.address).asking_for_tls(stage);
    peer.sign_in(stage, ALICE, V3_0, &[]);
    peer
}

#[test]
fn a7_a_client_without_a_network_is_cancelled() {
    if !is_in_namespace("vanished::a7_a_client_without_a_network_is_cancelled") {
        return;
    }
    let stage = Stage::start();
    let mut watcher = Peer::signed_in(&stage, ALICE);
    // Silence; an answer that nobody acknowledges; a large one that is cut off in the middle; locks that are held.
    let chatty =
        "do $$ begin for i in 1 .. 60 loop raise notice 'pg_sleep(60) %', i; perform pg_sleep(1); end loop; end $$";
    let cases = [
        ("nothing in flight", "select pg_sleep(60)"),
        ("something in flight", chatty),
        ("much in flight", "select repeat('x', 20000), 'pg_sleep(60)' from generate_series(1, 100000)"),
    ];
    let mut peers: Vec<_> = cases.iter().map(|_| from_there(&stage)).collect();
    let mut holder = from_there(&stage);
    watcher.write(&query("create table held (n int)"));
    watcher.ready();
    holder.write(&query("begin; lock table held"));
    holder.ready();
    for (peer, (_, text)) in peers.iter_mut().zip(cases) {
        peer.write(&query(text));
    }
    until_running(&mut watcher, "3", "at work");
    for _ in 0..1000 {
        peers[2].message();
    }
    holder.write(&query("select repeat('y', 1000) from generate_series(1, 2), pg_sleep(1)"));
    let begun = Instant::now();
    cut(true);
    until_running(&mut watcher, "0", "after the cut");
    assert!(begun.elapsed() < BOUND, "what they ran goes on for {:?}", begun.elapsed());
    watcher.write(&query("lock table held"));
    assert_eq!(results(&watcher.ready()), ["25P01"], "outside a transaction");
    watcher.write(&query("begin; lock table held; commit"));
    assert_eq!(results(&watcher.ready()), ["BEGIN", "LOCK TABLE", "COMMIT"]);
    assert!(begun.elapsed() < BOUND + Duration::from_secs(2), "their locks hold for {:?}", begun.elapsed());
    let ended = || stage.trail().into_iter().filter(|record| record.kind() == "end");
    stage.wait_for_record(|record| record.kind() == "end" && ended().count() == 4);
    let reasons: BTreeSet<_> = ended().map(|end| end.0["reason"].to_string()).collect();
    let expected = ["\"the client vanished: it acknowledges nothing\"", "\"the client went away\""];
    assert_eq!(reasons, expected.map(str::to_owned).into());
    stage.verify_trail();
}

/// A drain may take hours: who vanishes during it is noticed as ever, and holds up neither its locks nor the end.
#[test]
fn a7_a_client_that_vanishes_during_a_drain_is_cancelled() {
    if !is_in_namespace("vanished::a7_a_client_that_vanishes_during_a_drain_is_cancelled") {
        return;
    }
    let mut stage = Stage::with(&Settings { drain: "5m", ..Settings::default() });
    let mut idle = Peer::signed_in(&stage, ALICE);
    let mut gone = from_there(&stage);
    gone.write(&query("do $$ begin for i in 1 .. 60 loop raise notice '%', i; perform pg_sleep(1); end loop; end $$"));
    assert_eq!(gone.message().0, 'N');
    stage.proxy.begin_drain();
    idle.until_end();
    let begun = Instant::now();
    cut(true);
    assert_eq!(stage.proxy.end_of_drain(), 0);
    assert!(begun.elapsed() < BOUND, "the drain waits for {:?}", begun.elapsed());
    let trail = stage.trail();
    let mut reasons: Vec<_> =
        trail.iter().filter(|record| record.kind() == "end").map(|end| end.0["reason"].to_string()).collect();
    reasons.sort();
    assert_eq!(reasons, ["\"the client vanished: it acknowledges nothing\"", "\"the proxy is shutting down\""]);
    let log = stage.postgres.stop();
    let cancelled = "canceling statement due to user request";
    assert!(log.iter().any(|entry| entry.text.contains(cancelled)), "it runs on: {log:?}");
}

/// A pager that waits for its reader has a closed window for as long as it likes.
#[test]
fn a8_a_reader_that_pauses_is_let_be() {
    let stage = Stage::start();
    let mut paused = Peer::signed_in(&stage, ALICE);
    paused.write(&query("select repeat('x', 20000) from generate_series(1, 5000)"));
    assert_eq!(paused.message().0, 'T');
    let mut watcher = Peer::signed_in(&stage, ALICE);
    // Longer than any silence is borne.
    watcher.write(&query("select pg_sleep(25)"));
    watcher.ready();
    let begun = Instant::now();
    let rows = paused.ready().iter().filter(|(tag, _)| *tag == 'D').count();
    assert_eq!(rows, 5000, "after {:?}", begun.elapsed());
    assert!(begun.elapsed() < PATIENCE);
    paused.write(&query("select 'on'"));
    assert_eq!(values(&paused.ready()), ["on"]);
}
