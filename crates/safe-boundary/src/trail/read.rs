//! Reading the trail, also while it is being written.
//!
//! Promises: an [`Entry`] that comes out stands in the chain, at the index it says; whatever does not is an error
//! with file, offset and index. Memory is bounded by the largest frame.
//! Deliberately not here: what a record says, and whether the chain is the one that was written: without an
//! anchor outside, nobody can know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::hash::{self, Hash};

use super::layout::{self, FrameHeader, SegmentHeader};
use segment::{Found, Segment};

pub use error::Error;
pub(crate) use segment::open_file;

mod error;
mod segment;

/// One record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// Its JSON, byte for byte.
    pub bytes: Vec<u8>,
    /// The chain over all records up to this one.
    pub chain: Hash,
}

/// Reads records in order.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    segment: Segment,
    /// Where the next frame begins.
    offset: u64,
    /// The index of the next record that is read from the file.
    index: u64,
    chain: Hash,
    epoch: u64,
    ready: Ready,
    /// The segments, as they were listed last.
    listed: Arc<[u64]>,
}

/// Records of the frame that was read last, which are not yet handed out.
#[derive(Debug, Default)]
struct Ready {
    payload: Vec<u8>,
    /// Where the next of them begins.
    at: usize,
    /// Its index.
    index: u64,
    /// The chain over all records before it.
    chain: Hash,
}

impl Iterator for Ready {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (entry, rest) = layout::entry(self.payload.get(self.at..)?)?;
        self.chain = hash::chain(&self.chain, &hash::leaf(entry));
        let entry = Entry { index: self.index, bytes: entry.to_vec(), chain: self.chain };
        self.at = self.payload.len() - rest.len();
        self.index += 1;
        Some(entry)
    }
}

