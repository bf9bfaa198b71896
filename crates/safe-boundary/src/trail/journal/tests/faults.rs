//! A disk whose n-th operation fails, for every n.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::*;
use crate::trail::disk::{BLOCK_BYTES, DiskFile, DiskFolder, DurableFile};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No space, nothing done. Syncs go well.
    Full,
    /// No space after half of a write. Syncs go well.
    HalfThenFull,
    /// An IO error, nothing done.
    Io,
    /// An IO error after half of a write.
    HalfThenIo,
    /// Nothing can be opened. What is open goes well.
    NoDescriptors,
}

#[derive(Debug)]
struct FaultyDisk {
    operations: Arc<AtomicU64>,
    fail_at: u64,
    fault: Fault,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    disk: Arc<FaultyDisk>,
}

impl FaultyDisk {
    fn next(&self) -> io::Result<()> {
        if self.operations.fetch_add(1, Ordering::SeqCst) != self.fail_at {
            return Ok(());
        }
        Err(match self.fault {
            Fault::Full | Fault::HalfThenFull => io::ErrorKind::StorageFull.into(),
            Fault::Io | Fault::HalfThenIo => io::Error::from_raw_os_error(5),
            Fault::NoDescriptors => Errno::MFILE.into(),
        })
    }

    /// An operation on what is open.
    fn next_on_open(&self) -> io::Result<()> {
        match (self.next(), self.fault) {
            (Err(_), Fault::NoDescriptors) => Ok(()),
            (result, _) => result,
        }
    }

    /// An operation that no full disk can fail.
    fn next_sync(&self) -> io::Result<()> {
        match (self.next(), self.fault) {
            (Err(error), Fault::Io | Fault::HalfThenIo) => Err(error),
            _ => Ok(()),
        }
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.disk.next_on_open();
        match (&result, self.disk.fault) {
            (Ok(()), _) => self.file.write_at(bytes, offset),
            (Err(_), Fault::HalfThenFull | Fault::HalfThenIo) => {
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
                result
            }
            (Err(_), Fault::Full | Fault::Io | Fault::NoDescriptors) => result,
        }
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.next_sync()?;
        self.file.cut(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.next_sync()
    }
}

#[derive(Debug)]
struct FaultyFolder(Arc<FaultyDisk>);

impl DiskFolder for FaultyFolder {
    fn sync(&mut self) -> io::Result<()> {
        self.0.next_sync()
    }
}

impl DurableFile for FaultyFile {
    fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        assert_eq!((blocks.len() % BLOCK_BYTES, offset % BLOCK_BYTES as u64), (0, 0));
        self.write_at(blocks, offset)
    }
}

/// The trait on a shared disk, so that its files can share it too.
#[derive(Debug)]
struct Shared(Arc<FaultyDisk>);

