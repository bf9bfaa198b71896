//! A model of PostgreSQL's side, as far as names, portals, transactions, COPY and the skip to Sync go.
//!
//! Promises: one message after the other, answers kept back until a Flush, a Sync or an error, as `postgres.c` does.
//! Deliberately not here: SQL; the texts of `client` are known by their first words, and chance decides what fails.

mod effects;
mod truth;

use std::collections::HashMap;

use pgproto::backend::{TransactionStatus, encode};
use pgproto::frame;
use pgproto::frontend::{Bind, Close, Describe, Execute, Parse, Query, Target};
use pgproto::notice::{Notice, Severity};
use pgproto::sqlstate::SqlState;

use effects::{ends_transaction, is_ours};
pub(super) use truth::Truth;

#[derive(Clone, Debug)]
struct Portal {
    text: String,
    is_done: bool,
    /// Made by DECLARE.
    is_cursor: bool,
    hold: bool,
    /// Made in the transaction that runs.
    is_new: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Ready,
    /// After an error, up to the Sync.
    Skips,
    /// A COPY of a Query: what follows it in the text; or of an Execute.
    Copies(Option<Vec<String>>),
}

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    received: Vec<u8>,
    taken: usize,
    frames: usize,
    kept_back: Vec<u8>,
    sent: Vec<u8>,
    statements: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, Portal>,
    status: TransactionStatus,
    mode: Mode,
    /// Something of the extended protocol runs against the clock since the last Sync.
    is_timed: bool,
    /// The clock ran out when a Flush was read: then nobody can tell from an error what it is of.
    pub(super) has_timed_out: bool,
    pub(super) truths: Vec<Truth>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            received: Vec::new(),
            taken: 0,
            frames: 0,
            kept_back: Vec::new(),
            sent: Vec::new(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            status: TransactionStatus::Idle,
            mode: Mode::Ready,
            is_timed: false,
            has_timed_out: false,
            truths: Vec::new(),
        }
    }
}

fn key(name: &[u8]) -> Vec<u8> {
    name[..name.len().min(63)].to_vec()
}

type Ran = Result<&'static [u8], ()>;

