//! The file operations that durability hangs on, as a trait, so that tests can make each of them fail.
//!
//! Promises: each call does exactly one thing to the file system, and files and folders are readable by their owner
//! only.
//! Deliberately not here: reading, which cannot lose anything.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Whether a file could not be opened because this process, or the machine, has too many open: then nothing on the disk
/// has been touched.
#[must_use]
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// A file that is open for writing.
pub trait DiskFile: Send + fmt::Debug {
    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// As the file system says.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts off what stands behind this many bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As the file system says; after one nothing is known about any write since the last success.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whole blocks of this many bytes can be written past the page cache, whatever the disk.
pub const BLOCK_BYTES: usize = 4096;

/// How often in a row a write may end before the end of its first block.
const FRUITLESS_MAX: u32 = 16;

/// A file that is open for writes which are durable when they return.
pub trait DurableFile: Send + fmt::Debug {
    /// Writes whole blocks to where one begins, from memory that begins at a multiple of [`BLOCK_BYTES`] too. What was written
    /// otherwise before is not made durable by this.
    ///
    /// # Errors
    /// As the file system says; [`io::ErrorKind::InvalidInput`] when it cannot write so, and then it has not. After any other
    /// error any part of the blocks may have been written.
    fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()>;
}

/// A folder that is open, so that making its names durable takes no descriptor.
pub trait DiskFolder: Send + fmt::Debug {
    /// Makes the names in it durable.
    ///
    /// # Errors
    /// As the file system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a file that does not exist yet.
    ///
    /// # Errors
    /// As the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to overwrite parts of it.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for durable writes; none where that cannot be done.
    fn open_durable(&self, path: &Path) -> Option<Box<dyn DurableFile>>;

    /// Makes a folder and its parents, unless they exist.
    ///
    /// # Errors
    /// As the file system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of any file that has it.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a folder, to make the names in it durable later.
    ///
    /// # Errors
    /// As the file system says.
    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the file system says; when [`lacks_descriptors`], it was not even opened.
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.open_folder(path)?.sync()
    }

    /// How much of the file system is used, in percent; nothing where that cannot be told.
    fn used_percent(&self, path: &Path) -> Option<u64>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct Folder(File);

impl DiskFolder for Folder {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl DurableFile for File {
    fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        write_blocks(blocks, offset, |blocks, offset| FileExt::write_at(self, blocks, offset))
    }
}

/// Writes whole blocks with a call that may write a part of them.
fn write_blocks(
    mut blocks: &[u8],
    mut offset: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut fruitless = 0;
    while !blocks.is_empty() {
        let written = match write(blocks, offset) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Of a block that was written in part, all is written again. The call after a short one says what was in its way,
        // such as a full disk; of one that never says so there is an end.
        let whole = written / BLOCK_BYTES * BLOCK_BYTES;
        fruitless = if whole == 0 { fruitless + 1 } else { 0 };
        if written == 0 || fruitless == FRUITLESS_MAX {
            return Err(io::ErrorKind::WriteZero.into());
        }
        blocks = blocks.get(whole..).unwrap_or_default();
        offset += whole as u64;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn open_durable(&self, path: &Path) -> Option<Box<dyn DurableFile>> {
        let flags = i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits()).ok()?;
        Some(Box::new(OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        Ok(Box::new(Folder(File::open(path)?)))
    }

    fn used_percent(&self, path: &Path) -> Option<u64> {
        let space = rustix::fs::statvfs(path).ok()?;
        let used = space.f_blocks.checked_sub(space.f_bfree)?;
        // As df counts: blocks that only root may use are neither used nor free.
        used.checked_mul(100)?.checked_div(used.checked_add(space.f_bavail)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_never_comes_to_the_end_of_a_block_ends() {
        let blocks = [7; 3 * BLOCK_BYTES];
        let run = |answers: &[io::Result<usize>]| {
            let (mut calls, mut answers) = (Vec::new(), answers.iter().cycle());
            let result = write_blocks(&blocks, 4096, |part, offset| {
                calls.push((part.len(), offset));
                match answers.next().unwrap() {
                    Ok(written) => Ok(*written.min(&part.len())),
                    Err(error) => Err(error.kind().into()),
                }
            });
            (result.map_err(|error| error.kind()), calls)
        };
        assert_eq!(run(&[Ok(3 * BLOCK_BYTES)]), (Ok(()), vec![(12288, 4096)]));
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        assert_eq!(
            run(&[Ok(5000), interrupted(), Ok(512), Ok(8192)]),
            (Ok(()), vec![(12288, 4096), (8192, 8192), (8192, 8192), (8192, 8192)])
        );
        // A full disk says so at the call after the short one.
        let full = run(&[Ok(512), Err(io::ErrorKind::StorageFull.into())]);
        assert_eq!((full.0, full.1.len()), (Err(io::ErrorKind::StorageFull), 2));
        assert_eq!(run(&[Ok(0)]).0, Err(io::ErrorKind::WriteZero));
        let endless = run(&[Ok(512), Ok(4095)]);
        assert_eq!((endless.0, endless.1.len()), (Err(io::ErrorKind::WriteZero), 16));
    }
}
