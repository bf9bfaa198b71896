//! Reading the trail, also while it is being written.
//!
//! Promises: an [`Entry`] that comes out stands in the chain, at the index it says; whatever does not is an error
//! with file, offset and index. Memory is bounded by the largest frame.
//! Deliberately not here: what a record says, and whether the chain is the one that was written: without an
//! anchor outside, nobody can know.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tlog::hash::{self, Hash};

use super::layout::{self, FrameHeader, SegmentHeader};

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

/// Why the trail cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no journal in this folder.
    #[error("{} holds no journal", dir.display())]
    NoJournal {
        /// Which folder.
        dir: PathBuf,
    },
    /// A segment does not begin as its name and the segment before it say.
    #[error("record {index}: the header of {} does not continue the chain: {why}", path.display())]
    Header {
        /// Which segment.
        path: PathBuf,
        /// The record that should follow.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A frame is not what its header or the chain says.
    #[error("record {index}: {} is damaged at byte {offset}: {why}", path.display())]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The record that should stand there.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// Records between two segments are missing.
    #[error("records {index} to {} are missing: there is no {}", next - 1, path.display())]
    Missing {
        /// The segment that should exist.
        path: PathBuf,
        /// The first record that is missing.
        index: u64,
        /// The first record that is there again.
        next: u64,
    },
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
    /// Records of the frame that was read last.
    ready: VecDeque<Entry>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    first: u64,
}

/// What stands at an offset.
enum Found {
    Frame(FrameHeader),
    /// Zeros, or the end of the file.
    Nothing,
    Other,
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

impl Reader {
    /// Reads from the first record on.
    ///
    /// # Errors
    /// When there is no journal, or its first segment does not begin with record 0.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let first = segments(dir)?.first().copied().ok_or_else(|| Error::NoJournal { dir: dir.to_owned() })?;
        if first != 0 {
            return Err(Error::Missing { path: layout::segment_path(dir, 0), index: 0, next: first });
        }
        let reader = Self::open_segment(dir, first)?;
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
        let (segment, header) = Segment::open(dir, first)?;
        Ok(Self {
            dir: dir.to_owned(),
            segment,
            offset: layout::aligned(SegmentHeader::BYTES as u64),
            index: first,
            chain: header.chain,
            epoch: header.epoch,
            ready: VecDeque::new(),
        })
    }

    /// The next record, or nothing at the present end; more may come later.
    ///
    /// # Errors
    /// When what is there is no record. Asked again, the reader looks again: at the end of a journal that is being
    /// written, half a frame may be seen for an instant.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            match self.at(self.offset)? {
                Found::Frame(header) => self.frame(&header)?,
                Found::Other => return Err(self.damaged("no frame begins here")),
                Found::Nothing => {
                    let Some(next) = self.following()? else { return Ok(None) };
                    // The writer goes on to a new segment only after its last frame in this one: look once more.
                    if !matches!(self.at(self.offset)?, Found::Nothing) {
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
        match self.first_nonzero(self.offset)? {
            // A live writer may just have put a frame here; then it is the next thing to read.
            Some(_) if matches!(self.at(self.offset)?, Found::Frame(_)) => Ok(()),
            Some(offset) => Err(self.damaged_at(offset, "something stands behind the last frame")),
            None => Ok(()),
        }
    }

    /// Whether there is a frame at the end after all: a journal that is being written grows.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has_more(&self) -> Result<bool, Error> {
        Ok(!self.ready.is_empty() || !matches!(self.at(self.offset)?, Found::Nothing))
    }

