//! Pipelines of a client against a model of the server: does the record say what ran?
//!
//! Promises: bytes are cut, delayed and refused as the fuzzer says; every statement that went up has one record, in
//! order, with the text that ran and one outcome, and nothing waits for a server that has nothing to say.
//! Deliberately not here: what a real PostgreSQL does otherwise than the model (`tests/conversation.rs` asks one).

mod client;
mod server;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use domain::audit::pending::{Position, Receipt};
use domain::audit::record::{Batch, Parameters};
use domain::statement::conversation::{Conversation, Next};
use domain::statement::ink::Ink;
use domain::statement::refusal;
use jiff::Timestamp;
use pgproto::frame::{self, HEADER_BYTES};
use pgproto::frontend::encode;
use pgproto::tracker::answers::Reaction;
use serde_json::Value;
use server::{Server, Truth};

/// What the server may keep without an answer (`IN_FLIGHT_MAX` of the tracker), with a read's worth on top.
const IN_FLIGHT_MAX: usize = 32 * 1024;

/// How often may be waited for an answer before it counts as hanging.
const TURNS_MAX: usize = 40_000;

/// `FUZZ_STORY=1`: tells what happens, for whoever reads a failure.
static TELLS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_STORY").is_some());

fn tell(what: &str, raw: &[u8]) {
    let mut rest = raw;
    while let (true, Ok(Some((frame, after)))) = (*TELLS, frame::split(rest)) {
        eprintln!("{what} {} {}", char::from(frame.tag()), frame.body().escape_ascii());
        rest = after;
    }
}

/// A session of the fuzzer.
pub fn pipeline(raw: &[u8]) {
    let mut input = Unstructured::new(raw);
    let refuses = input.ratio(1, 4).unwrap_or_default();
    let mut run = Run::new(refuses);
    let mut moves = 0;
    while !input.is_empty() && run.is_open && moves < 2_000 {
        moves += 1;
        if run.step(&mut input).is_err() {
            break;
        }
    }
    run.finish();
}

struct Run {
    conversation: Conversation,
    client: client::Client,
    server: Server,
    /// Client bytes that have come and are not yet judged.
    here: Vec<u8>,
    /// Server bytes that have come and are not yet told.
    down: Vec<u8>,
    at: u64,
    records: Vec<Value>,
    refuses: bool,
    is_open: bool,
    /// Nobody knows any more what the server's answers mean.
    is_confused: bool,
    waits: bool,
}

impl Run {
    fn new(refuses: bool) -> Self {
        let ink = Ink::new(Arc::from("node"), [1; 6], Timestamp::UNIX_EPOCH);
        Self {
            conversation: Conversation::new(ink, Parameters::Full),
            client: client::Client::default(),
            server: Server::default(),
            here: Vec::new(),
            down: Vec::new(),
            at: 0,
            records: Vec::new(),
            refuses,
            is_open: true,
            is_confused: false,
            waits: false,
        }
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match input.int_in_range(0..=9_u8)? {
            0..=4 => self.client.frame(input, &mut self.here)?,
            5 | 6 => self.look(input.ratio(1, 6)?),
            7 | 8 => self.serve(input.arbitrary()?),
            _ => self.hear(),
        }
        Ok(())
    }

