//! Broken disks and crashes under the built program, with a real PostgreSQL behind it: docs/threats.md c1 to c4, c13.
//!
//! After each fault the same is asked: did anything run that is not on record, was anybody told something wrong, does
//! `audit verify` hold, and is the proxy up again within two seconds?

mod calls;
mod coverage;
mod full;
mod power;

mod slow;
mod start;

mod two;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::support::disk::BadDisk;
use super::support::proxy::Settings;
use super::support::wire::{Wire, bind, execute, fields, frame, parse, query, sync};
use super::support::{ALICE, Stage, server_log};

/// The longest that a restart may take.
pub(crate) const RESTART_MAX: Duration = Duration::from_secs(2);

/// Segments as small as they may be, so that there are many.
pub(crate) const SMALL_SEGMENTS: &str = "segment = \"64KiB\"";

/// What a client was told of one statement, or of several that went together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It ran.
    Done,
    /// An error with this SQLSTATE; the session goes on.
    Error(String),
    /// FATAL with this SQLSTATE.
    Fatal(String),
    /// The connection ended without a word.
    Cut,
}

/// A stage with small segments and a table to write to.
fn stage(is_shadowed: bool) -> (Stage, BadDisk) {
    let settings = Settings { audit: SMALL_SEGMENTS, ..Settings::default() };
    let (stage, disk) = Stage::on_a_bad_disk(&settings, is_shadowed);
    stage.psql(ALICE).run(&["create table load (mark text)"]).lines();
    (stage, disk)
}

/// One statement of each kind that the trail treats in a way of its own: its name, and its frames. Every text begins with
/// its mark.
fn statements(round: &str) -> Vec<(String, Vec<u8>)> {
    let insert = |mark: &str, long: usize| {
        format!("/* {mark} */ insert into load values ('{mark}' || left('{}', 0))", "x".repeat(long))
    };
    let simple = |mark: &str, long: usize| query(&insert(mark, long));
    let one = |mark: &str| [parse("", &insert(mark, 0)), bind("", &[]), execute(0)].concat();
    let with_parameter = |mark: &str, long: usize| {
        let text = format!("/* {mark} */ insert into load values (left($1, 10))");
        [parse("", &text), bind("", &[Some(&"y".repeat(long))]), execute(0), sync()].concat()
    };
    let copy = |mark: &str| {
        let data = frame('d', b"copied\n".repeat(1000).as_slice());
        [query(&format!("/* {mark} */ copy load from stdin")), data.clone(), data, frame('c', &[])].concat()
    };
    let many = |mark: &str| (0..4).map(|_| one(mark)).chain([sync()]).collect::<Vec<_>>().concat();
    type Make<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let makes: [(&str, Make<'_>); 12] = [
        ("simple", &|mark| simple(mark, 0)),
        ("extended", &|mark| [one(mark), sync()].concat()),
        ("pipeline", &many),
        // In the record; so long that segments are soon full.
        ("long", &|mark| simple(mark, 15_000)),
        ("longer", &|mark| many(mark).into_iter().chain(simple(mark, 15_900)).collect()),
        ("begin", &|mark| query(&format!("/* {mark} */ begin"))),
        ("within", &|mark| simple(mark, 14_000)),
        ("commit", &|mark| query(&format!("/* {mark} */ commit"))),
        // Beside the record, first by the journal, then by the session itself.
        ("blob", &|mark| simple(mark, 70_000)),
        ("spooled", &|mark| simple(mark, 270_000)),
        ("parameter", &|mark| with_parameter(mark, 270_000)),
        ("copy", &copy),
    ];
    makes.iter().map(|(name, make)| (format!("{round}-{name}"), make(&format!("{round}-{name}")))).collect()
}

/// Sends every statement and hears what becomes of it, until the session ends.
fn run(wire: &mut Wire, round: &str) -> Vec<(String, Told)> {
    let mut told = Vec::new();
    for (mark, frames) in statements(round) {
        let groups = if mark.ends_with("-longer") { 2 } else { 1 };
        let said = if wire.try_send(&frames) { heard(wire, groups) } else { Told::Cut };
        let has_ended = matches!(said, Told::Fatal(_) | Told::Cut);
        told.push((mark, said));
        if has_ended {
            break;
        }
    }
    told
}

/// What the server says up to so many times that it is ready; the first error counts.
fn heard(wire: &mut Wire, groups: usize) -> Told {
    let mut told = Told::Done;
    let mut left = groups;
    while left > 0 {
        match wire.try_message() {
            None => return Told::Cut,
            Some(('Z', _)) => left -= 1,
            Some(('E', body)) => {
                let fields = fields(&body);
                if fields[&'S'] == "FATAL" {
                    return Told::Fatal(fields[&'C'].clone());
                }
                if told == Told::Done {
                    told = Told::Error(fields[&'C'].clone());
                }
            }
            Some(_) => {}
        }
    }
    told
}

/// What clients were told of all statements so far, to be held against the server's log and the trail.
#[derive(Default)]
struct Witness {
    told: BTreeMap<String, Told>,
    restarts: Vec<Duration>,
}

impl Witness {
    fn heard(&mut self, told: Vec<(String, Told)>) {
        self.told.extend(told);
    }

    /// The proxy has been started again.
    fn restarted(&mut self, stage: &Stage) {
        self.restarts.push(stage.proxy.up_after);
    }

    /// Holds three tales against each other: what was told, what the server logged, what is on record.
    fn compare(&self, stage: &mut Stage, what: &str) {
        let (ran, recorded) = marks(stage);
        let missing: Vec<_> = ran.difference(&recorded).collect();
        let slowest = self.restarts.iter().max().copied().unwrap_or_default();
        println!(
            "{what}: {} statements told of, {} ran, {} on record, {} ran without a record; {} restarts, the slowest {} ms",
            self.told.len(),
            ran.len(),
            recorded.len(),
            missing.len(),
            self.restarts.len(),
            slowest.as_millis()
        );
        assert!(missing.is_empty(), "{what}: ran without a record: {missing:?}");
        assert!(slowest < RESTART_MAX, "{what}: a restart took {slowest:?}");
        for (mark, told) in &self.told {
            let (ran, recorded) = (ran.contains(mark), recorded.contains(mark));
            match told {
                Told::Done => assert!(ran && recorded, "{what}: {mark} was answered; ran: {ran}, recorded: {recorded}"),
                // A COPY is refused at its end, when it has begun; of two groups only one may be refused.
                Told::Error(code) if code == "58030" && !mark.ends_with("-copy") && !mark.ends_with("-longer") => {
                    assert!(!ran, "{what}: {mark} was refused, and ran");
                }
                Told::Error(_) | Told::Fatal(_) | Told::Cut => {}
            }
        }
    }
}

/// The marks of all that the server says that it ran, and of all that is on record.
fn marks(stage: &mut Stage) -> (BTreeSet<String>, BTreeSet<String>) {
    let log = stage.postgres.stop();
    let ran = log.iter().filter_map(|entry| mark(server_log::statement(entry)?.0)).map(str::to_owned).collect();
    let records = stage.trail();
    let sent = records.iter().filter(|record| matches!(record.protocol(), "simple" | "execute"));
    let recorded = sent.filter_map(|record| mark(&record.text(stage.folder())?).map(str::to_owned)).collect();
    (ran, recorded)
}

/// The mark at the beginning of a text.
fn mark(text: &str) -> Option<&str> {
    text.strip_prefix("/* ")?.split_once(" */").map(|(mark, _)| mark)
}