    /// Leaves out the records before this index.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn skip_to(&mut self, index: u64) -> Result<(), Error> {
        loop {
            self.ready.retain(|entry| entry.index >= index);
            if !self.ready.is_empty() || self.index >= index {
                return Ok(());
            }
            match self.next_entry()? {
                Some(entry) => self.ready.push_front(entry),
                None => return Ok(()),
            }
        }
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
        let mut offset = layout::aligned(from);
        while let Some(nonzero) = self.first_nonzero(offset)? {
            // The first byte of a header is not zero, so a header cannot begin before the first such byte.
            offset = nonzero - nonzero % layout::ALIGNMENT;
            if let Found::Frame(header) = self.at(offset)? {
                return Ok(Some((offset, header)));
            }
            offset += layout::ALIGNMENT;
        }
        Ok(None)
    }

    fn frame(&mut self, header: &FrameHeader) -> Result<(), Error> {
        if header.first != self.index {
            return Err(self.damaged("the frame does not begin with the next record"));
        }
        if header.epoch < self.epoch || header.durable > header.first {
            return Err(self.damaged("the frame's header contradicts itself"));
        }
        let length = self.segment.file.metadata().map_err(|source| self.io(source))?.len();
        let end = header.end(self.offset).filter(|end| *end <= length);
        let (Some(end), Ok(bytes)) = (end, usize::try_from(header.payload)) else {
            return Err(self.damaged("the frame is longer than its file"));
        };
        let mut payload = vec![0; bytes];
        let start = self.offset + FrameHeader::BYTES as u64;
        self.segment.file.read_exact_at(&mut payload, start).map_err(|source| self.io(source))?;
        let mut padding = vec![0; usize::try_from(layout::aligned(end) - end).unwrap_or(0)];
        read_up_to(&self.segment.file, &mut padding, end).map_err(|source| self.io(source))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.damaged_at(end, "the space between two frames is not empty"));
        }
        let entries = layout::entries(&payload, header.count);
        let entries = entries.ok_or_else(|| self.damaged("the frame does not consist of whole records"))?;
        let mut chain = self.chain;
        let mut ready = VecDeque::with_capacity(entries.len());
        for (index, entry) in (self.index..).zip(entries) {
            chain = hash::chain(&chain, &hash::leaf(entry));
            ready.push_back(Entry { index, bytes: entry.to_vec(), chain });
        }
        // INVARIANT: the chain in a header is the chain over all records up to its frame's last.
        if chain != header.chain {
            return Err(self.damaged("the records are not those that the chain was made of"));
        }
        self.index += u64::from(header.count);
        self.chain = chain;
        self.epoch = header.epoch;
        self.offset = layout::aligned(end);
        self.ready = ready;
        Ok(())
    }

    /// The first record of the segment after this one.
    fn following(&self) -> Result<Option<u64>, Error> {
        // Asked first for the only name that is right: the end of a journal is looked at often.
        if layout::segment_path(&self.dir, self.index).exists() && self.index != self.segment.first {
            return Ok(Some(self.index));
        }
        let later = segments(&self.dir)?.into_iter().find(|first| *first > self.segment.first);
        Ok(later)
    }

    fn enter(&mut self, next: u64) -> Result<(), Error> {
        if next != self.index {
            let path = layout::segment_path(&self.dir, self.index);
            let why = "the next segment begins with an earlier record";
            return Err(if next > self.index {
                Error::Missing { path, index: self.index, next }
            } else {
                Error::Header { path: layout::segment_path(&self.dir, next), index: self.index, why }
            });
        }
        let (segment, header) = Segment::open(&self.dir, next)?;
        if header.chain != self.chain || header.epoch < self.epoch {
            let why = "it holds another chain than the segment before it";
            return Err(Error::Header { path: segment.path, index: self.index, why });
        }
        self.check_rest()?;
        self.epoch = header.epoch;
        self.segment = segment;
        self.offset = layout::aligned(SegmentHeader::BYTES as u64);
        Ok(())
    }

    fn at(&self, offset: u64) -> Result<Found, Error> {
        let mut raw = [0; FrameHeader::BYTES];
        let read = read_up_to(&self.segment.file, &mut raw, offset).map_err(|source| self.io(source))?;
        if let Some(header) = raw.get(..read).and_then(FrameHeader::decode) {
            return Ok(Found::Frame(header));
        }
        Ok(if raw.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Other })
    }

    fn first_nonzero(&self, from: u64) -> Result<Option<u64>, Error> {
        let mut block = vec![0; 64 * 1024];
        let mut offset = from;
        loop {
            let read = read_up_to(&self.segment.file, &mut block, offset).map_err(|source| self.io(source))?;
            let found = block.iter().take(read).position(|byte| *byte != 0);
            if let Some(found) = found {
                return Ok(Some(offset + found as u64));
            }
            if read == 0 {
                return Ok(None);
            }
            offset += read as u64;
        }
    }

    fn damaged(&self, why: &'static str) -> Error {
        self.damaged_at(self.offset, why)
    }

    fn damaged_at(&self, offset: u64, why: &'static str) -> Error {
        Error::Damaged { path: self.segment.path.clone(), offset, index: self.index, why }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { path: self.segment.path.clone(), source }
    }
}

impl Segment {
    fn open(dir: &Path, first: u64) -> Result<(Self, SegmentHeader), Error> {
        let path = layout::segment_path(dir, first);
        let file = File::open(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let mut raw = [0; SegmentHeader::BYTES];
        read_up_to(&file, &mut raw, 0).map_err(|source| Error::Io { path: path.clone(), source })?;
        match SegmentHeader::decode(&raw) {
            Some(header) if header.first == first => Ok((Self { path, file, first }, header)),
            Some(_) => Err(Error::Header { path, index: first, why: "it is the header of another segment" }),
            None => Err(Error::Header { path, index: first, why: "it is damaged" }),
        }
    }
}

/// Fills `raw` from `offset` on, as far as the file goes.
fn read_up_to(file: &File, raw: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = raw.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
