//! A disk that loses power: of what was not synced, any part may be there afterwards. It may have been full before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::trail::disk::{DiskFile, DiskFolder, DurableFile};

/// What a disk writes or does not write as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    fn chance(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn up_to(&mut self, most: u16) -> usize {
        usize::try_from(self.next() % (u64::from(most) + 1)).unwrap()
    }
}

/// What was done to a file and is not durable yet.
#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    /// When the power fails; nothing succeeds from then on.
    fail_at: u64,
    /// When the disk is full, for one operation: a write then comes to half of it.
    full_at: u64,
    random: Random,
    /// Changes that were not synced, by file.
    changes: HashMap<u64, (PathBuf, Vec<Change>)>,
    /// Names that were given and whose folder was not synced: the new one, and the old one.
    renames: Vec<(PathBuf, PathBuf)>,
    created: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
struct PowerDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    id: u64,
}

static FILES: AtomicU64 = AtomicU64::new(0);

impl State {
    fn next(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.has_power() {
            return if self.operations == self.full_at { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        }
        if self.operations == self.fail_at {
            self.lose_power();
        }
        Err(io::Error::other("no power"))
    }

    fn has_power(&self) -> bool {
        self.operations < self.fail_at
    }

    /// An operation that no full disk can fail.
    fn next_without_room(&mut self) -> io::Result<()> {
        self.next().or_else(|error| if error.kind() == io::ErrorKind::StorageFull { Ok(()) } else { Err(error) })
    }

    fn make_durable(&mut self, id: u64) -> io::Result<()> {
        let Some((path, changes)) = self.changes.get_mut(&id) else { return Err(io::Error::other("no power")) };
        changes.drain(..).for_each(|change| change.make(path));
        Ok(())
    }

    fn lose_power(&mut self) {
        for (path, changes) in std::mem::take(&mut self.changes).into_values() {
            for change in changes {
                let Change::Write(offset, bytes) = change else {
                    if self.random.chance() {
                        change.make(&path);
                    }
                    continue;
                };
                let mut at = 0;
                while at < bytes.len() {
                    let in_sector = usize::try_from(offset).unwrap() + at;
                    let end = (at + SECTOR - in_sector % SECTOR).min(bytes.len());
                    if self.random.chance() {
                        write(&path, offset + at as u64, &bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
        for (new, old) in std::mem::take(&mut self.renames).into_iter().rev() {
            if self.random.chance() {
                std::fs::rename(&new, &old).unwrap();
            }
        }
        for path in std::mem::take(&mut self.created) {
            if path.exists() && self.random.chance() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

fn write(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

impl Change {
    fn make(&self, path: &Path) {
        match self {
            Self::Write(offset, bytes) => write(path, *offset, bytes),
            Self::Cut(bytes) => File::options().write(true).open(path).unwrap().set_len(*bytes).unwrap(),
        }
    }
}

impl PowerDisk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn id(path: &Path, state: &mut State) -> u64 {
        let id = FILES.fetch_add(1, Ordering::Relaxed);
        state.changes.insert(id, (path.to_owned(), Vec::new()));
        id
    }

    fn file(&self, path: &Path, state: &mut State) -> Box<dyn DiskFile> {
        Box::new(PowerFile { disk: self.clone(), id: Self::id(path, state) })
    }
}

impl DiskFile for PowerFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        // When the power fails, it fails within this.
        let is_full = state.operations + 1 == state.full_at && state.full_at < state.fail_at;
        let written = if is_full { &bytes[..bytes.len() / 2] } else { bytes };
        if let Some((_, changes)) = state.changes.get_mut(&self.id) {
            changes.push(Change::Write(offset, written.to_vec()));
        }
        state.next()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some((_, changes)) = state.changes.get_mut(&self.id) {
            changes.push(Change::Cut(bytes));
        }
        state.next_without_room()
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.next_without_room()?;
        state.make_durable(self.id)
    }
}

#[derive(Debug)]
struct PowerFolder {
    disk: PowerDisk,
    path: PathBuf,
}

impl DiskFolder for PowerFolder {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.next_without_room()?;
        state.renames.retain(|(new, _)| new.parent() != Some(&self.path));
        state.created.retain(|path| path.parent() != Some(&self.path));
        Ok(())
    }
}

impl DurableFile for PowerFile {
    fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let result = self.write_at(blocks, offset);
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::StorageFull) {
            return result;
        }
        // Only this: what was written by way of the page cache stays there.
        self.disk.state().make_durable(self.id)?;
        result
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.next()?;
        drop(RealDisk.create(path)?);
        state.created.push(path.to_owned());
        Ok(self.file(path, &mut state))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.next()?;
        Ok(self.file(path, &mut state))
    }

    fn open_durable(&self, path: &Path) -> Option<Box<dyn DurableFile>> {
        let mut state = self.state();
        let id = Self::id(path, &mut state);
        Some(Box::new(PowerFile { disk: self.clone(), id }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.state().next()?;
        RealDisk.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.next()?;
        // A blob that is there already is replaced by the same: whichever of the two stays.
        let replaces = to.exists();
        RealDisk.rename(from, to)?;
        state.created.retain(|path| path != from);
        state.changes.values_mut().filter(|(path, _)| path == from).for_each(|(path, _)| to.clone_into(path));
        if !replaces {
            state.renames.push((to.to_owned(), from.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.next()?;
        state.changes.retain(|_, (of, _)| of != path);
        RealDisk.remove(path)
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        Ok(Box::new(PowerFolder { disk: self.clone(), path: path.to_owned() }))
    }

    fn used_percent(&self, _: &Path) -> Option<u64> {
        None
    }
}

/// What a journal lives through.
#[derive(Clone, Copy, Debug)]
struct Life {
    segment_bytes: u64,
    /// How many long notes go before what is appended, so that several frames are on their way at once.
    notes: usize,
    /// What is appended is up to this long.
    record_bytes: u16,
    /// The operation that finds the disk full.
    full_at: u64,
    /// The operation in which the power fails.
    fail_at: u64,
    random: u64,
}

/// What came of a life.
#[derive(Debug, Default)]
struct Outcome {
    receipts: Vec<String>,
    refused: usize,
    operations: u64,
}

impl Life {
    /// Nothing happens in it.
    const CALM: Self =
        Self { segment_bytes: 4 << 10, notes: 2, record_bytes: 0, full_at: u64::MAX, fail_at: u64::MAX, random: 0 };

    fn live(self, dir: &Path) -> Outcome {
        let state =
            State { full_at: self.full_at, fail_at: self.fail_at, random: Random(self.random), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let disk = Arc::new(PowerDisk(Arc::clone(&state)));
        let options = Options { segment_bytes: self.segment_bytes, disk, retry: Duration::ZERO, ..small() };
        let (mut outcome, mut lengths) = (Outcome::default(), Random(self.random));
        if let Ok((journal, recovery)) = Journal::open(dir, options, IdSource::new([1; 6])) {
            let status = journal.status();
            run_to_end(async {
                for n in 0..16_u8 {
                    let name = format!("{}/{n}", recovery.epoch);
                    let mut records = if n % 6 == 5 { statement(&vec![b'0' + n; 17_000]) } else { Batch::default() };
                    push(&mut records, Kind::End, &Body::End { reason: &name, statements: 0 });
                    let long = "x".repeat(lengths.up_to(self.record_bytes));
                    push(&mut records, Kind::End, &Body::End { reason: &long, statements: 0 });
                    for _ in 0..self.notes {
                        journal.note(batch(&"long note ".repeat(120)));
                    }
                    match journal.append(Unrecorded::new(records, ())).await {
                        Ok(()) => outcome.receipts.push(name),
                        Err(AppendError::Full) => {
                            outcome.refused += 1;
                            // It mends itself, unless the power fails.
                            while *status.borrow() == Status::Full && state.lock().unwrap().has_power() {
                                tokio::task::yield_now().await;
                            }
                        }
                        Err(AppendError::Stopped) => {}
                    }
                }
            });
            journal.close();
        }
        outcome.operations = state.lock().unwrap().operations;
        outcome
    }
}

/// Opens the journal again, goes on with it, and finds all that had a receipt.
fn all_there(dir: &Path, receipts: &[String], what: &str) -> Recovery {
    let opened = Journal::open(dir, small(), IdSource::new([3; 6]));
    let (journal, recovery) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(append(&journal, batch("last")), Ok(()), "{what}");
    journal.close();
    let (exit, out) = verified(dir);
    assert_eq!(exit, Exit::Fine, "{what}: {out}");
    let readable = reasons(dir);
    let found: Vec<&String> = readable.iter().filter(|name| receipts.contains(name)).collect();
    assert!(found.into_iter().eq(receipts), "{what}: {receipts:?} of {readable:?}");
    recovery
}

/// docs/threats.md c4, with a loss of power.
#[test]
fn whenever_the_power_fails_what_had_a_receipt_is_there() {
    let calm = Life::CALM.live(folder().path());
    assert_eq!(calm.receipts.len(), 16);
    let mut torn = 0;
    for fail_at in 1..calm.operations {
        let dir = folder();
        // Twice, so that a repaired journal is torn again.
        let mut receipts = Life { fail_at, random: fail_at, ..Life::CALM }.live(dir.path()).receipts;
        let again = Life { fail_at: fail_at / 2 + 12, random: fail_at + 77, ..Life::CALM };
        receipts.extend(again.live(dir.path()).receipts);
        let what = format!("power lost at {fail_at} of {}", calm.operations);
        torn += u64::from(all_there(dir.path(), &receipts, &what).torn.is_some());
    }
    assert!(torn > 10, "{torn}");
}

/// What a failed write left is made zero again, and stays so once another segment has begun.
#[test]
fn whenever_the_power_fails_after_the_disk_was_full_what_had_a_receipt_is_there() {
    // Frames of several blocks: one that failed reaches further than what is written in its place. Without notes each frame
    // is written durably at once, and nothing else needs a sync.
    let wide = Life { segment_bytes: 16 << 10, notes: 0, record_bytes: 14 << 10, ..Life::CALM };
    let calm = wide.live(folder().path());
    let mut refused = 0;
    for full_at in 1..calm.operations {
        for later in [1, 2, 3, 5, 8, 13, 21] {
            let dir = folder();
            let life = Life { full_at, fail_at: full_at + later, random: full_at * later, ..wide };
            let outcome = life.live(dir.path());
            refused += outcome.refused;
            all_there(dir.path(), &outcome.receipts, &format!("{life:?}"));
        }
    }
    assert!(refused > 100, "{refused}");
}