impl Server {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Ok(Some((_, after))) = frame::split(rest) {
            self.frames += 1;
            rest = after;
        }
        self.received.extend(bytes);
    }

    /// How many messages it has not looked at.
    pub(super) fn unanswered(&self) -> usize {
        self.frames
    }

    pub(super) fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// Works on the next message; whether there was one.
    pub(super) fn step(&mut self, chance: u8) -> bool {
        let Ok(Some((frame, _))) = frame::split(&self.received[self.taken..]) else { return false };
        self.taken += frame.raw().len();
        self.frames -= 1;
        super::tell(&format!("{:?} {chance} works on", self.status), frame.raw());
        let (tag, body) = (frame.tag(), &*frame.body().to_vec());
        match std::mem::take(&mut self.mode) {
            Mode::Copies(rest) => self.copy(tag, rest, chance),
            Mode::Skips if tag != b'S' => {
                self.mode = Mode::Skips;
                self.skipped(tag, body);
            }
            Mode::Skips | Mode::Ready => self.message(tag, body, chance),
        }
        true
    }

    fn message(&mut self, tag: u8, body: &[u8], chance: u8) {
        let fails = chance.is_multiple_of(8);
        let was_timed = std::mem::replace(&mut self.is_timed, matches!(tag, b'P' | b'B' | b'D' | b'E'));
        self.is_timed |= was_timed && matches!(tag, b'C' | b'H');
        match tag {
            b'Q' => self.query(Query::parse(body).unwrap().text, chance),
            b'P' => self.parse(&Parse::parse(body).unwrap(), fails),
            b'B' => self.bind(&Bind::parse(body).unwrap(), fails),
            b'E' => self.execute(Execute::parse(body).unwrap(), chance),
            b'D' => self.describe(Describe::parse(body).unwrap().target),
            b'C' => {
                match Close::parse(body).unwrap().target {
                    Target::Statement(name) => drop(self.statements.remove(&key(name))),
                    Target::Portal(name) => drop(self.portals.remove(&key(name))),
                }
                self.say(b'3', b"");
            }
            b'F' => self.function(fails),
            b'S' => self.sync(fails && chance.is_multiple_of(32)),
            b'H' if was_timed && chance.is_multiple_of(16) => {
                self.has_timed_out = true;
                self.fail(SqlState::QUERY_CANCELED, true);
            }
            b'H' => self.flush(),
            // COPY messages outside of a COPY are ignored; so is what comes after a goodbye.
            b'd' | b'c' | b'f' | b'X' => {}
            other => panic!("a tag {other:#x} went up"),
        }
    }

    fn say(&mut self, tag: u8, body: &[u8]) {
        self.kept_back.push(tag);
        self.kept_back.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        self.kept_back.extend(body);
    }

    fn flush(&mut self) {
        self.sent.append(&mut self.kept_back);
    }

    fn ready(&mut self) {
        encode::ready_for_query(&mut self.kept_back, self.status);
        self.flush();
    }

    /// The error that ends what runs, and what it does to the transaction.
    fn error(&mut self, extended: bool) {
        self.fail(SqlState::SYNTAX_ERROR, extended);
    }

    fn fail(&mut self, code: SqlState, extended: bool) {
        self.is_timed = false;
        Notice::new(Severity::Error, code, "no").encode(&mut self.kept_back);
        self.flush();
        self.abort();
        if extended {
            self.mode = Mode::Skips;
        }
    }

    fn query(&mut self, text: &[u8], chance: u8) {
        self.statements.remove(&b""[..]);
        if is_ours(text) {
            self.error(false);
            return self.ready();
        }
        let text = String::from_utf8(text.to_vec()).unwrap();
        self.truth("simple", Some(&text), Vec::new());
        if chance.is_multiple_of(32) {
            // A mistake of grammar: nothing runs.
            self.result("error");
            self.error(false);
            return self.ready();
        }
        let texts: Vec<String> = text.split(';').map(str::to_owned).filter(|text| !text.is_empty()).collect();
        if texts.is_empty() {
            self.say(b'I', b"");
            self.result("ok");
            // The transaction ends all the same.
            return self.end_of_query();
        }
        self.texts(texts, chance);
    }

    fn texts(&mut self, texts: Vec<String>, chance: u8) {
        let many = texts.len();
        let mut texts = texts.into_iter();
        let mut at = 0;
        while let Some(text) = texts.next() {
            at += 1;
            self.portals.remove(&b""[..]);
            let fails = chance.rotate_left(at).is_multiple_of(8);
            if text.starts_with("copy ") && self.status != TransactionStatus::Failed && !fails {
                self.say(b'G', &[0, 0, 0]);
                self.flush();
                self.mode = Mode::Copies(Some(texts.collect()));
                return;
            }
            match self.run(&text, None, fails, many == 1) {
                Ok(tag) => {
                    encode::command_complete(&mut self.kept_back, tag).unwrap();
                    self.result("ok");
                }
                Err(()) => {
                    self.result("error");
                    self.error(false);
                    return self.ready();
                }
            }
        }
        self.end_of_query();
    }

    fn end_of_query(&mut self) {
        if self.status == TransactionStatus::Idle {
            self.commit();
        }
        self.ready();
    }

    fn copy(&mut self, tag: u8, rest: Option<Vec<String>>, chance: u8) {
        match tag {
            b'd' | b'H' | b'S' => self.mode = Mode::Copies(rest),
            b'c' if !chance.is_multiple_of(8) => {
                encode::command_complete(&mut self.kept_back, b"COPY 1").unwrap();
                self.result("ok");
                match rest {
                    Some(rest) if !rest.is_empty() => self.texts(rest, chance),
                    Some(_) => self.end_of_query(),
                    None => {}
                }
            }
            b'c' | b'f' => {
                self.result("error");
                let extended = rest.is_none();
                self.error(extended);
                if !extended {
                    self.ready();
                }
            }
            other => panic!("a tag {other:#x} went up during a COPY"),
        }
    }

    fn parse(&mut self, parse: &Parse<'_>, fails: bool) {
        let text = String::from_utf8(parse.text.to_vec()).unwrap();
        let name = key(parse.name);
        if name.is_empty() {
            self.statements.remove(&name);
        }
        if is_ours(parse.text) {
            return self.error(true);
        }
        let clashes = self.statements.contains_key(&name);
        if fails || clashes || (self.status == TransactionStatus::Failed && !ends_transaction(&text)) {
            self.truth("parse", Some(&text), vec!["error"]);
            return self.error(true);
        }
        self.truth("parse", Some(&text), vec!["ok"]);
        self.statements.insert(name, text);
        self.say(b'1', b"");
    }

    fn bind(&mut self, bind: &Bind<'_>, fails: bool) {
        let text = self.statements.get(&key(bind.statement)).cloned();
        self.truth_of("bind", bind.portal, text.as_deref(), vec!["error"]);
        let Some(text) = text else { return self.error(true) };
        let name = key(bind.portal);
        if self.status == TransactionStatus::Failed && !ends_transaction(&text) {
            return self.error(true);
        }
        if name.is_empty() {
            self.portals.remove(&name);
        }
        if fails || self.portals.contains_key(&name) {
            return self.error(true);
        }
        self.truths.last_mut().unwrap().results = vec!["ok"];
        self.portals.insert(name, Portal { text, is_done: false, is_cursor: false, hold: false, is_new: true });
        self.say(b'2', b"");
    }

    fn execute(&mut self, execute: Execute<'_>, chance: u8) {
        let name = key(execute.portal);
        let Some(portal) = self.portals.get(&name).cloned() else {
            self.truth_of("execute", &name, None, vec!["error"]);
            return self.error(true);
        };
        let text = portal.text;
        let (is_cursor, is_select) = (portal.is_cursor, text.starts_with("select") || portal.is_cursor);
        let is_failed = self.status == TransactionStatus::Failed && (is_cursor || !ends_transaction(&text));
        if chance.is_multiple_of(8) || is_failed || (portal.is_done && !is_select && !text.is_empty()) {
            self.truth_of("execute", &name, Some(&text), vec!["error"]);
            return self.error(true);
        }
        if text.is_empty() {
            self.truth_of("execute", &name, Some(&text), vec!["ok"]);
            return self.say(b'I', b"");
        }
        if is_select && execute.max_rows > 0 && chance.is_multiple_of(2) {
            self.truth_of("execute", &name, Some(&text), vec!["suspended"]);
            return self.say(b's', b"");
        }
        if text.starts_with("copy ") && !is_cursor {
            self.truth_of("execute", &name, Some(&text), Vec::new());
            self.say(b'G', &[0, 0, 0]);
            self.flush();
            self.portals.entry(name).and_modify(|portal| portal.is_done = true);
            self.mode = Mode::Copies(None);
            return;
        }
        match if is_cursor { Ok(&b"SELECT 1"[..]) } else { self.run(&text, Some(&name), false, true) } {
            Ok(tag) => {
                self.truth_of("execute", &name, Some(&text), vec!["ok"]);
                encode::command_complete(&mut self.kept_back, tag).unwrap();
                self.portals.entry(name).and_modify(|portal| portal.is_done = true);
            }
            Err(()) => {
                self.truth_of("execute", &name, Some(&text), vec!["error"]);
                self.error(true);
            }
        }
    }

    fn describe(&mut self, target: Target<'_>) {
        let is_there = match target {
            Target::Statement(name) => self.statements.contains_key(&key(name)),
            Target::Portal(name) => self.portals.contains_key(&key(name)),
        };
        if !is_there || self.status == TransactionStatus::Failed {
            return self.error(true);
        }
        if matches!(target, Target::Statement(_)) {
            self.say(b't', &[0, 0]);
        }
        self.say(b'n', b"");
    }

    fn function(&mut self, fails: bool) {
        let fails = fails || self.status == TransactionStatus::Failed;
        self.truth("function", None, vec![if fails { "error" } else { "ok" }]);
        if fails {
            self.error(false);
        } else {
            self.say(b'V', &[0, 0, 0, 0]);
        }
        self.end_of_query();
    }

    fn sync(&mut self, fails: bool) {
        if self.status == TransactionStatus::Idle {
            if fails {
                self.error(false);
            }
            self.commit();
        }
        self.ready();
    }
}
