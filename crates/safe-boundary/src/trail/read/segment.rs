//! One segment, as a reader sees it: the trail may come from a stranger.
//!
//! Promises: only a file is opened, never a pipe or a link; memory grows with the records that a frame has been seen to
//! hold, not with what its header says; what was never written, a hole in the file, is not read through.
//! Deliberately not here: whether a frame continues the chain.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::Error;
use crate::trail::layout::{self, FrameHeader, Records, SegmentHeader};

/// How much of a frame is read before its records are looked at.
const PIECE_BYTES: usize = 1 << 20;

const BLOCK_BYTES: usize = 64 << 10;

/// As in [`layout::ALIGNMENT`].
const ALIGNMENT: usize = 8;
const _: () = assert!(ALIGNMENT as u64 == layout::ALIGNMENT && BLOCK_BYTES.is_multiple_of(ALIGNMENT));

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    file: File,
    pub(super) first: u64,
}

/// What stands at an offset.
pub(super) enum Found {
    Frame(FrameHeader),
    /// Zeros, or the end of the file.
    Nothing,
    Other,
}

impl Segment {
    pub(super) fn open(dir: &Path, first: u64) -> Result<(Self, SegmentHeader), Error> {
        let path = layout::segment_path(dir, first);
        let opened = open_file(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let Some(file) = opened else { return Err(Error::NoFile { path, index: first }) };
        let mut raw = [0; SegmentHeader::BYTES];
        read_up_to(&file, &mut raw, 0).map_err(|source| Error::Io { path: path.clone(), source })?;
        match SegmentHeader::decode(&raw) {
            Some(header) if header.first == first => Ok((Self { path, file, first }, header)),
            Some(_) => Err(Error::Header { path, index: first, why: "it is the header of another segment" }),
            None => Err(Error::Header { path, index: first, why: "it is damaged" }),
        }
    }

    pub(super) fn at(&self, offset: u64) -> Result<Found, Error> {
        let mut raw = [0; FrameHeader::BYTES];
        let read = read_up_to(&self.file, &mut raw, offset).map_err(|source| self.io(source))?;
        if let Some(header) = raw.get(..read).and_then(FrameHeader::decode) {
            return Ok(Found::Frame(header));
        }
        Ok(if raw.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Other })
    }

