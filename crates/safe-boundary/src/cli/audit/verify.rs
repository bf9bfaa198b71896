//! `audit verify`: does the trail hold together?
//!
//! Promises: reads every byte of every segment and every blob that a record refers to; says which record and file
//! each finding is about; says what it cannot know.
//! Deliberately not here: repairing anything.

use std::collections::HashSet;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tlog::hash::Hash;

use super::escape::terminal;
use super::record::{OTHER_CONTENT, Record, Reference, open_blob, parse_hash};
use super::{Stop, ended};
use crate::cli::exit::{Exit, Failure};
use crate::trail::blob::blob_path;
use crate::trail::layout;
use crate::trail::read::{self, Entry, Error, Reader};

/// The end of a journal that is being written may be half a frame, for an instant.
pub(crate) const LOOKS: u32 = 10;
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Check the chain over all records, and every blob they refer to.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// The audit folder; by default the one of the configuration file.
    #[arg(id = "folder", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What an earlier run said about the head, kept outside this machine, as `RECORDS:CHAIN`: the trail must still
    /// begin with those records.
    #[arg(long, value_name = "RECORDS:CHAIN", value_parser = parse_head)]
    pub head: Option<ExpectedHead>,
}

/// A head that is known from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedHead {
    records: u64,
    chain: Hash,
}

fn parse_head(text: &str) -> Result<ExpectedHead, String> {
    let parts = text.split_once(':').and_then(|(records, chain)| Some((records.parse().ok()?, parse_hash(chain)?)));
    let (records, chain) = parts.ok_or("expected RECORDS:CHAIN as `audit verify` prints it")?;
    Ok(ExpectedHead { records, chain })
}

/// Verifies the trail in `dir`.
///
/// # Errors
/// When there is no journal, or it cannot be read.
pub fn run(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Failure> {
    ended(verify(dir, args, LOOKS, out))
}

/// As [`run`], for a journal that nobody writes: what is damaged is damaged at the first look.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_once(dir: &Path, args: &Args, out: &mut dyn Write) -> Result<Exit, Failure> {
    ended(verify(dir, args, 0, out))
}

struct Verification<'o> {
    dir: &'o Path,
    /// As they were listed last.
    segments: Arc<[u64]>,
    /// How often to look again at what seems damaged.
    looks: u32,
    out: &'o mut dyn Write,
    head: Option<ExpectedHead>,
    findings: u64,
    records: u64,
    blobs: HashSet<Reference>,
    /// Files that a record says were put aside.
    repaired: HashSet<String>,
}

fn verify(dir: &Path, args: &Args, looks: u32, out: &mut dyn Write) -> Result<Exit, Stop> {
    let segments: Arc<[u64]> = read::segments(dir)?.into();
    let Some(first) = segments.first().copied() else {
        return Err(Error::NoJournal { dir: dir.to_owned() }.into());
    };
    let (count, head) = (segments.len(), args.head);
    let (blobs, repaired) = (HashSet::new(), HashSet::new());
    let mut run = Verification { dir, segments, looks, out, head, findings: 0, records: 0, blobs, repaired };
    for name in names(dir) {
        if name.ends_with(".sbj") && layout::segment_first(&name).is_none() {
            run.finding(&format_args!("{name} in the folder of the journal has not the name of a segment"))?;
        }
    }
    let mut reader = match Reader::open(dir) {
        Ok(reader) => Some(reader),
        Err(error) => {
            let begin = if matches!(error, Error::Missing { .. }) { Some(first) } else { first.checked_add(1) };
            run.damage(error)?;
            run.next_segment(begin)?
        }
    };
    let mut head = None;
    while let Some(mut current) = reader.take() {
        run.head_is(0, Hash::default())?;
        let error = run.read(&mut current)?;
        head = Some(current.end());
        if let Some(error) = error {
            let segment = current.place().1;
            run.damage(error)?;
            head = None;
            reader = run.next_segment(segment.checked_add(1))?;
        }
    }
    run.conclude(count, head)
}

