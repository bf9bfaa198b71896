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
        let (mut blocks, mut offset) = (blocks, offset);
        while !blocks.is_empty() {
            let written = match FileExt::write_at(self, blocks, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // Of a block that was written in part, all is written again.
            let whole = written / BLOCK_BYTES * BLOCK_BYTES;
            blocks = blocks.get(whole..).unwrap_or_default();
            offset += whole as u64;
        }
        Ok(())
    }
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