    /// The records of the frame that begins at `offset`, with their lengths, and where the frame after it may begin.
    pub(super) fn payload(&self, header: &FrameHeader, offset: u64) -> Result<(Vec<u8>, u64), Error> {
        let damaged = |why| self.damaged(offset, header.first, why);
        let length = self.file.metadata().map_err(|source| self.io(source))?.len();
        let end = header.end(offset).filter(|end| *end <= length);
        let (Some(end), Ok(bytes)) = (end, usize::try_from(header.payload)) else {
            return Err(damaged("the frame is longer than its file"));
        };
        if header.count == 0 || header.count > header.payload / layout::RECORD_BYTES_MIN {
            return Err(damaged("the frame's header contradicts itself"));
        }
        let (mut payload, mut records) = (Vec::new(), Records::default());
        while payload.len() < bytes {
            let have = payload.len();
            payload.resize(bytes.min(have + PIECE_BYTES), 0);
            let piece = payload.get_mut(have..).unwrap_or_default();
            let start = offset + FrameHeader::BYTES as u64 + have as u64;
            self.file.read_exact_at(piece, start).map_err(|source| self.io(source))?;
            if !records.follow(&payload) {
                break;
            }
        }
        if payload.len() < bytes || !records.are(&payload, header.count) {
            return Err(damaged("the frame does not consist of whole records"));
        }
        let mut padding = vec![0; usize::try_from(layout::aligned(end) - end).unwrap_or(0)];
        read_up_to(&self.file, &mut padding, end).map_err(|source| self.io(source))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.damaged(end, header.first, "the space between two frames is not empty"));
        }
        Ok((payload, layout::aligned(end)))
    }

    /// The first byte at or after `from` that is not zero.
    pub(super) fn first_nonzero(&self, from: u64) -> Result<Option<u64>, Error> {
        let (mut block, mut offset) = (Vec::new(), from);
        while let Some(start) = self.block(&mut block, offset)? {
            if let Some(found) = block.iter().position(|byte| *byte != 0) {
                return Ok(Some(start + found as u64));
            }
            offset = start + block.len() as u64;
        }
        Ok(None)
    }

    /// The offset behind the last byte at or after `from` that is not zero; `from` when all are.
    pub(super) fn nonzero_end(&self, from: u64) -> Result<u64, Error> {
        let (mut block, mut offset, mut end) = (Vec::new(), from, from);
        while let Some(start) = self.block(&mut block, offset)? {
            if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
                end = start + last as u64 + 1;
            }
            offset = start + block.len() as u64;
        }
        Ok(end)
    }

    /// A frame header at or after `from`, whose frame need not be whole.
    pub(super) fn header_after(&self, from: u64) -> Result<Option<(u64, FrameHeader)>, Error> {
        let (mut block, mut offset) = (Vec::new(), layout::aligned(from));
        while let Some(start) = self.block(&mut block, offset)? {
            let places = (start..).step_by(ALIGNMENT).zip(block.chunks(ALIGNMENT));
            for (place, _) in places.filter(|(_, raw)| layout::begins_frame(raw)) {
                if let Found::Frame(header) = self.at(place)? {
                    return Ok(Some((place, header)));
                }
            }
            offset = layout::aligned(start + block.len() as u64);
        }
        Ok(None)
    }

    /// The header of the last frame. Sought from the end on, so that not all of the segment is read.
    pub(super) fn last_header(&self) -> Result<Option<FrameHeader>, Error> {
        let length = self.file.metadata().map_err(|source| self.io(source))?.len();
        let mut back = BLOCK_BYTES as u64;
        loop {
            let from = length.saturating_sub(back).max(SegmentHeader::BYTES as u64);
            let (mut last, mut at) = (None, Some(from));
            while let Some(from) = at
                && let Some((offset, header)) = self.header_after(from)?
            {
                at = header.end(offset);
                last = Some(header);
            }
            if last.is_some() || back >= length {
                return Ok(last);
            }
            back = back.saturating_mul(4);
        }
    }

    /// Reads the next bytes at or after `offset`, and says where they begin: holes are left out, for they are zero.
    fn block(&self, block: &mut Vec<u8>, offset: u64) -> Result<Option<u64>, Error> {
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => offset.max(data - data % layout::ALIGNMENT),
            // Nothing is written from there on, or the file ends before.
            Err(Errno::NXIO) => return Ok(None),
            // A file system that does not know its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => offset,
            Err(error) => return Err(self.io(error.into())),
        };
        block.resize(BLOCK_BYTES, 0);
        let read = read_up_to(&self.file, block, start).map_err(|source| self.io(source))?;
        block.truncate(read);
        Ok((read > 0).then_some(start))
    }

    pub(super) fn damaged(&self, offset: u64, index: u64, why: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, index, why }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

/// Opens a file to read it; nothing when it is something else, which might never end, or be elsewhere.
pub(crate) fn open_file(path: &Path) -> io::Result<Option<File>> {
    // Before it is opened, for that may be an act already: a device may do something then.
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    open_if_file(path)
}

/// Opens what may have become something else since it was looked at: no link is followed, and no pipe waited for.
fn open_if_file(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        // A link, and a socket.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::LOOP | Errno::NXIO)) => Ok(None),
        Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn what_is_no_file_is_not_held_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        mkfifoat(CWD, path("pipe"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for open in [open_file, open_if_file] {
            assert!(open(&path("file")).unwrap().is_some());
            for name in ["link", "pipe", "socket", "folder"] {
                assert!(open(&path(name)).unwrap().is_none(), "{name}");
            }
            assert_eq!(open(&path("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    /// Who can write to the folder may put a pipe there between two calls, and opening it would wait for ever.
    #[test]
    fn a_file_that_becomes_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (at, is_over) = (path("at"), AtomicBool::new(false));
        fs::write(path("file"), "x").unwrap();
        mkfifoat(CWD, path("pipe"), Mode::RUSR).unwrap();
        fs::hard_link(path("file"), &at).unwrap();
        let (done, all) = mpsc::channel();
        let opened = at.clone();
        std::thread::spawn(move || {
            for _ in 0..200_000 {
                let file = open_file(&opened).unwrap();
                assert!(file.is_none_or(|file| file.metadata().unwrap().is_file()));
            }
            done.send(()).unwrap();
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for name in ["pipe", "file"].iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    fs::hard_link(path(name), path("next")).unwrap();
                    fs::rename(path("next"), &at).unwrap();
                    // To rename one link of a file to another does nothing, and leaves both.
                    let _ = fs::remove_file(path("next"));
                }
            });
            let ended = all.recv_timeout(Duration::from_secs(120));
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(ended, Ok(()), "it waits");
        });
    }
}
