//! `audit search`: who did what, where and when.
//!
//! Promises: a statement and its outcome come out together; words are sought in both, and in the blobs they refer
//! to. Memory is bounded, however long the trail is; what is shown without an outcome for want of it is counted.
//! Deliberately not here: an index; the trail is read through, from the first segment that can matter.

use std::collections::{HashMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::Path;

use domain::audit::record::Kind;
use uuid::Uuid;

use super::export::{csv_heading, csv_row};
use super::record::{Record, Written};
use super::when::{Range, Span};
use super::words::Words;
use super::{Stop, ended, escape};
use crate::cli::exit::{Exit, Failure};
use crate::trail::read::Entry;

/// How much waits at once, behind a statement whose outcome has not come. Beyond that the statement is shown without it, and
/// this is told: it may have an outcome further on. The newest, of which there may be `--limit`, have as many bytes.
const WAITING_MAX: Waiting = Waiting { records: 20_000, bytes: 64 << 20 };

/// Stands in the place of such an outcome.
const NOT_JOINED: &str = "(not joined)";

/// How many records a table shows unless told otherwise.
const TABLE_LIMIT: usize = 1000;

/// How many characters of a text a table shows.
const TEXT_CHARS: usize = 160;

/// Find records.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Words that must all occur in a record or its outcome, upper or lower case alike.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Only of this person, by login.
    #[arg(long, visible_alias = "login", value_name = "LOGIN")]
    pub person: Option<String>,
    /// Only in this database: as it was asked for, or as the configuration calls what served it.
    #[arg(long)]
    pub database: Option<String>,
    /// Only as this role.
    #[arg(long)]
    pub role: Option<String>,
    /// Only of this session, by its id.
    #[arg(long, value_name = "ID", value_parser = session_id)]
    pub session: Option<String>,
    /// Only of this kind.
    #[arg(long, value_parser = Kind::ALL.map(Kind::name))]
    pub kind: Option<String>,
    /// From when to when.
    #[command(flatten)]
    pub range: Range,
    /// How many records, the newest; 0 for all [default: 1000 in a table, else all].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One JSON object a line: `index`, `record` as it was written, and its `outcome`.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// A table for spreadsheets.
    #[arg(long)]
    pub csv: bool,
    /// Show whole texts in a table.
    #[arg(long)]
    pub wide: bool,
}

/// Searches the trail in `dir`.
///
/// # Errors
/// When there is no journal, or it cannot be read to its end.
pub fn run(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Failure> {
    ended(search(dir, args, WAITING_MAX, &mut BufWriter::new(out)))
}

/// An id as records have it, however it was typed.
fn session_id(text: &str) -> Result<String, uuid::Error> {
    Uuid::try_parse(text).map(|id| id.to_string())
}

/// How much waits, or is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// A record that fits but for the words, and what became of it.
struct Match {
    /// Its id, if it is a statement.
    id: String,
    record: Written,
    outcome: Option<Written>,
    /// A second outcome: what it did does not hold, or may not.
    again: Option<Written>,
    /// Whether an outcome may still come; of what is shown, whether it may stand further on.
    open: bool,
}

impl Match {
    fn bytes(&self) -> usize {
        let outcomes = self.outcome.iter().chain(&self.again);
        self.id.len() + self.record.raw.len() + outcomes.map(|outcome| outcome.raw.len()).sum::<usize>()
    }
}

struct Search<'a> {
    args: &'a Args,
    words: Words<'a>,
    limit: usize,
    waiting: VecDeque<Match>,
    waiting_bytes: usize,
    /// How many have left `waiting` at its front.
    passed: u64,
    /// Statements whose outcome has not come, by id: their place among all that were ever waiting.
    unresolved: HashMap<String, u64>,
    /// The newest matches, when there is a limit.
    newest: VecDeque<Match>,
    newest_bytes: usize,
    /// How much of each may be kept.
    max: Waiting,
    left_out: u64,
    /// How many statements did not wait for their outcomes.
    unjoined: u64,
    /// How wide the terminal is, if there is one.
    columns: Option<usize>,
    out: &'a mut dyn Write,
}