impl Verification<'_> {
    /// Reads to the end, or to an error that stays.
    fn read(&mut self, reader: &mut Reader) -> Result<Option<Error>, Stop> {
        loop {
            match steady(reader, self.looks) {
                Ok(Some(entry)) => self.entry(entry)?,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Stop> {
        self.records += 1;
        self.head_is(entry.index + 1, entry.chain)?;
        let record = Record::from(entry);
        if !record.is_object() {
            self.finding(&format_args!("record {}: it is not a JSON object", record.index))?;
        }
        if record.field("/journal/event") == "repaired" {
            self.repaired.insert(record.field("/journal/file"));
        }
        for blob in record.references() {
            let path = blob_path(self.dir, &blob.sha256);
            let io = |source| Error::Io { path: path.clone(), source };
            if !self.blobs.contains(&blob)
                && let Some(why) = blob_fault(self.dir, &blob).map_err(io)?
            {
                self.finding(&format_args!("record {}: its blob {} {why}", record.index, path.display()))?;
            }
            self.blobs.insert(blob);
        }
        Ok(())
    }

    fn head_is(&mut self, records: u64, chain: Hash) -> Result<(), Stop> {
        if self.head.is_some_and(|head| head.records == records)
            && self.head.take().is_some_and(|head| head.chain != chain)
        {
            let last = records.saturating_sub(1);
            self.finding(&format_args!("record {last}: the trail is not the one that had the head given with --head"))?;
        }
        Ok(())
    }

    /// The first segment from there on that can be opened, believing its header, so that all damage is found in one run.
    fn next_segment(&mut self, mut from: Option<u64>) -> Result<Option<Reader>, Stop> {
        let mut is_listed_anew = false;
        while let Some(begin) = from {
            let place = self.segments.partition_point(|first| *first < begin);
            let Some(first) = self.segments.get(place).copied() else {
                if is_listed_anew {
                    break;
                }
                // More may have come meanwhile.
                self.segments = read::segments(self.dir)?.into();
                is_listed_anew = true;
                continue;
            };
            match Reader::open_listed(self.dir, first, &self.segments) {
                Ok(reader) => return Ok(Some(reader)),
                Err(error) => self.damage(error)?,
            }
            from = first.checked_add(1);
        }
        Ok(None)
    }

    /// What is there and wrong is a finding. What the file system does not let read may be well.
    fn damage(&mut self, error: Error) -> Result<(), Stop> {
        match error {
            Error::Io { .. } => Err(error.into()),
            damage => self.finding(&damage),
        }
    }

    fn finding(&mut self, what: &dyn std::fmt::Display) -> Result<(), Stop> {
        self.findings += 1;
        // The folder may be a stranger's, and so may the names in it.
        Ok(writeln!(self.out, "finding: {}", terminal(&what.to_string()))?)
    }

    fn conclude(mut self, segments: usize, head: Option<(u64, Hash)>) -> Result<Exit, Stop> {
        if let Some(expected) = self.head {
            let wanted = expected.records;
            self.finding(&format_args!("the trail ends before record {wanted}, which the head given with --head had"))?;
        }
        let (records, blobs, findings) = (self.records, self.blobs.len(), self.findings);
        writeln!(self.out, "read {records} records in {segments} segments, and {blobs} blobs")?;
        for torn in names(self.dir).into_iter().filter(|name| name.starts_with("torn-")) {
            let path = layout::journal_dir(self.dir).join(&torn);
            let path = terminal(&path.display().to_string());
            // A crash right after it was put aside leaves one too; what is in it was never confirmed, or is no trail.
            let what = if self.repaired.contains(&torn) {
                "put aside at a start, with a record that says so"
            } else {
                "called as if put aside at a start, but no record says so"
            };
            writeln!(self.out, "{what}: {path}")?;
        }
        if findings > 0 {
            writeln!(self.out, "{findings} findings: the trail has been damaged or changed")?;
            return Ok(Exit::Findings);
        }
        if let Some((records, chain)) = head {
            writeln!(self.out, "the chain holds; head {records}:{chain}")?;
        }
        writeln!(
            self.out,
            "This shows that nothing was changed without computing the chain anew. Whoever can write to this folder\n\
             can do that, or cut off the end: keep heads outside this machine, and give one with --head."
        )?;
        Ok(Exit::Fine)
    }
}

/// The next record; an error only if it is still there after some time, where somebody may be writing. At the end, all
/// behind it must be zero.
fn steady(reader: &mut Reader, mut looks: u32) -> Result<Option<Entry>, Error> {
    loop {
        let next = match reader.next_entry() {
            Ok(None) => match reader.check_rest() {
                Ok(()) if !reader.has_more()? => return Ok(None),
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            other => other,
        };
        match next {
            Err(Error::Damaged { .. }) if looks > 0 => {
                if reader.is_last()? {
                    looks -= 1;
                    std::thread::sleep(BETWEEN_LOOKS);
                } else {
                    // It is at rest, but may have come to rest just now: one more look tells.
                    looks = 0;
                }
            }
            other => return other,
        }
    }
}

/// What is wrong with a blob.
fn blob_fault(dir: &Path, blob: &Reference) -> io::Result<Option<&'static str>> {
    let mut file = match open_blob(dir, blob)? {
        Ok(file) => file,
        Err(why) => return Ok(Some(why)),
    };
    let mut sha = Sha256::new();
    let mut block = vec![0; 256 << 10];
    loop {
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => sha.update(block.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((Hash(sha.finalize().into()) != blob.sha256).then_some(OTHER_CONTENT))
}

/// The names in the folder of the journal, sorted.
fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(layout::journal_dir(dir)).into_iter().flatten().flatten();
    let mut names: Vec<_> = names.map(|name| name.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