/// The first records of all segments, ascending.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments(dir: &Path) -> Result<Vec<u64>, Error> {
    let folder = layout::journal_dir(dir);
    let mut firsts = Vec::new();
    let names = match std::fs::read_dir(&folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(firsts),
        Err(source) => return Err(Error::Io { path: folder, source }),
    };
    for name in names {
        let name = name.map_err(|source| Error::Io { path: folder.clone(), source })?;
        firsts.extend(name.file_name().to_str().and_then(layout::segment_first));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// What a segment must continue.
struct Before {
    index: u64,
    chain: Hash,
    epoch: u64,
}

impl Before {
    fn open(&self, dir: &Path, next: u64) -> Result<(Segment, SegmentHeader), Error> {
        let (path, index) = (layout::segment_path(dir, next), self.index);
        if next > index {
            return Err(Error::Missing { path: layout::segment_path(dir, index), index, next });
        }
        if next < index {
            return Err(Error::Overlap { path, first: next, index });
        }
        let (segment, header) = Segment::open(dir, next)?;
        if header.chain != self.chain || header.epoch < self.epoch {
            let why = "it holds another chain than the segment before it";
            return Err(Error::Header { path, index, why });
        }
        Ok((segment, header))
    }
}

/// Whether the segment `first` ends where the one listed behind it begins, as far as their headers say. For who does not
/// read all segments: one that somebody has put among them is not begun with.
///
/// # Errors
/// When it does not, or cannot be read.
pub fn check_join(dir: &Path, first: u64, next: u64) -> Result<(), Error> {
    let (segment, header) = Segment::open(dir, first)?;
    let mut before = Before { index: header.first, chain: header.chain, epoch: header.epoch };
    if let Some(last) = segment.last_header()? {
        let index = last.first.saturating_add(u64::from(last.count));
        before = Before { index, chain: last.chain, epoch: last.epoch };
    }
    before.open(dir, next).map(drop)
}

impl Reader {
    /// Reads from the first record on.
    ///
    /// # Errors
    /// When there is no journal, or its first segment does not begin with record 0.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let listed: Arc<[u64]> = segments(dir)?.into();
        let first = listed.first().copied().ok_or_else(|| Error::NoJournal { dir: dir.to_owned() })?;
        if first != 0 {
            return Err(Error::Missing { path: layout::segment_path(dir, 0), index: 0, next: first });
        }
        let reader = Self::open_listed(dir, first, &listed)?;
        if reader.chain != Hash::default() {
            let why = "the first segment begins with a chain that is not empty";
            return Err(Error::Header { path: reader.segment.path, index: 0, why });
        }
        Ok(reader)
    }

    /// Reads from the first record of a segment on, believing that segment's header for what came before.
    ///
    /// # Errors
    /// When the segment is not there, or its header is damaged.
    pub fn open_segment(dir: &Path, first: u64) -> Result<Self, Error> {
        Self::open_listed(dir, first, &Arc::default())
    }

    /// As [`Reader::open_segment`], of segments that have been listed already: with many of them that is slow.
    ///
    /// # Errors
    /// As [`Reader::open_segment`].
    pub fn open_listed(dir: &Path, first: u64, listed: &Arc<[u64]>) -> Result<Self, Error> {
        let (segment, header) = Segment::open(dir, first)?;
        Ok(Self {
            dir: dir.to_owned(),
            segment,
            offset: layout::aligned(SegmentHeader::BYTES as u64),
            index: first,
            chain: header.chain,
            epoch: header.epoch,
            ready: Ready::default(),
            listed: Arc::clone(listed),
        })
    }

    /// The next record, or nothing at the present end; more may come later.
    ///
    /// # Errors
    /// When what is there is no record. Asked again, the reader looks again: at the end of a journal that is being
    /// written, half a frame may be seen for an instant.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Ok(Some(entry));
            }
            match self.segment.at(self.offset)? {
                Found::Frame(header) => self.frame(&header)?,
                Found::Other => return Err(self.damaged("no frame begins here")),
                Found::Nothing => {
                    let Some(next) = self.following()? else { return Ok(None) };
                    // The writer goes on to a new segment only after its last frame in this one: look once more.
                    if !matches!(self.segment.at(self.offset)?, Found::Nothing) {
                        continue;
                    }
                    self.enter(next)?;
                }
            }
        }
    }

    /// Whether everything behind the last frame of this segment is zero, as it must be.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn check_rest(&self) -> Result<(), Error> {
        match self.segment.first_nonzero(self.offset)? {
            // A live writer may just have put a frame here; then it is the next thing to read.
            Some(_) if matches!(self.segment.at(self.offset)?, Found::Frame(_)) => Ok(()),
            Some(offset) => Err(self.segment.damaged(offset, self.index, "something stands behind the last frame")),
            None => Ok(()),
        }
    }

    /// Whether there is a frame at the end after all: a journal that is being written grows.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has_more(&self) -> Result<bool, Error> {
        Ok(self.ready.at < self.ready.payload.len() || !matches!(self.segment.at(self.offset)?, Found::Nothing))
    }

    /// Leaves out the records before this index.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn skip_to(&mut self, index: u64) -> Result<(), Error> {
        while self.next_index() < index && self.next_entry()?.is_some() {}
        Ok(())
    }

    /// The index of the record that [`Reader::next_entry`] gives next.
    const fn next_index(&self) -> u64 {
        if self.ready.at < self.ready.payload.len() { self.ready.index } else { self.index }
    }

    /// The epoch of the record read last.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The segment that is being read: its file, the index of its first record, and where the next frame begins.
    #[must_use]
    pub fn place(&self) -> (&Path, u64, u64) {
        (&self.segment.path, self.segment.first, self.offset)
    }

    /// The index of the next record, and the chain over all records before it. Records that are read but not yet
    /// handed out count as before it.
    #[must_use]
    pub const fn end(&self) -> (u64, Hash) {
        (self.index, self.chain)
    }

    /// A frame header in this segment at or after `from`, whose frame need not be whole.
    pub(super) fn header_after(&self, from: u64) -> Result<Option<(u64, FrameHeader)>, Error> {
        self.segment.header_after(from)
    }

    /// Where all that stands behind the last frame ends.
    pub(super) fn rest_end(&self) -> Result<u64, Error> {
        self.segment.nonzero_end(self.offset)
    }

    fn frame(&mut self, header: &FrameHeader) -> Result<(), Error> {
        if header.first != self.index {
            return Err(self.damaged("the frame does not begin with the next record"));
        }
        if header.epoch < self.epoch || header.durable > header.first {
            return Err(self.damaged("the frame's header contradicts itself"));
        }
        let (payload, offset) = self.segment.payload(header, self.offset)?;
        let (mut chain, mut rest) = (self.chain, payload.as_slice());
        while let Some((entry, after)) = layout::entry(rest) {
            chain = hash::chain(&chain, &hash::leaf(entry));
            rest = after;
        }
        let end = self.index.checked_add(u64::from(header.count));
        let end = end.ok_or_else(|| self.damaged("the frame holds more records than can be counted"))?;
        // INVARIANT: the chain in a header is the chain over all records up to its frame's last.
        if chain != header.chain {
            return Err(self.damaged("the records are not those that the chain was made of"));
        }
        self.ready = Ready { payload, at: 0, index: self.index, chain: self.chain };
        self.index = end;
        self.chain = chain;
        self.epoch = header.epoch;
        self.offset = offset;
        Ok(())
    }

    /// Whether no segment follows this one, so that it may be one that is being written.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn is_last(&mut self) -> Result<bool, Error> {
        Ok(self.following()?.is_none())
    }

    /// The first record of the segment after this one.
    fn following(&mut self) -> Result<Option<u64>, Error> {
        let mut next = after(&self.listed, self.segment.first);
        if next.is_none() {
            self.listed = segments(&self.dir)?.into();
            next = after(&self.listed, self.segment.first);
        }
        // A listing that was made while segments came may have a later one, and not the one before it.
        let is_late = next.is_some_and(|next| next > self.index) && self.index != self.segment.first;
        Ok(if is_late && layout::segment_path(&self.dir, self.index).exists() { Some(self.index) } else { next })
    }

    fn enter(&mut self, next: u64) -> Result<(), Error> {
        let before = Before { index: self.index, chain: self.chain, epoch: self.epoch };
        let (segment, header) = before.open(&self.dir, next)?;
        self.check_rest()?;
        self.epoch = header.epoch;
        self.segment = segment;
        self.offset = layout::aligned(SegmentHeader::BYTES as u64);
        Ok(())
    }

    fn damaged(&self, why: &'static str) -> Error {
        self.segment.damaged(self.offset, self.index, why)
    }
}

/// The first segment behind this one.
fn after(listed: &[u64], first: u64) -> Option<u64> {
    listed.get(listed.partition_point(|listed| *listed <= first)).copied()
}
