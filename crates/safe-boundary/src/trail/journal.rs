//! The durable log: records go in, receipts come out.
//!
//! Promises: [`Journal::append`] gives up an effect only after its records, and the blobs they refer to, are durable;
//! receipts are minted in this file alone. A full disk refuses and mends itself; any other failed write and any failed sync
//! stops the journal for good, until a restart has read its tail again. Memory is bounded.
//! Deliberately not here: what is recorded, and reading it (`read.rs`).

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::audit::id::IdSource;
use domain::audit::pending::{Position, Receipt, Unrecorded};
use domain::audit::record::{Batch, JournalEvent};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::blob::BlobStore;
use super::disk::{Disk, RealDisk};
use super::read;
use queue::{Item, Queue, Refusal, Waiter, Work};
use writer::{Trouble, Writer};

mod direct;
mod queue;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// The name of this node in records.
    pub node: String,
    /// How long to wait on a full disk before looking for room again.
    pub retry: Duration,
    /// Asked for the time of the journal's own records.
    pub clock: fn() -> Timestamp,
    /// The file system it lies on.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// Segments of 16 MiB on the machine's file system.
    #[must_use]
    pub fn new(node: String) -> Self {
        Self {
            segment_bytes: 16 << 20,
            node,
            retry: Duration::from_secs(1),
            clock: crate::clock::now,
            disk: Arc::new(RealDisk),
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Which opening this is, from 1.
    pub epoch: u64,
    /// How many records there were.
    pub records: u64,
    /// What was torn and put aside, if anything.
    pub torn: Option<Torn>,
}

/// A torn tail: bytes that no receipt stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The index that its first record would have had.
    pub index: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// Where it was put.
    pub file: PathBuf,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open.
    #[error("another process writes to the audit folder {}", dir.display())]
    Locked {
        /// Which folder.
        dir: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot open the journal in {}: {source}", dir.display())]
    Io {
        /// Which folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there cannot be read.
    #[error(
        "the journal cannot be continued: {0}; restore the file, or move the audit folder aside and keep it as evidence"
    )]
    Unreadable(#[from] read::Error),
    /// Records that had been durable are gone: no torn tail, but damage or an edit.
    #[error(
        "record {index} is missing in {}: byte {offset} holds no whole frame, but byte {proof} proves that it was durable; \
         restore the file, or move the audit folder aside and keep it as evidence",
        path.display()
    )]
    Hole {
        /// Which segment.
        path: PathBuf,
        /// Where the missing record should stand.
        offset: u64,
        /// Its index.
        index: u64,
        /// Where the frame stands that was written after it had been durable.
        proof: u64,
    },
}

/// Why records were not written, and their effect must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no room at present; it may come back.
    #[error("the disk of the audit log is full")]
    Full,
    /// The journal has stopped for good.
    #[error("the audit log has stopped")]
    Stopped,
}

/// How a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes records.
    Working,
    /// It refuses records until there is room.
    Full,
    /// It refuses records for good: a write or a sync has failed, or it was closed.
    Stopped,
}

