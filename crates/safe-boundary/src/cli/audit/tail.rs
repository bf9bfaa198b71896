//! `audit tail`: the newest records, and those that come.
//!
//! Promises: shows each record soon after it was written, in order, once; ends when nobody reads its output.
//! Deliberately not here: joining outcomes to statements; a line that was shown cannot be taken back.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::escape;
use super::record::Record;
use super::search::line;
use super::{Stop, ended};
use crate::cli::exit::{Exit, Failure};
use crate::trail::read::{self, Entry, Error, Reader};

/// How often to look for new records.
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How long the end of the journal may look like half a frame, as it does while one is being written.
const HALF_WRITTEN_MAX: Duration = Duration::from_secs(2);

/// How many characters of a text are shown.
const TEXT_CHARS: usize = 400;

/// Show the newest records.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How many to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: u64,
    /// The records as they were written, one a line.
    #[arg(long)]
    pub json: bool,
    /// End with the newest record instead of waiting for more.
    #[arg(long)]
    pub no_follow: bool,
}

/// Shows the trail in `dir` as it grows, until nobody reads `out`.
///
/// # Errors
/// When there is no journal, or it cannot be read any further.
pub fn run(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Failure> {
    ended(tail(dir, args, out))
}

fn tail(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Stop> {
    let mut reader = begin(dir, args.lines)?;
    let mut damaged_since: Option<Instant> = None;
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                damaged_since = None;
                show(entry, args, out)?;
            }
            Ok(None) if args.no_follow => break,
            Ok(None) => wait(out)?,
            Err(error @ Error::Damaged { .. }) => {
                if damaged_since.get_or_insert_with(Instant::now).elapsed() > HALF_WRITTEN_MAX {
                    return Err(error.into());
                }
                wait(out)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    out.flush()?;
    Ok(Exit::Fine)
}

/// A reader of the last so many records.
fn begin(dir: &Path, lines: u64) -> Result<Reader, Error> {
    match begin_in(dir, lines, &read::segments(dir)?) {
        // A listing that was made while segments came may have a later one, and not the one before it.
        Err(Error::Missing { .. }) => begin_in(dir, lines, &read::segments(dir)?),
        begun => begun,
    }
}

/// As [`begin`], of segments that have been listed.
fn begin_in(dir: &Path, lines: u64, segments: &[u64]) -> Result<Reader, Error> {
    let last = *segments.last().ok_or_else(|| Error::NoJournal { dir: dir.to_owned() })?;
    for (first, next) in segments.iter().zip(segments.iter().skip(1)) {
        // What else is wrong with records that are not shown is for `verify` to report.
        if let Err(error @ Error::Overlap { .. }) = read::check_join(dir, *first, *next) {
            return Err(error);
        }
    }
    let mut reader = Reader::open_segment(dir, last)?;
    // Half a frame at the end is not counted; it is among those that come.
    while let Ok(Some(_)) = reader.next_entry() {}
    let first = reader.end().0.saturating_sub(lines);
    let segment = segments.iter().copied().rfind(|segment| *segment <= first).unwrap_or(last);
    // Those behind it are held against it while they are read; what is believed is that it belongs here itself.
    if let Some(before) = segments.iter().rfind(|before| **before < segment) {
        read::check_join(dir, *before, segment)?;
    }
    let mut reader = Reader::open_segment(dir, segment)?;
    reader.skip_to(first)?;
    Ok(reader)
}

fn show(entry: Entry, args: &Args, out: &mut dyn Write) -> Result<(), Stop> {
    if args.json {
        out.write_all(&entry.bytes)?;
        return Ok(out.write_all(b"\n")?);
    }
    let record = Record::from(entry);
    let row = line(&record, &record.own_outcome(), Some(TEXT_CHARS));
    // Asked each time: terminals are made wider and narrower while this runs.
    Ok(writeln!(out, "{}", escape::in_lines(&row, escape::terminal_columns()))?)
}

/// Waits a little, and notices when the reader of our output has gone.
fn wait(out: &mut dyn Write) -> Result<(), Stop> {
    out.flush()?;
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut watched, Some(&INTERVAL)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
        Ok(_) => Err(Stop::Closed),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
