//! Finding the end of the journal at start, and putting a torn tail aside.
//!
//! Promises: what is dropped was never durable as far as anyone was told; what was durable and is gone is an error.
//! What is kept is written and synced again, for after a failed sync memory may hold what the disk does not.
//! Deliberately not here: reading the segments before the last, but for where the one before it ends; each was durable
//! before the next had a name, and `audit verify` reads them all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tlog::hash::Hash;

use super::direct::Direct;
use super::segment::{Segment, spare_path, zero};
use super::{Error, Options, Torn};
use crate::trail::disk::{BLOCK_BYTES, Disk, DiskFile};
use crate::trail::layout;
use crate::trail::read::{self, Reader};

/// No segment is longer behind its last whole frame: a frame says its length in 32 bits, and most segments are shorter.
const BEHIND_BYTES_MAX: u64 = 5 << 30;

/// Where the journal goes on.
#[derive(Debug)]
pub(super) struct Tail {
    /// None in an empty journal.
    pub(super) segment: Option<Segment>,
    pub(super) index: u64,
    pub(super) chain: Hash,
    /// The last epoch that wrote.
    pub(super) epoch: u64,
    pub(super) torn: Option<Torn>,
}

/// Finds the end, and makes it one that can be continued.
pub(super) fn recover(dir: &Path, options: &Options) -> Result<Tail, Error> {
    let io = |source| Error::Io { dir: dir.to_owned(), source };
    let spare = spare_path(dir);
    if spare.exists() {
        options.disk.remove(&spare).map_err(io)?;
    }
    let Some(mut reader) = last_segment(dir)? else {
        return Ok(Tail { segment: None, index: 0, chain: Hash::default(), epoch: 0, torn: None });
    };
    let torn = is_torn(&mut reader)?;
    let (index, chain) = reader.end();
    let (path, first, offset) = reader.place();
    let file = File::open(path).map_err(io)?;
    let mut to = options.disk.open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length - offset.min(length) > BEHIND_BYTES_MAX {
        // What may stand there would be read, and put aside, for hours.
        let why = "the file goes on for longer than a segment can";
        return Err(read::Error::Damaged { path: path.to_owned(), offset, index, why }.into());
    }
    let mut bytes = length.max(options.segment_bytes);
    let torn = if torn {
        let end = reader.rest_end()?;
        bytes = bytes.max(end);
        // A crash here, or anywhere before the last sync below, leaves the tail torn, and it is put aside once more.
        let kept = put_aside(dir, &*options.disk, &file, index, offset..end).map_err(io)?;
        zero(&mut *to, offset, end).map_err(io)?;
        Some(Torn { index, bytes: end - offset, file: kept })
    } else {
        None
    };
    copy(&file, 0..offset.min(length), &mut *to, 0).map_err(io)?;
    zero(&mut *to, length, bytes).map_err(io)?;
    to.sync().map_err(io)?;
    options.disk.sync_folder(&layout::journal_dir(dir)).map_err(io)?;
    let within = offset % BLOCK_BYTES as u64;
    let mut before = vec![0; usize::try_from(within).unwrap_or(0)];
    file.read_exact_at(&mut before, offset - within).map_err(io)?;
    let direct = options.disk.open_durable(path).map(Direct::new);
    let segment = Segment { file: to, direct, before, first, offset, bytes, dirty: 0, is_scrub_unsynced: false };
    Ok(Tail { segment: Some(segment), index, chain, epoch: reader.epoch(), torn })
}

/// Whether what is there can be continued, as far as reading tells; changes nothing.
pub(super) fn examine(dir: &Path) -> Result<(), Error> {
    match last_segment(dir)? {
        Some(mut reader) => is_torn(&mut reader).map(|_is_put_aside_at_a_start| ()),
        None => Ok(()),
    }
}

/// The last segment, at its beginning; none in an empty journal.
fn last_segment(dir: &Path) -> Result<Option<Reader>, Error> {
    let segments = read::segments(dir)?;
    let Some(last) = segments.last().copied() else { return Ok(None) };
    let reader = Reader::open_segment(dir, last)?;
    // INVARIANT: a segment has its name only when all before it is durable, and nothing else stands behind that. So no crash
    // breaks this join; going on behind one that is broken would make somebody else's file the trail.
    if let Some(previous) = segments.iter().rev().nth(1) {
        read::check_join(dir, *previous, last)?;
    }
    Ok(Some(reader))
}

/// Reads to the last whole frame. True when something stands behind it that may be dropped.
fn is_torn(reader: &mut Reader) -> Result<bool, Error> {
    loop {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => match reader.check_rest() {
                Ok(()) => return Ok(false),
                Err(read::Error::Damaged { .. }) => break,
                Err(error) => return Err(error.into()),
            },
            Err(read::Error::Damaged { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    // INVARIANT: frames are written one after the other, but several may be on their way to the disk at once, and
    // arrive in any order: notes are not synced. What has arrived behind a hole proves nothing, unless it says that
    // the hole had been durable when it was written; then the hole is damage, and nobody may paper over it.
    let (index, _) = reader.end();
    let (path, _, offset) = reader.place();
    let mut from = offset;
    while let Some((proof, header)) = reader.header_after(from)? {
        if header.durable > index {
            return Err(Error::Hole { path: path.to_owned(), offset, index, proof });
        }
        from = proof + layout::ALIGNMENT;
    }
    Ok(true)
}

fn put_aside(dir: &Path, disk: &dyn Disk, from: &File, index: u64, range: std::ops::Range<u64>) -> io::Result<PathBuf> {
    let folder = layout::journal_dir(dir);
    let free = (0_u32..).map(|n| folder.join(format!("torn-{index:020}-{n}"))).find(|path| !path.exists());
    let path = free.ok_or_else(|| io::Error::other("too many torn tails"))?;
    let mut to = disk.create(&path)?;
    copy(from, range, &mut *to, 0)?;
    to.sync()?;
    disk.sync_folder(&folder)?;
    Ok(path)
}

/// Copies a range of one file to `at` in another.
fn copy(from: &File, range: std::ops::Range<u64>, to: &mut dyn DiskFile, at: u64) -> io::Result<()> {
    let mut block = vec![0; 256 << 10];
    let mut offset = range.start;
    while offset < range.end {
        let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(block.len());
        let part = block.get_mut(..left).unwrap_or_default();
        from.read_exact_at(part, offset)?;
        to.write_at(part, at + (offset - range.start))?;
        offset += part.len() as u64;
    }
    Ok(())
}