pub(super) fn search(dir: &Path, args: &Args, max: Waiting, out: &mut dyn Write) -> Result<Exit, Stop> {
    let span = args.range.span(crate::clock::now())?;
    let mut reader = span.reader(dir)?;
    let limit = args.limit.unwrap_or(if args.json || args.csv { 0 } else { TABLE_LIMIT });
    let mut run = Search {
        args,
        words: Words::new(dir, &args.words),
        limit,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        passed: 0,
        unresolved: HashMap::new(),
        newest: VecDeque::new(),
        newest_bytes: 0,
        max,
        left_out: 0,
        unjoined: 0,
        columns: escape::terminal_columns(),
        out,
    };
    run.heading()?;
    while let Some(entry) = reader.next_entry()? {
        run.consider(entry, &span)?;
        run.settle()?;
    }
    // There are no more outcomes.
    run.unresolved.clear();
    run.waiting.iter_mut().for_each(|found| found.open = false);
    run.settle()?;
    run.conclude()
}

impl Search<'_> {
    fn consider(&mut self, entry: Entry, span: &Span) -> Result<(), Stop> {
        let record = Record::from(entry);
        let kind = record.field("/kind");
        let is_joined = kind == "outcome" && self.args.kind.as_deref() != Some("outcome");
        if is_joined && record.field("/again") == "true" {
            self.revise(record, span);
        } else if is_joined {
            let of = record.field("/of");
            let place =
                self.unresolved.get(&of).and_then(|place| usize::try_from(place.checked_sub(self.passed)?).ok());
            if let Some(found) = place.and_then(|place| self.waiting.get_mut(place)) {
                // Also when it is suspended: what goes on with it is a statement of its own.
                found.open = false;
                self.unresolved.remove(&of);
                self.waiting_bytes -= found.bytes();
                found.outcome = Some(record.into());
                self.waiting_bytes += found.bytes();
            }
        } else if self.fits(&record, &kind) && span.contains(record.time()) {
            let open = kind == "statement";
            let id = if open { record.field("/id") } else { String::new() };
            if open {
                self.unresolved.insert(id.clone(), self.passed + self.waiting.len() as u64);
            }
            self.wait(Match { id, record: record.into(), outcome: None, again: None, open });
        }
        Ok(())
    }

    fn wait(&mut self, found: Match) {
        self.waiting_bytes += found.bytes();
        self.waiting.push_back(found);
    }

    /// A second outcome goes with its statement while that is at hand; of one that has been shown it has a row of its own.
    fn revise(&mut self, record: Record, span: &Span) {
        let of = record.field("/of");
        if let Some(found) = self.newest.iter_mut().rev().find(|found| found.id == of) {
            self.newest_bytes -= found.bytes();
            found.again = Some(record.into());
            self.newest_bytes += found.bytes();
        } else if let Some(found) = self.waiting.iter_mut().rev().find(|found| found.id == of) {
            self.waiting_bytes -= found.bytes();
            found.again = Some(record.into());
            self.waiting_bytes += found.bytes();
        } else if (self.limit == 0 || !self.words.is_empty())
            && self.fits(&record, "statement")
            && span.contains(record.time())
        {
            // With words, its statement may not have been taken for want of one that is in here.
            self.wait(Match { id: String::new(), record: record.into(), outcome: None, again: None, open: false });
        }
    }

    /// Lets those go that wait for nothing, and the oldest when too many wait.
    fn settle(&mut self) -> Result<(), Stop> {
        while self.waiting.len() > self.max.records
            || self.waiting_bytes > self.max.bytes
            || self.waiting.front().is_some_and(|found| !found.open)
        {
            let Some(found) = self.waiting.pop_front() else { break };
            self.passed += 1;
            self.waiting_bytes -= found.bytes();
            if found.open {
                self.unresolved.remove(&found.id);
                self.unjoined += 1;
            }
            self.keep(found)?;
        }
        Ok(())
    }

    fn fits(&self, record: &Record, kind: &str) -> bool {
        let is = |wanted: &Option<String>, pointer: &str| {
            wanted.as_ref().is_none_or(|wanted| record.field(pointer) == *wanted)
        };
        self.args.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && (is(&self.args.database, "/database") || is(&self.args.database, "/served"))
            && is(&self.args.role, "/role")
            && is(&self.args.session, "/session")
            && self.args.person.as_ref().is_none_or(|login| record.is_of(login))
    }

    /// Takes a match if the words are in it.
    fn keep(&mut self, found: Match) -> Result<(), Stop> {
        if !self.words.is_empty() {
            let record = Record::from(found.record.clone());
            // Nobody keeps which statements were shown.
            let is_told_always = self.limit == 0 && record.field("/again") == "true";
            let outcomes = found.outcome.iter().chain(&found.again).cloned().map(Record::from);
            let records: Vec<Record> = std::iter::once(record).chain(outcomes).collect();
            if !is_told_always && !self.words.are_in(&records) {
                return Ok(());
            }
        }
        if self.limit == 0 {
            return self.show(found);
        }
        self.newest_bytes += found.bytes();
        self.newest.push_back(found);
        while self.newest.len() > self.limit || (self.newest.len() > 1 && self.newest_bytes > self.max.bytes) {
            let Some(oldest) = self.newest.pop_front() else { break };
            self.newest_bytes -= oldest.bytes();
            self.left_out += 1;
        }
        Ok(())
    }

    fn heading(&mut self) -> Result<(), Stop> {
        if self.args.csv {
            return csv_heading(self.out, &["outcome", "outcome_duration_us"]);
        }
        if !self.args.json {
            let (time, person, database, role, kind, outcome) =
                ("TIME", "PERSON", "DATABASE", "ROLE", "KIND", "OUTCOME");
            writeln!(self.out, "{time:<20} {person:<24} {database:<12} {role:<14} {kind:<9} {outcome:<14} WHAT")?;
        }
        Ok(())
    }

    fn show(&mut self, found: Match) -> Result<(), Stop> {
        let (record, outcome) = (Record::from(found.record), found.outcome.map(Record::from));
        let again = found.again.map(Record::from);
        if self.args.json {
            write!(self.out, "{{\"index\":{},\"record\":", record.index)?;
            self.out.write_all(record.json())?;
            self.out.write_all(b",\"outcome\":")?;
            self.out.write_all(outcome.as_ref().map_or(b"null", Record::json))?;
            if let Some(again) = &again {
                self.out.write_all(b",\"again\":")?;
                self.out.write_all(again.json())?;
            }
            self.out.write_all(if found.open { b",\"joined\":false}\n" } else { b"}\n" })?;
            return Ok(());
        }
        let mut ended = outcome.as_ref().map(Record::outcome).unwrap_or_default();
        if found.open {
            ended.push_str(NOT_JOINED);
        }
        if let Some(again) = again {
            ended = format!("{ended}; then {}", again.outcome());
        } else if outcome.is_none() && record.field("/kind") == "outcome" {
            ended = record.own_outcome();
        }
        if self.args.csv {
            let duration = outcome.map(|outcome| outcome.field("/duration_us")).unwrap_or_default();
            return csv_row(self.out, &record, &[&ended, &duration]);
        }
        let chars_max = (!self.args.wide).then_some(TEXT_CHARS);
        writeln!(self.out, "{}", escape::in_lines(&line(&record, &ended, chars_max), self.columns))?;
        Ok(())
    }

    fn conclude(mut self) -> Result<Exit, Stop> {
        let is_short = self.newest.len() < self.limit;
        for found in std::mem::take(&mut self.newest) {
            self.show(found)?;
        }
        let is_table = !self.args.json && !self.args.csv;
        if self.left_out > 0 && is_table {
            writeln!(self.out, "({} earlier records match too; --limit 0 shows all)", self.left_out)?;
        } else if self.left_out > 0 && is_short {
            // Programs know their own limit, and not that of memory.
            tracing::warn!(
                "{} earlier records match too, fewer than asked for fit; --limit 0 shows all",
                self.left_out
            );
        }
        if self.unjoined > 0 {
            let what = "statements waited too long for their outcomes, which were not looked at; see --kind outcome";
            if is_table {
                writeln!(self.out, "({} {what})", self.unjoined)?;
            } else {
                tracing::warn!("{} {what}", self.unjoined);
            }
        }
        self.out.flush()?;
        Ok(Exit::Fine)
    }
}

/// One record on one line of a terminal.
pub(super) fn line(record: &Record, outcome: &str, chars_max: Option<usize>) -> String {
    let cell = |text: &str| escape::terminal(text);
    // That somebody is not proved shows behind the longest name.
    let person = record.person();
    let person = match person.strip_suffix('?') {
        Some(named) => format!("{}?", escape::name(named)),
        None => escape::name(&person),
    };
    let time = record.time().map(|time| format!("{time:.0}")).unwrap_or_default();
    let (mut database, role) = (escape::name(&record.field("/database")), escape::name(&record.field("/role")));
    let served = record.field("/served");
    if !served.is_empty() {
        // The same name may be served by several.
        database = format!("{database}@{}", escape::name(&served));
    }
    let what = escape::shortened(cell(&record.what()), chars_max);
    let outcome = escape::shortened(cell(outcome), chars_max);
    let line = format!(
        "{time:<20} {person:<24} {database:<12} {role:<14} {:<9} {outcome:<14} {what}",
        cell(&record.field("/kind")),
    );
    line.trim_end().to_owned()
}
