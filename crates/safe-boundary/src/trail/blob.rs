//! Content that is too large for a record, each stored once under its SHA-256.
//!
//! Promises: a blob that [`BlobWriter::finish`] or [`BlobStore::store`] has named is durable, whole, and stays; what
//! a crash leaves half-written is never under a blob's name, and is removed at the next start. After a failed sync
//! nothing is stored any more.
//! Deliberately not here: which records refer to a blob.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tlog::hash::Hash;

use super::disk::{Disk, DiskFile, lacks_descriptors};

/// How many hashes are remembered as stored; groups of people come again and again.
const KNOWN_MAX: usize = 4096;

/// The file of a blob.
#[must_use]
pub fn blob_path(dir: &Path, sha256: &Hash) -> PathBuf {
    let name = sha256.to_string();
    let folder: String = name.chars().take(2).collect();
    dir.join("blobs/sha256").join(folder).join(name)
}

/// The blobs of one trail. All calls block on the disk.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    count: AtomicU64,
    known: Mutex<HashSet<Hash>>,
    /// A sync has failed: what the file system says from then on proves nothing.
    failed: AtomicBool,
}

impl BlobStore {
    /// Opens the store below `dir`, and removes what crashed writers have left.
    pub(super) fn prepare(dir: &Path, disk: Arc<dyn Disk>) -> io::Result<Self> {
        let incoming = dir.join("blobs/incoming");
        disk.create_folder(&incoming)?;
        disk.create_folder(&dir.join("blobs/sha256"))?;
        for leftover in std::fs::read_dir(&incoming)? {
            disk.remove(&leftover?.path())?;
        }
        disk.sync_folder(&dir.join("blobs"))?;
        disk.sync_folder(dir)?;
        let (count, known, failed) = (AtomicU64::new(0), Mutex::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { dir: dir.to_owned(), disk, count, known, failed })))
    }

    /// Begins a blob whose hash is not known yet.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn begin(&self) -> io::Result<BlobWriter> {
        self.usable()?;
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let path = self.0.dir.join(format!("blobs/incoming/{number}.tmp"));
        let file = self.0.disk.create(&path)?;
        Ok(BlobWriter { store: self.clone(), path, file, sha: Sha256::new(), bytes: 0, named: false })
    }

    /// Stores a blob that is at hand, unless it is there.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn store(&self, sha256: &Hash, bytes: &[u8]) -> io::Result<()> {
        if self.known().contains(sha256) {
            return self.usable();
        }
        let mut writer = self.begin()?;
        writer.write(bytes)?;
        let (written, _) = writer.finish()?;
        debug_assert_eq!(written, *sha256, "a blob is named by its hash");
        Ok(())
    }

    /// Opens a blob to read it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(&self, sha256: &Hash) -> io::Result<File> {
        File::open(self.path(sha256))
    }

    /// The file of a blob, there or not.
    #[must_use]
    pub fn path(&self, sha256: &Hash) -> PathBuf {
        blob_path(&self.0.dir, sha256)
    }

    /// Whether this much can be stored; leaves nothing behind.
    pub(super) fn probe(&self, bytes: usize) -> io::Result<()> {
        let mut writer = self.begin()?;
        let zeros = vec![0; bytes.min(1 << 20)];
        let mut left = bytes;
        while left > 0 {
            let part = zeros.get(..left.min(zeros.len())).unwrap_or_default();
            writer.write(part)?;
            left -= part.len();
        }
        writer.sync()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Hash>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sync has failed, so that nothing is stored any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    fn usable(&self) -> io::Result<()> {
        if self.has_failed() {
            return Err(io::Error::other("a sync of the blobs has failed before"));
        }
        Ok(())
    }

    /// The sync's result; a failure is remembered for good.
    fn synced(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.0.failed.store(true, Ordering::Release);
        }
        result
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        match self.0.disk.sync_folder(folder) {
            // The folder could not even be opened: no sync has failed, and the next one tells the truth.
            Err(error) if lacks_descriptors(&error) => Err(error),
            result => self.synced(result),
        }
    }

    fn name(&self, incoming: &Path, sha256: &Hash) -> io::Result<()> {
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.0.dir);
        if !folder.exists() {
            self.0.disk.create_folder(folder)?;
        }
        // A crash before the rename leaves a file in `incoming`; after it, a whole blob that nothing refers to.
        // A blob that is there already is replaced by the same content, which also mends a damaged one.
        self.0.disk.rename(incoming, &path)?;
        self.sync_folder(folder)?;
        // The folder may be new, here or in another thread that has not come this far.
        self.sync_folder(&self.0.dir.join("blobs/sha256"))?;
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(*sha256);
        Ok(())
    }
}

/// A blob that is being written; dropped before [`BlobWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    sha: Sha256,
    bytes: u64,
    named: bool,
}

impl BlobWriter {
    /// Adds content.
    ///
    /// # Errors
    /// As the file system says; the blob is lost then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.bytes)?;
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the blob durable under its hash, and says the hash and the length.
    ///
    /// # Errors
    /// As the file system says; the blob is lost then.
    pub fn finish(mut self) -> io::Result<(Hash, u64)> {
        self.sync()?;
        let sha256 = Hash(self.sha.clone().finalize().into());
        self.store.name(&self.path, &sha256)?;
        self.named = true;
        Ok((sha256, self.bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.store.usable()?;
        let result = self.file.sync();
        self.store.synced(result)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed at the next start.
            let _ = self.store.0.disk.remove(&self.path);
        }
    }
}