/// The durable log. Cheap to clone; all clones are one journal.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    blobs: BlobStore,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Whether the journal in `dir` could be opened as far as reading tells: its last segment is read through. Of one that
    /// is being written an instant may look damaged.
    ///
    /// # Errors
    /// As [`Journal::open`], for what is damaged or missing.
    pub fn examine(dir: &Path) -> Result<(), Error> {
        recover::examine(dir)
    }

    /// Opens the journal in `dir`, which is made if it is not there. A torn tail is put aside; that, and that a new
    /// epoch has begun, is recorded durably before this returns. Blocks on the disk.
    ///
    /// # Errors
    /// When another process has it open, the file system refuses, or records are missing that had been durable.
    pub fn open(dir: &Path, options: Options, ids: IdSource) -> Result<(Self, Recovery), Error> {
        let io = |source| Error::Io { dir: dir.to_owned(), source };
        let missing: Vec<&Path> = dir.ancestors().take_while(|folder| !is_there(folder)).collect();
        if !missing.is_empty() {
            options.disk.create_folder(dir).map_err(io)?;
        }
        // A folder is durable when its name is, in the folder above it, and so on up to one that was there.
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            options.disk.sync_folder(parent).map_err(io)?;
        }
        options.disk.create_folder(&super::layout::journal_dir(dir)).map_err(io)?;
        let lock = lock(dir)?;
        let blobs = BlobStore::prepare(dir, Arc::clone(&options.disk)).map_err(io)?;
        let tail = recover::recover(dir, &options)?;
        let recovery = Recovery { epoch: tail.epoch + 1, records: tail.index, torn: tail.torn.clone() };
        let retry = options.retry;
        let mut writer = Writer::new(dir, options, ids, blobs.clone(), tail).map_err(io)?;
        let mut events = vec![JournalEvent::Started { epoch: recovery.epoch, version: env!("CARGO_PKG_VERSION") }];
        if let Some(torn) = &recovery.torn {
            let file = torn.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            events.push(JournalEvent::Repaired { index: torn.index, bytes: torn.bytes, file });
        }
        let batch = writer.events(&events);
        writer.commit([&batch], true).map_err(|trouble| io(trouble.into()))?;
        let queue = Arc::new(Queue::new(recovery.epoch, writer.group_bytes_max(), retry));
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let queued = Arc::clone(&queue);
        let running = thread.spawn(move || {
            run(writer, &queued);
            // Only this thread writes, so whoever opens the folder from here on finds it at rest.
            drop(lock);
        });
        let writer = Mutex::new(Some(running.map_err(io)?));
        Ok((Self(Arc::new(Inner { queue, blobs, writer })), recovery))
    }

    /// Writes records, and gives up their effect once they are durable. Waits while the queue is full. When the
    /// caller goes away meanwhile the records may be written all the same; the effect is gone.
    ///
    /// # Errors
    /// [`AppendError`]; the effect is gone then too.
    pub async fn append<T>(&self, unrecorded: Unrecorded<T>) -> Result<T, AppendError> {
        let (sender, receiver) = oneshot::channel();
        let permit = self.0.queue.room(unrecorded.batch()).await?;
        let mut rouse = None;
        let pending = unrecorded.append(|batch| {
            let (ticket, asleep) = self.0.queue.push(batch, sender, permit)?;
            rouse = asleep;
            Ok::<_, AppendError>(position(self.epoch(), ticket))
        })?;
        if let Some(rouse) = rouse {
            rouse.after_the_others().await;
        }
        let receipt = receiver.await.unwrap_or(Err(AppendError::Stopped))?;
        pending.open(receipt).map_err(|_| AppendError::Stopped)
    }

    /// Writes records that nothing waits for: outcomes. They keep their place in the order, are readable soon, and
    /// durable with the next append.
    pub fn note(&self, batch: Batch) {
        self.0.queue.note(batch);
    }

    /// How the journal is, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.queue.status()
    }

    /// How many batches wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.queue.queued()
    }

    /// Where content too large for a record goes.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// Which opening of the journal this is.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.queue.epoch()
    }

    /// Writes what is queued, makes it durable, and ends the journal, for all clones. Blocks until that is done.
    pub fn close(&self) {
        self.0.queue.close();
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has stopped the journal already, and said so.
        let _ = writer.map(JoinHandle::join);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Whether a folder exists; the empty path is where we are.
fn is_there(folder: &Path) -> bool {
    folder.as_os_str().is_empty() || folder.exists()
}

/// The right to write in this folder.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is being started holds it too, for an instant.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<Lock, Error> {
    let io = |source| Error::Io { dir: dir.to_owned(), source };
    let lock =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock")).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The life of the writer's thread.
fn run(mut writer: Writer, queue: &Arc<Queue>) {
    // However this thread ends, nobody waits for it afterwards.
    let _stop = StopOnDrop(Arc::clone(queue));
    loop {
        let result = match queue.wait() {
            Work::Group(group) => write_group(&mut writer, queue, group),
            Work::Mend => mend(&mut writer, queue),
            Work::Close => {
                if let Err(trouble) = writer.close() {
                    tracing::error!(%trouble, "the journal could not be closed in order");
                }
                return;
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "the journal has stopped: no statement is let through until a restart");
            return;
        }
    }
}

/// Ends with an error when the journal must stop.
fn write_group(writer: &mut Writer, queue: &Queue, mut group: queue::Group) -> Result<(), io::Error> {
    if group.lost > 0 {
        let lost = writer.events(&[JournalEvent::OutcomesLost { count: group.lost }]);
        group.items.push(Item { batch: lost, waiter: None });
    }
    match writer.commit(group.items.iter().map(|item| &item.batch), group.sync) {
        Ok(()) if group.sync => {
            let waiters: Vec<Waiter> = group.items.into_iter().filter_map(|item| item.waiter).collect();
            let last = waiters.last().map_or(0, |waiter| waiter.ticket);
            let receipt = receipt(queue.epoch(), last);
            for waiter in waiters {
                waiter.tell(Ok(receipt));
            }
            Ok(())
        }
        Ok(()) => Ok(()),
        Err(Trouble::Full(error)) => {
            tracing::warn!(%error, "the disk of the audit log is full: statements are refused until there is room");
            queue.refuse(Refusal::Full, group.items);
            Ok(())
        }
        Err(Trouble::Broken(error)) => {
            queue.refuse(Refusal::Stopped, group.items);
            Err(error)
        }
    }
}

fn mend(writer: &mut Writer, queue: &Queue) -> Result<(), io::Error> {
    let mut refused = 0;
    let mended = writer.mend().and_then(|()| {
        // Whoever comes from here on waits for what is written after this record.
        refused = queue.reopen();
        writer.resumed(refused)
    });
    match mended {
        Ok(()) => {
            tracing::info!(refused, "the disk of the audit log has room again");
            queue.mended();
            Ok(())
        }
        Err(Trouble::Full(error)) => {
            tracing::debug!(%error, "the disk of the audit log is still full");
            queue.close_again(refused);
            Ok(())
        }
        Err(Trouble::Broken(error)) => Err(error),
    }
}

struct StopOnDrop(Arc<Queue>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.refuse(Refusal::Stopped, Vec::new());
    }
}

/// Where an append stands; ticket 0 is for what has no records, and no other receipt is that low.
#[expect(clippy::disallowed_methods, reason = "the journal is where positions come from")]
const fn position(epoch: u64, ticket: u64) -> Position {
    Position::new(epoch, ticket)
}

/// Minted only by [`write_group`], after the sync that covers every ticket up to this one, and for ticket 0.
///
/// A refused ticket below it has lost its effect already: [`Journal::append`] never lets a pending effect out.
#[expect(clippy::disallowed_methods, reason = "the journal is where receipts come from")]
const fn receipt(epoch: u64, ticket: u64) -> Receipt {
    Receipt::mint(Position::new(epoch, ticket))
}
