//! `audit export`: all records, out of the trail.
//!
//! Promises: streams in constant memory; JSON lines are the records byte for byte; in CSV every record is one row of
//! the same columns.
//! Deliberately not here: sending them anywhere.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::record::Record;
use super::when::Range;
use super::{Stop, ended, escape};
use crate::cli::exit::{Exit, Failure};

/// Write all records out.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How to write them.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// From when to when.
    #[command(flatten)]
    pub range: Range,
}

/// How records are written out.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line: the records exactly as they are hashed.
    Json,
    /// A table for spreadsheets.
    Csv,
}

/// The columns of a CSV table: a name, and where the value stands in a record.
const COLUMNS: [(&str, &str); 32] = [
    ("time", "/time"),
    ("node", "/node"),
    ("kind", "/kind"),
    ("id", "/id"),
    ("session", "/session"),
    ("seq", "/seq"),
    ("login", "/subject/login"),
    ("issuer", "/subject/iss"),
    ("subject", "/subject/sub"),
    ("proof", "/proof"),
    ("database", "/database"),
    ("role", "/role"),
    ("address", "/client/address"),
    ("program", "/client/program"),
    ("named_login", "/client/login"),
    ("protocol", "/statement/protocol"),
    ("resolution", "/statement/resolution"),
    ("params", "/statement/params"),
    ("prepared", "/statement/prepared"),
    ("forwarded", "/statement/forwarded"),
    ("sha256", "/statement/sha256"),
    ("effect", "/decision/effect"),
    ("rules", "/decision/rules"),
    ("decision_reason", "/decision/reason"),
    ("of", "/of"),
    ("duration_us", "/duration_us"),
    ("result_bytes", "/bytes"),
    ("end_reason", "/reason"),
    ("journal", "/journal"),
    ("request", "/request"),
    ("served", "/served"),
    ("again", "/again"),
];

/// Writes out the records of the trail in `dir`.
///
/// # Errors
/// When there is no journal, or it cannot be read to its end.
pub fn run(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Failure> {
    ended(export(dir, args, &mut BufWriter::new(out)))
}

fn export(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Stop> {
    let span = args.range.span(crate::clock::now())?;
    let mut reader = span.reader(dir)?;
    if args.format == Format::Csv {
        csv_heading(out, &["outcome"])?;
    }
    while let Some(entry) = reader.next_entry()? {
        let record = Record::from(entry);
        if !span.contains(record.time()) {
            continue;
        }
        match args.format {
            Format::Json => {
                out.write_all(&record.raw)?;
                out.write_all(b"\n")?;
            }
            Format::Csv => csv_row(out, &record, &[&record.outcome()])?,
        }
    }
    out.flush()?;
    Ok(Exit::Fine)
}

/// The names of the columns, and of further ones.
pub(super) fn csv_heading(out: &mut dyn Write, further: &[&str]) -> Result<(), Stop> {
    write!(out, "index,text")?;
    for name in COLUMNS.iter().map(|(name, _)| name).chain(further) {
        write!(out, ",{name}")?;
    }
    Ok(out.write_all(b"\r\n")?)
}

/// One record as a row, and further cells.
pub(super) fn csv_row(out: &mut dyn Write, record: &Record, further: &[&str]) -> Result<(), Stop> {
    write!(out, "{},{}", record.index, escape::csv(&record.text()))?;
    for (_, pointer) in COLUMNS {
        write!(out, ",{}", escape::csv(&record.field(pointer)))?;
    }
    for cell in further {
        write!(out, ",{}", escape::csv(cell))?;
    }
    Ok(out.write_all(b"\r\n")?)
}