impl Disk for Shared {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.next()?;
        Ok(Box::new(FaultyFile { file: RealDisk.create(path)?, disk: Arc::clone(&self.0) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.next()?;
        Ok(Box::new(FaultyFile { file: RealDisk.open(path)?, disk: Arc::clone(&self.0) }))
    }

    fn open_durable(&self, path: &Path) -> Option<Box<dyn DurableFile>> {
        self.0.next().ok()?;
        Some(Box::new(FaultyFile { file: RealDisk.open(path).ok()?, disk: Arc::clone(&self.0) }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.next_on_open()?;
        RealDisk.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.next_on_open()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.next_sync()?;
        RealDisk.remove(path)
    }

    fn open_folder(&self, _: &Path) -> io::Result<Box<dyn DiskFolder>> {
        match (self.0.next(), self.0.fault) {
            // That takes no room.
            (Err(_), Fault::Full | Fault::HalfThenFull) | (Ok(()), _) => {}
            (Err(error), Fault::Io | Fault::HalfThenIo | Fault::NoDescriptors) => return Err(error),
        }
        Ok(Box::new(FaultyFolder(Arc::clone(&self.0))))
    }

    fn used_percent(&self, _: &Path) -> Option<u64> {
        Some(99)
    }
}

/// What one life of a journal on a faulty disk gave.
struct Life {
    receipts: Vec<String>,
    refused: Vec<String>,
    operations: u64,
    /// Whether it ended stopped before it was closed.
    stopped: bool,
}

/// Opens a journal, appends through several segments, with notes and blobs, and waits out a full disk.
fn live(dir: &Path, fault: Fault, fail_at: u64) -> Life {
    let operations = Arc::new(AtomicU64::new(0));
    let disk = Arc::new(FaultyDisk { operations: Arc::clone(&operations), fail_at, fault });
    let disk = Arc::new(Shared(disk));
    let options = Options { segment_bytes: 4 << 10, retry: Duration::from_millis(1), disk, ..small() };
    let mut life = Life { receipts: Vec::new(), refused: Vec::new(), operations: 0, stopped: false };
    let Ok((journal, _)) = Journal::open(dir, options, IdSource::new([1; 6])) else { return life };
    let mut status = journal.status();
    run_to_end(async {
        for n in 0..24 {
            let name = format!("record {n}");
            let mut records = if n % 6 == 5 { statement(&vec![b'0' + n; 17_000]) } else { Batch::default() };
            push(&mut records, Kind::End, &Body::End { reason: &name, statements: 0 });
            journal.note(batch("noted"));
            match journal.append(Unrecorded::new(records, ())).await {
                Ok(()) => life.receipts.push(name),
                Err(AppendError::Full) => {
                    life.refused.push(name);
                    // It mends itself.
                    status.wait_for(|status| *status != Status::Full).await.unwrap();
                }
                Err(AppendError::Stopped) => {
                    life.refused.push(name);
                    life.stopped = true;
                }
            }
        }
    });
    journal.close();
    life.operations = operations.load(Ordering::SeqCst);
    life
}

/// docs/threats.md c1, c2.
#[test]
fn whatever_operation_fails_no_receipt_is_wrong_and_the_journal_can_be_opened_again() {
    let operations = live(folder().path(), Fault::Io, u64::MAX).operations;
    assert!(operations > 80, "{operations}");
    for fault in [Fault::Full, Fault::HalfThenFull, Fault::Io, Fault::HalfThenIo, Fault::NoDescriptors] {
        let mut stopped = 0;
        let mut refused = 0;
        for fail_at in 0..operations {
            let dir = folder();
            let life = live(dir.path(), fault, fail_at);
            let what = format!("{fault:?} at {fail_at} of {operations}");
            assert!(
                !life.stopped || matches!(fault, Fault::Io | Fault::HalfThenIo),
                "{what}: neither a full disk nor a want of descriptors stops anything"
            );
            if life.stopped {
                let first = life.refused.first().unwrap();
                let later = life.receipts.iter().find(|name| name.len() == first.len() && *name > first);
                assert_eq!(later, None, "{what}: nothing after a failure has a receipt");
            }
            stopped += u64::from(life.stopped);
            refused += u64::from(!life.refused.is_empty() && !life.stopped);
            let (journal, _) = Journal::open(dir.path(), small(), IdSource::new([3; 6]))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(append(&journal, batch("last")), Ok(()), "{what}");
            journal.close();
            let (exit, out) = verified(dir.path());
            assert_eq!(exit, Exit::Fine, "{what}: {out}");
            let readable: Vec<String> =
                reasons(dir.path()).into_iter().filter(|reason| reason.starts_with("record")).collect();
            let receipted: Vec<&String> = readable.iter().filter(|name| life.receipts.contains(name)).collect();
            assert!(receipted.into_iter().eq(&life.receipts), "{what}: {:?} of {readable:?}", life.receipts);
            if !life.stopped {
                let wrong: Vec<&String> = readable.iter().filter(|name| life.refused.contains(name)).collect();
                assert!(wrong.is_empty(), "{what}: {wrong:?} were refused for want of room, and are there");
                let resumed = events(dir.path()).contains(&"resumed".to_owned());
                assert_eq!(resumed, !life.refused.is_empty(), "{what}: the record says that there was no room");
            }
        }
        match fault {
            Fault::Full | Fault::HalfThenFull => assert!(refused > 10, "{fault:?}: {refused}"),
            Fault::Io | Fault::HalfThenIo => assert!(stopped > 30, "{fault:?}: {stopped}"),
            // Segments and blobs to be made, and folders of blobs to be synced.
            Fault::NoDescriptors => assert!(refused > 10, "{refused}"),
        }
    }
}

#[test]
fn what_a_full_disk_took_half_of_a_long_frame_leaves_nothing_behind_shorter_ones() {
    let mut refused = 0;
    for fail_at in 0..60 {
        let dir = folder();
        let disk = FaultyDisk { operations: Arc::default(), fail_at, fault: Fault::HalfThenFull };
        let disk = Arc::new(Shared(Arc::new(disk)));
        let options = Options { retry: Duration::from_millis(1), disk, ..small() };
        let Ok((journal, _)) = Journal::open(dir.path(), options, IdSource::new([1; 6])) else { continue };
        if append(&journal, batch(&"long ".repeat(2000))) == Err(AppendError::Full) {
            refused += 1;
            run_to_end(async { journal.status().wait_for(|status| *status == Status::Working).await.map(drop) })
                .unwrap();
        }
        journal.close();
        let (exit, out) = verified(dir.path());
        assert_eq!(exit, Exit::Fine, "{fail_at}: {out}");
    }
    assert!(refused > 0);
}

/// Those too who come while it is being tried whether there is room again, and written down that there is.
#[test]
fn everybody_who_is_refused_for_want_of_room_is_counted() {
    let mut refused_in_all = 0;
    for fail_at in 8..40 {
        let dir = folder();
        let disk = FaultyDisk { operations: Arc::default(), fail_at, fault: Fault::Full };
        let disk = Arc::new(Shared(Arc::new(disk)));
        let options = Options { retry: Duration::from_millis(1), disk, segment_bytes: 4 << 10, ..small() };
        let Ok((journal, _)) = Journal::open(dir.path(), options, IdSource::new([1; 6])) else { continue };
        let (mut refused, mut taken) = (0, 0);
        run_to_end(async {
            while taken < 30 {
                match journal.append(Unrecorded::new(batch("one more"), ())).await {
                    Ok(()) => taken += 1,
                    Err(AppendError::Full) => refused += 1,
                    Err(AppendError::Stopped) => panic!("there is only no room"),
                }
            }
        });
        journal.close();
        let values = read_all(dir.path()).into_iter().map(|entry| serde_json::from_slice(&entry.bytes).unwrap());
        let told: u64 = values.filter_map(|value: serde_json::Value| value["journal"]["refused"].as_u64()).sum();
        assert_eq!(told, refused, "at {fail_at}");
        refused_in_all += refused;
    }
    assert!(refused_in_all > 0);
}
