//! The segment that is being written, and the one that is prepared to follow it.
//!
//! Promises: a segment gets its name only after its header is durable, and every record before it is.
//! Deliberately not here: frames.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::direct::Direct;
use crate::trail::disk::{BLOCK_BYTES, Disk, DiskFile, DiskFolder};
use crate::trail::layout::{self, SegmentHeader};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Box<dyn DiskFile>,
    /// The same file, where frames can be written durably in one call.
    pub(super) direct: Option<Direct>,
    /// What stands before `offset` in the block that it lies in.
    pub(super) before: Vec<u8>,
    /// The index of its first record.
    pub(super) first: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// How long the file is.
    pub(super) bytes: u64,
    /// Up to where a failed write may have left something.
    pub(super) dirty: u64,
    /// What a failed write left has been removed, but no sync has made that durable.
    pub(super) is_scrub_unsynced: bool,
}

impl Segment {
    /// Writes one frame, padding included.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.scrub()?;
        let end = self.offset + frame.len() as u64;
        self.dirty = end;
        self.file.write_at(frame, self.offset)?;
        self.written(frame);
        Ok(())
    }

    /// Writes one frame durably, unless this must be done by a write and a sync. All that stands before it must be durable.
    pub(super) fn write_durably(&mut self, frame: &[u8]) -> io::Result<bool> {
        let end = self.offset + frame.len() as u64;
        // What lies behind the end, or must be made zero again and stay so, takes more than this write.
        let is_simple =
            self.dirty == 0 && !self.is_scrub_unsynced && end.next_multiple_of(BLOCK_BYTES as u64) <= self.bytes;
        let Some(direct) = self.direct.as_mut().filter(|_| is_simple) else { return Ok(false) };
        self.dirty = end;
        match direct.write(&self.before, frame, self.offset - self.before.len() as u64) {
            Ok(()) => {
                self.written(frame);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn written(&mut self, frame: &[u8]) {
        self.dirty = 0;
        self.offset += frame.len() as u64;
        self.bytes = self.bytes.max(self.offset);
        if self.before.len() + frame.len() >= BLOCK_BYTES {
            // Another block has begun, and what stands in it is of this frame.
            self.before.clear();
        }
        let here = usize::try_from(self.offset % BLOCK_BYTES as u64).unwrap_or(0) - self.before.len();
        self.before.extend_from_slice(frame.get(frame.len() - here..).unwrap_or_default());
    }

    /// Makes the space behind the last frame zero again, after a failed write. It is durable with the next sync.
    pub(super) fn scrub(&mut self) -> io::Result<()> {
        self.is_scrub_unsynced |= self.dirty > self.offset;
        if self.dirty > self.bytes {
            // The file was to grow; zeros would need the room that there is not.
            self.file.cut(self.bytes)?;
            self.dirty = self.bytes;
        }
        zero(&mut *self.file, self.offset, self.dirty)?;
        self.dirty = 0;
        Ok(())
    }

    /// Makes all that was written durable, zeros too.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.is_scrub_unsynced = false;
        Ok(())
    }
}

/// Writes zeros from `start` to before `end`.
pub(super) fn zero(file: &mut dyn DiskFile, start: u64, end: u64) -> io::Result<()> {
    let mut offset = start;
    while offset < end {
        let part = usize::try_from(end - offset).map_or(&ZEROS[..], |left| ZEROS.get(..left).unwrap_or(&ZEROS));
        file.write_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

/// Where a segment is prepared before it has a name.
pub(super) fn spare_path(dir: &Path) -> PathBuf {
    layout::journal_dir(dir).join("next.tmp")
}

/// The segment that follows, prepared by a thread of its own so that the writer need not wait for it.
#[derive(Debug)]
pub(super) struct Spare {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// Where segments get their names. Open all the time: when a name has been given it is too late to find that no file can
    /// be opened.
    folder: Box<dyn DiskFolder>,
    bytes: u64,
    thread: Option<JoinHandle<io::Result<Prepared>>>,
}

/// A file of zeros, and the same one for durable writes if it can be had.
type Prepared = (Box<dyn DiskFile>, Option<Direct>);

impl Spare {
    pub(super) fn new(dir: &Path, disk: Arc<dyn Disk>, bytes: u64) -> io::Result<Self> {
        let folder = disk.open_folder(&layout::journal_dir(dir))?;
        Ok(Self { dir: dir.to_owned(), disk, folder, bytes, thread: None })
    }

    /// Begins to prepare it, unless that has begun.
    pub(super) fn begin(&mut self) {
        if self.thread.is_none() {
            let (disk, path, bytes) = (Arc::clone(&self.disk), spare_path(&self.dir), self.bytes);
            let thread = std::thread::Builder::new().name("segment".to_owned());
            // Without a thread it is prepared when it is needed.
            self.thread = thread.spawn(move || fill(&*disk, &path, bytes)).ok();
        }
    }

    /// The next segment, with its header and its name, both durable but for the name: `Ok(Err(_))` when only the
    /// sync of the folder failed, so that nobody knows whether the name is.
    pub(super) fn take(&mut self, header: &SegmentHeader) -> io::Result<Result<Segment, io::Error>> {
        let path = spare_path(&self.dir);
        let named = self.named(header, &path);
        if named.is_err() && path.exists() {
            // What stays is replaced by the next attempt, or at the next start.
            let _ = self.disk.remove(&path);
        }
        let (file, direct) = named?;
        let offset = layout::aligned(SegmentHeader::BYTES as u64);
        let mut before = header.encode().to_vec();
        before.resize(usize::try_from(offset).unwrap_or(before.len()), 0);
        let segment = Segment {
            file,
            direct,
            before,
            first: header.first,
            offset,
            bytes: self.bytes,
            dirty: 0,
            is_scrub_unsynced: false,
        };
        Ok(self.folder.sync().map(|()| segment))
    }

    fn named(&mut self, header: &SegmentHeader, path: &Path) -> io::Result<Prepared> {
        let (mut file, direct) = match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("preparing a segment panicked")))?,
            None => fill(&*self.disk, path, self.bytes)?,
        };
        file.write_at(&header.encode(), 0)?;
        // A crash before the rename leaves a file that is no segment. The header is durable before the name is, so
        // whatever has the name of a segment has its header.
        file.sync()?;
        self.disk.rename(path, &layout::segment_path(&self.dir, header.first))?;
        Ok((file, direct))
    }

    /// Waits for the thread, and removes what it made.
    pub(super) fn discard(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let path = spare_path(&self.dir);
        if path.exists() {
            let _ = self.disk.remove(&path);
        }
    }
}

fn fill(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<Prepared> {
    if path.exists() {
        disk.remove(path)?;
    }
    let mut file = disk.create(path)?;
    zero(&mut *file, 0, bytes)?;
    file.sync()?;
    Ok((file, disk.open_durable(path).map(Direct::new)))
}
