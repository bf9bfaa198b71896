//! kill -9 in the middle of load: whatever the server ran is on record, and the proxy is back at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::faults::{RESTART_MAX, SMALL_SEGMENTS};
use super::support::proxy::Settings;
use super::support::trail::Record;
use super::support::wire::{Wire, bind, execute, frame, parse, query, sync};
use super::support::{ALICE, Stage, server_log};

/// Sessions that run statements at the moment of the kill.
const SESSIONS: usize = 4;
/// The length of a text that goes to a blob.
const BLOB_BYTES: usize = 62_000;

/// docs/threats.md c4.
#[test]
fn nothing_runs_without_a_record() {
    kill_under_load(10);
}

mod long {
    /// docs/threats.md c4.
    #[test]
    fn nothing_runs_without_a_record_over_two_hundred_kills() {
        super::kill_under_load(200);
    }
}

fn kill_under_load(rounds: usize) {
    let mut stage = Stage::with(&Settings { audit: SMALL_SEGMENTS, ..Settings::default() });
    stage.psql(ALICE).run(&["create table load (mark text)"]).lines();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let until_killed = 10 + round * 37 % 50;
        load_until(&mut stage, round, until_killed);
        stage.proxy.kill_and_restart();
        slowest = slowest.max(stage.proxy.up_after);
        stage.verify_trail();
    }
    let copied = stage.psql(ALICE).run(&["select distinct mark from load where mark like 'copied %'"]);
    let copied: Vec<String> = copied.lines().into_iter().map(str::to_owned).collect();
    let log = stage.postgres.stop();
    let ran: Vec<&str> = log.iter().filter_map(|entry| mark(server_log::statement(entry)?.0)).collect();
    let records = stage.trail();
    let sent = records.iter().filter(|record| matches!(record.protocol(), "simple" | "execute"));
    let texts: Vec<String> = sent.filter_map(|record| record.text(stage.folder())).collect();
    let recorded: BTreeSet<&str> = texts.iter().filter_map(|text| mark(text)).collect();
    let missing: Vec<_> = ran.iter().filter(|text| !recorded.contains(*text)).collect();
    let segments = std::fs::read_dir(stage.folder().join("audit/journal")).unwrap().count();
    println!(
        "{rounds} kills: {} statements ran, {} are on record, {} ran without a record; {segments} files of segments",
        ran.len(),
        recorded.len(),
        missing.len()
    );
    println!("slowest restart: {} ms", slowest.as_millis());
    assert!(ran.len() > rounds * 10, "the load was no load: {}", ran.len());
    assert!(segments > rounds, "there are few segments: {segments}");
    assert!(missing.is_empty(), "{missing:?}");
    copies_have_ends(&copied, &records);
    assert!(slowest < RESTART_MAX, "{slowest:?}");
}

/// The server keeps what was copied only after its end went up, and that is on record before.
fn copies_have_ends(copied: &[String], records: &[Record]) {
    let text = |record: &Record| record.0["statement"]["text"].as_str().map(str::to_owned);
    let begun: BTreeMap<String, &str> =
        records.iter().filter_map(|record| Some((text(record)?, record.id()))).collect();
    let whole = records.iter().filter(|record| record.0["statement"]["copied"]["failed"] == false);
    let ended: BTreeSet<&str> = whole.filter_map(|end| end.0["statement"]["of"].as_str()).collect();
    let has_end = |mark: &String| {
        let of = begun.get(&format!("copy load from stdin /* {mark} */"));
        of.is_some_and(|id| ended.contains(id))
    };
    let missing: Vec<_> = copied.iter().filter(|mark| !has_end(mark)).collect();
    println!("{} copies came through, {} without the record of their end", copied.len(), missing.len());
    assert!(!copied.is_empty() && missing.is_empty(), "{missing:?}");
}

/// Runs statements in all sessions, each with a mark of its own, and kills the proxy when `statements` have ended.
fn load_until(stage: &mut Stage, round: usize, statements: usize) {
    let shared = &*stage;
    let wires: Vec<Wire> = thread::scope(|scope| {
        let signing_in: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(|| Wire::signed_in(shared, ALICE))).collect();
        signing_in.into_iter().map(|wire| wire.join().unwrap()).collect()
    });
    thread::scope(|scope| {
        let (done, ended) = channel();
        for (place, mut wire) in wires.into_iter().enumerate() {
            let done = done.clone();
            scope.spawn(move || run_until_cut(&mut wire, &format!("{round}-{place}"), place, &done));
        }
        ended.iter().take(statements).for_each(drop);
        stage.proxy.kill();
    });
}

/// Both protocols, one and many statements at a time, long ones, copies, until the connection is cut.
fn run_until_cut(wire: &mut Wire, name: &str, first: usize, done: &Sender<()>) {
    for turn in first.. {
        let mark = |place: usize| format!("{name}-{turn}-{place}");
        let insert = |place: usize| format!("insert into load values ('{}')", mark(place));
        let one = |place| [parse("", &insert(place)), bind("", &[]), execute(0)].concat();
        let frames = match turn % 5 {
            0 => query(&insert(0)),
            1 => [one(0), sync()].concat(),
            2 => (0..8).map(one).chain([sync()]).collect::<Vec<_>>().concat(),
            3 => query(&format!("{} -- {}", insert(0), "x".repeat(BLOB_BYTES))),
            _ => copy(&format!("copied {}", mark(0))),
        };
        if !wire.try_send(&frames) {
            return;
        }
        loop {
            match wire.try_message() {
                Some(('Z', _)) => break,
                Some(_) => {}
                None => return,
            }
        }
        done.send(()).ok();
    }
}

/// A COPY in many pieces, so that it is often under way.
fn copy(mark: &str) -> Vec<u8> {
    let piece = frame('d', format!("{mark}\n").repeat(200).as_bytes());
    let begin = query(&format!("copy load from stdin /* {mark} */"));
    [begin, piece.repeat(10), frame('c', &[])].concat()
}

/// The part of a text that is its own, if it is one of the load.
fn mark(text: &str) -> Option<&str> {
    let is_load = text.contains("into load") || text.contains("copy load");
    text.split(" -- ").next().filter(|_| is_load)
}
