//! `audit search`: who did what, where and when.
//!
//! Promises: a statement and its outcome come out together; words are sought in both, and in the blobs they refer
//! to. Memory is bounded, however long the trail is.
//! Deliberately not here: an index; the trail is read through, from the first segment that can matter.

use std::collections::{HashMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::Path;

use super::export::{csv_heading, csv_row};
use super::record::Record;
use super::when::{Range, Span};
use super::{Stop, ended, escape};
use crate::cli::exit::{Exit, Failure};

/// How many statements wait for their outcomes at once; the outcome of one that ran for longer than so many others
/// took to come is not shown with it.
const WAITING_MAX: usize = 20_000;

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
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Only of this kind: login, connect, statement, outcome, denied, cancel, end, journal.
    #[arg(long)]
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
    ended(search(dir, args, &mut BufWriter::new(out)))
}

/// A record that fits but for the words, and what became of it.
struct Match {
    record: Record,
    outcome: Option<Record>,
    /// Whether an outcome may still come.
    open: bool,
}

struct Search<'a> {
    dir: &'a Path,
    args: &'a Args,
    words: Vec<String>,
    limit: usize,
    waiting: VecDeque<Match>,
    /// How many have left `waiting` at its front.
    passed: u64,
    /// Statements whose outcome has not come, by id: their place among all that were ever waiting.
    unresolved: HashMap<String, u64>,
    /// The newest matches, when there is a limit.
    newest: VecDeque<Match>,
    left_out: u64,
    out: &'a mut dyn Write,
}

fn search(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Stop> {
    let span = args.range.span(crate::clock::now());
    let mut reader = span.reader(dir)?;
    let limit = args.limit.unwrap_or(if args.json || args.csv { 0 } else { TABLE_LIMIT });
    let words = args.words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let (waiting, newest, unresolved) = (VecDeque::new(), VecDeque::new(), HashMap::new());
    let mut run = Search { dir, args, words, limit, waiting, passed: 0, unresolved, newest, left_out: 0, out };
    run.heading()?;
    while let Some(entry) = reader.next_entry()? {
        run.consider(Record::from(entry), &span)?;
    }
    while let Some(found) = run.waiting.pop_front() {
        run.keep(found)?;
    }
    run.conclude()
}

impl Search<'_> {
    fn consider(&mut self, record: Record, span: &Span) -> Result<(), Stop> {
        let kind = record.field("/kind");
        if kind == "outcome" && self.args.kind.as_deref() != Some("outcome") {
            let of = record.field("/of");
            let place =
                self.unresolved.get(&of).and_then(|place| usize::try_from(place.checked_sub(self.passed)?).ok());
            if let Some(found) = place.and_then(|place| self.waiting.get_mut(place)) {
                // A statement that was suspended has several; the last says how it ended.
                found.open = record.field("/outcome/result") == "suspended";
                if !found.open {
                    self.unresolved.remove(&of);
                }
                found.outcome = Some(record);
            }
        } else if self.fits(&record, &kind) && span.contains(record.time()) {
            let open = kind == "statement";
            if open {
                self.unresolved.insert(record.field("/id"), self.passed + self.waiting.len() as u64);
            }
            self.waiting.push_back(Match { record, outcome: None, open });
        }
        while self.waiting.len() > WAITING_MAX || self.waiting.front().is_some_and(|found| !found.open) {
            let Some(found) = self.waiting.pop_front() else { break };
            self.passed += 1;
            if found.open {
                self.unresolved.remove(&found.record.field("/id"));
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
        let mentions = |record: &Record, word: &str| record.mentions(self.dir, word);
        let all = self.words.iter().all(|word| {
            mentions(&found.record, word) || found.outcome.as_ref().is_some_and(|outcome| mentions(outcome, word))
        });
        if !all {
            return Ok(());
        }
        if self.limit == 0 {
            return self.show(&found);
        }
        self.newest.push_back(found);
        if self.newest.len() > self.limit {
            self.newest.pop_front();
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

    fn show(&mut self, found: &Match) -> Result<(), Stop> {
        let outcome = found.outcome.as_ref();
        if self.args.json {
            write!(self.out, "{{\"index\":{},\"record\":", found.record.index)?;
            self.out.write_all(found.record.json())?;
            self.out.write_all(b",\"outcome\":")?;
            self.out.write_all(outcome.map_or(b"null", Record::json))?;
            self.out.write_all(b"}\n")?;
            return Ok(());
        }
        let ended = outcome.map(Record::outcome).unwrap_or_default();
        if self.args.csv {
            let duration = outcome.map(|outcome| outcome.field("/duration_us")).unwrap_or_default();
            return csv_row(self.out, &found.record, &[&ended, &duration]);
        }
        let chars_max = (!self.args.wide).then_some(TEXT_CHARS);
        writeln!(self.out, "{}", line(&found.record, &ended, chars_max))?;
        Ok(())
    }

    fn conclude(mut self) -> Result<Exit, Stop> {
        for found in std::mem::take(&mut self.newest) {
            self.show(&found)?;
        }
        if self.left_out > 0 && !self.args.json && !self.args.csv {
            writeln!(self.out, "({} earlier records match too; --limit 0 shows all)", self.left_out)?;
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
    let (database, role) = (escape::name(&record.field("/database")), escape::name(&record.field("/role")));
    let what = escape::shortened(cell(&record.what()), chars_max);
    let outcome = escape::shortened(cell(outcome), chars_max);
    let line = format!(
        "{time:<20} {person:<24} {database:<12} {role:<14} {:<9} {outcome:<14} {what}",
        cell(&record.field("/kind")),
    );
    line.trim_end().to_owned()
}