    /// The upward half looks once at what has come.
    fn look(&mut self, refuse: bool) {
        self.send_owed_sync();
        let now = Timestamp::UNIX_EPOCH;
        let intake = self.conversation.intake(&self.here, now);
        let (raw, refused) = (intake.taken, intake.refused());
        assert!(raw <= self.here.len());
        let next = intake.next;
        self.waits = next == Next::Wait;
        if raw > 0 {
            let forward = match intake.effect.unsealed() {
                Ok(forward) => Some(forward),
                Err(_) if self.refuses && refuse => None,
                Err(sealed) => Some(self.recorded(sealed)),
            };
            match forward {
                Some(forward) => {
                    tell("forwards", &self.here[..raw]);
                    assert!(forward.bytes == raw && frame_bytes(&self.here) >= raw, "whole frames of the client");
                    let bytes = forward.instead.unwrap_or_else(|| self.here[..forward.bytes].to_vec());
                    self.server.take(&bytes);
                    if forward.flush {
                        self.server.take(b"H\0\0\0\x04");
                    }
                }
                None => {
                    let instead = self.conversation.refuse(&refused, &self.here[..raw]);
                    self.server.take(&instead);
                }
            }
            self.here.drain(..raw);
            assert!(self.server.unanswered() <= IN_FLIGHT_MAX + 1024, "{} in flight", self.server.unanswered());
        }
        match next {
            Next::More | Next::Wait => {}
            Next::Skip(bytes) => drop(self.here.drain(..bytes)),
            Next::Terminate => self.is_open = false,
            Next::Violation(violation) => {
                let during_copy = self.conversation.is_copying_in();
                assert!(during_copy || self.client.is_wild, "a client in order is told {violation}");
                self.is_open = false;
            }
            Next::Large(..) => panic!("no frame is that large"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this stands in for the journal")]
    fn recorded<T: std::fmt::Debug>(&mut self, sealed: domain::audit::pending::Unrecorded<T>) -> T {
        let position = Position::new(1, 1);
        let mut batch = Batch::default();
        let pending = sealed.append(|records| {
            batch = records;
            Ok::<_, ()>(position)
        });
        self.keep(&batch);
        self.conversation.settled();
        pending.unwrap().open(Receipt::mint(position)).expect("its receipt opens it")
    }

    fn keep(&mut self, batch: &Batch) {
        self.records.extend(batch.entries().map(|entry| serde_json::from_slice::<Value>(entry).expect("a record")));
    }

    fn send_owed_sync(&mut self) {
        if self.conversation.owes_sync() {
            let mut sync = Vec::new();
            encode::sync(&mut sync);
            self.server.take(&sync);
        }
    }

    /// The server works on its next message.
    fn serve(&mut self, chance: u8) {
        self.server.step(chance);
        if chance & 3 != 0 {
            self.hear();
        }
    }

    /// The downward half tells the conversation what the server has sent.
    fn hear(&mut self) {
        if self.is_confused {
            return;
        }
        let sent = self.server.sent();
        tell("    answers", &sent);
        self.down.extend(sent);
        let mut rest = self.down.as_slice();
        while let Some((tag, header)) = frame::backend_header(rest).expect("the model speaks the protocol") {
            let end = self.at + header.frame_bytes() as u64;
            if let Some(needed) = Conversation::reads(tag, header.body_bytes) {
                let body = &rest[HEADER_BYTES..HEADER_BYTES + needed];
                match self.conversation.answer(tag, body, end) {
                    Ok(Reaction::Pass) => {}
                    Ok(Reaction::Refusal(why)) => refusal::notice(why).encode(&mut Vec::new()),
                    Err(confusion) => {
                        assert!(self.server.has_timed_out, "the model keeps its order: {confusion}");
                        (self.is_confused, self.is_open) = (true, false);
                        rest = &[];
                        break;
                    }
                }
            }
            self.at = end;
            rest = &rest[header.frame_bytes()..];
        }
        assert!(rest.is_empty(), "the model sends whole messages");
        self.down.clear();
        let mut records = Vec::new();
        self.conversation.outcomes(Timestamp::UNIX_EPOCH, |batch| records.push(batch));
        records.iter().for_each(|batch| self.keep(batch));
    }

    /// The client says all it has to say, the server answers all of it, and the records are compared.
    fn finish(mut self) {
        if self.is_open && !self.client.is_wild {
            self.settle();
            // A COPY that is still open is given up; then all is answered.
            for last in [&b"f\0\0\0\x05\0"[..], b"S\0\0\0\x04", b"S\0\0\0\x04"] {
                self.here.extend(last);
                self.settle();
            }
            assert!(!self.is_open || self.conversation.is_quiet(), "something was never answered");
        } else {
            self.hear();
        }
        let mut records = Vec::new();
        self.conversation.end("over", Timestamp::UNIX_EPOCH, |batch| records.push(batch));
        records.iter().for_each(|batch| self.keep(batch));
        let is_whole = self.is_open && !self.client.is_wild;
        compare(&self.records, &self.server, is_whole, self.refuses);
    }

    fn settle(&mut self) {
        if !self.is_open {
            return;
        }
        for _ in 0..TURNS_MAX {
            let before = (self.here.len(), self.at);
            self.look(false);
            if !self.is_open {
                return;
            }
            let worked = self.server.step(1);
            while self.server.unanswered() > 1_000 {
                self.server.step(1);
            }
            self.hear();
            if !self.is_open {
                return;
            }
            let is_over = self.here.is_empty() && !worked;
            if is_over && !self.owes() {
                return;
            }
            let goes_on = worked || (self.here.len(), self.at) != before || !self.waits || self.owes();
            if !goes_on && self.server.has_timed_out {
                // The Query behind the Flush is skipped, and nobody knows. The relay ends such a session after a while.
                (self.is_confused, self.is_open) = (true, false);
                return;
            }
            assert!(goes_on, "{} waits for ever", String::from_utf8_lossy(&self.here));
        }
        panic!("it goes on for ever");
    }

    fn owes(&mut self) -> bool {
        let before = self.server.unanswered();
        self.send_owed_sync();
        self.server.unanswered() > before
    }
}

/// The length of all whole frames at the front.
fn frame_bytes(raw: &[u8]) -> usize {
    let mut rest = raw;
    while let Ok(Some((_, after))) = frame::split(rest) {
        rest = after;
    }
    raw.len() - rest.len()
}

/// The records against what ran.
fn compare(records: &[Value], server: &Server, is_whole: bool, refuses: bool) {
    let mut outcomes: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut seen = Vec::new();
    let mut last = 0;
    for record in records {
        let seq = record["seq"].as_u64().expect("a number");
        assert!(seq > last && (refuses || seq == last + 1), "record {seq} after {last}");
        last = seq;
        if record["kind"] == "outcome" {
            let of = record["of"].as_str().expect("an id");
            assert!(seen.contains(&of), "an outcome before its record: {record}");
            outcomes.entry(of).or_default().push(&record["outcome"]);
        } else if record["kind"] == "statement" {
            seen.push(record["id"].as_str().expect("an id"));
        }
    }
    let statements = records.iter().filter(|record| record["kind"] == "statement");
    let statements: Vec<&Value> = statements.filter(|record| record["statement"]["protocol"] != "copy").collect();
    let mut truths = server.truths.iter().peekable();
    for record in statements {
        let of = outcomes.remove(record["id"].as_str().expect("an id")).unwrap_or_default();
        assert!(matches!(of.len(), 1 | 2), "{} outcomes of {record}", of.len());
        if of.len() == 2 {
            let again = of[1]["result"].as_str().expect("a result");
            assert!(again == "error" || (!is_whole && again == "lost"), "{of:?}");
            assert_eq!(record["statement"]["protocol"], "execute", "{of:?}");
        }
        // The record of an Execute stands for the Bind of its portal, when that came with it.
        let is_told_by_execute = |truth: &&Truth| {
            truth.protocol == "bind"
                && record["statement"]["protocol"] == "execute"
                && truth.portal == portal_of(record)
        };
        let bind = truths.next_if(is_told_by_execute);
        if let Some(truth) = truths.next() {
            let is_bound = bind.is_some_and(|bind| bind.results != ["skipped"]);
            let mut right = if is_bound && truth.results == ["skipped"] { vec![] } else { vec![truth.results.clone()] };
            // What stands behind the Flush that the clock ran out at is told its error, since it may have been its own.
            if truth.results == ["skipped"] && (is_bound || server.has_timed_out) {
                right.push(vec!["error"]);
            }
            agree(record, of[0], truth, is_whole.then_some(&right));
        } else {
            assert!(!is_whole, "nothing ran of {record}");
        }
    }
    assert!(truths.next().is_none(), "something has no record");
    assert!(outcomes.is_empty());
}

/// The portal of a record, as the server compares names.
fn portal_of(record: &Value) -> Option<Vec<u8>> {
    let name = record["statement"]["portal"].as_str().unwrap_or_default().as_bytes();
    Some(name[..name.len().min(63)].to_vec())
}

/// `right`: what may be said of how it ended, when all is answered.
fn agree(record: &Value, outcome: &Value, truth: &Truth, right: Option<&Vec<Vec<&str>>>) {
    let statement = &record["statement"];
    let context = || format!("{record} {outcome} {truth:?}");
    assert_eq!(statement["protocol"], truth.protocol, "{}", context());
    let said: Vec<&str> = match outcome {
        Value::Array(all) => all.iter().filter_map(|one| one["result"].as_str()).collect(),
        one => one["result"].as_str().into_iter().collect(),
    };
    assert!(right.is_none_or(|right| right.contains(&said)), "{}", context());
    let Some(text) = &truth.text else { return };
    let ran = truth.results.iter().any(|result| ["ok", "suspended"].contains(result));
    match (truth.protocol, statement["text"].as_str()) {
        ("simple" | "parse", recorded) => assert_eq!(recorded, Some(text.as_str()), "{}", context()),
        (_, Some(recorded)) if ran && statement["resolution"] != "uncertain" => {
            assert_eq!(recorded, text, "{}", context());
        }
        (_, None) => assert!(!ran, "{}", context()),
        _ => {}
    }
}
