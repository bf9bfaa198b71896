//! The segment that is being written, and the one that is prepared to follow it.
//!
//! Promises: a segment gets its name only after its header is durable, and every record before it is.
//! Deliberately not here: frames.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::trail::disk::{Disk, DiskFile};
use crate::trail::layout::{self, SegmentHeader};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Box<dyn DiskFile>,
    /// The index of its first record.
    pub(super) first: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// How long the file is.
    pub(super) bytes: u64,
    /// Up to where a failed write may have left something.
    pub(super) dirty: u64,
}

impl Segment {
    /// Writes one frame, padding included.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.scrub()?;
        let end = self.offset + frame.len() as u64;
        self.dirty = end;
        self.file.write_at(frame, self.offset)?;
        self.dirty = 0;
        self.offset = end;
        self.bytes = self.bytes.max(end);
        Ok(())
    }

    /// Makes the space behind the last frame zero again, after a failed write.
    pub(super) fn scrub(&mut self) -> io::Result<()> {
        if self.dirty > self.bytes {
            // The file was to grow; zeros would need the room that there is not.
            self.file.cut(self.bytes)?;
            self.dirty = self.bytes;
        }
        zero(&mut *self.file, self.offset, self.dirty)?;
        self.dirty = 0;
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
    bytes: u64,
    thread: Option<JoinHandle<io::Result<Box<dyn DiskFile>>>>,
}

impl Spare {
    pub(super) fn new(dir: &Path, disk: Arc<dyn Disk>, bytes: u64) -> Self {
        Self { dir: dir.to_owned(), disk, bytes, thread: None }
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
        let file = named?;
        let segment = Segment {
            file,
            first: header.first,
            offset: layout::aligned(SegmentHeader::BYTES as u64),
            bytes: self.bytes,
            dirty: 0,
        };
        Ok(self.disk.sync_folder(&layout::journal_dir(&self.dir)).map(|()| segment))
    }

    fn named(&mut self, header: &SegmentHeader, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("preparing a segment panicked")))?,
            None => fill(&*self.disk, path, self.bytes)?,
        };
        file.write_at(&header.encode(), 0)?;
        // A crash before the rename leaves a file that is no segment. The header is durable before the name is, so
        // whatever has the name of a segment has its header.
        file.sync()?;
        self.disk.rename(path, &layout::segment_path(&self.dir, header.first))?;
        Ok(file)
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

fn fill(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
    if path.exists() {
        disk.remove(path)?;
    }
    let mut file = disk.create(path)?;
    zero(&mut *file, 0, bytes)?;
    file.sync()?;
    Ok(file)
}
