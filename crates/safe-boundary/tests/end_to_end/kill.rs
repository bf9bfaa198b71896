//! kill -9 in the middle of load: whatever the server ran is on record, and the proxy is back at once.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::support::wire::{Wire, bind, execute, parse, query, sync};
use super::support::{ALICE, Stage, server_log};

/// Sessions that run statements at the moment of the kill.
const SESSIONS: usize = 4;
/// The longest a restart may take; it reads the tail of the trail.
const RESTART_MAX: Duration = Duration::from_secs(5);

#[test]
fn nothing_runs_without_a_record() {
    kill_under_load(10);
}

mod long {
    #[test]
    fn nothing_runs_without_a_record_over_fifty_kills() {
        super::kill_under_load(50);
    }
}

fn kill_under_load(rounds: usize) {
    let mut stage = Stage::start();
    stage.psql(ALICE).run(&["create table load (mark text)"]).lines();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let until_killed = 40 + round * 37 % 200;
        load_until(&mut stage, round, until_killed);
        let restarted = Instant::now();
        stage.proxy.kill_and_restart();
        slowest = slowest.max(restarted.elapsed());
        stage.verify_trail();
    }
    let marks = |text: &str| text.contains("into load").then(|| text.to_owned());
    let log = stage.postgres.stop();
    let ran: Vec<String> = log.iter().filter_map(|entry| marks(server_log::statement(entry)?.0)).collect();
    let records = stage.trail();
    let sent = records.iter().filter(|record| matches!(record.protocol(), "simple" | "execute"));
    let recorded: BTreeSet<String> = sent.filter_map(|record| marks(&record.text(stage.folder())?)).collect();
    let missing: Vec<_> = ran.iter().filter(|text| !recorded.contains(*text)).collect();
    println!(
        "{rounds} kills: {} statements ran, {} are on record, {} ran without a record",
        ran.len(),
        recorded.len(),
        missing.len()
    );
    println!("slowest restart: {} ms", slowest.as_millis());
    assert!(ran.len() > rounds * 40, "the load was no load: {}", ran.len());
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(slowest < RESTART_MAX, "{slowest:?}");
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
            scope.spawn(move || run_until_cut(&mut wire, &format!("{round}-{place}"), &done));
        }
        ended.iter().take(statements).for_each(drop);
        stage.proxy.kill();
    });
}

/// Both protocols, one and many statements at a time, until the connection is cut.
fn run_until_cut(wire: &mut Wire, name: &str, done: &Sender<()>) {
    for turn in 0_usize.. {
        let insert = |place: usize| format!("insert into load values ('{name}-{turn}-{place}')");
        let one = |place| [parse("", &insert(place)), bind("", &[]), execute(0)].concat();
        let frames = match turn % 3 {
            0 => query(&insert(0)),
            1 => [one(0), sync()].concat(),
            _ => (0..8).map(one).chain([sync()]).collect::<Vec<_>>().concat(),
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
