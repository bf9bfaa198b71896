//! A disk that loses power: of what was not synced, any part may be there afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::trail::disk::{DiskFile, DiskFolder, DurableFile};

/// What a disk writes or does not write as a whole.
const SECTOR: usize = 512;

/// An offset, and what is written there.
type Write = (u64, Vec<u8>);

#[derive(Debug, Default)]
struct State {
    operations: u64,
    /// When the power fails; nothing succeeds from then on.
    fail_at: u64,
    random: u64,
    /// Writes that were not synced, by file.
    writes: HashMap<u64, (PathBuf, Vec<Write>)>,
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
        if self.operations < self.fail_at {
            return Ok(());
        }
        if self.operations == self.fail_at {
            self.lose_power();
        }
        Err(io::Error::other("no power"))
    }

    fn chance(&mut self) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) & 1 == 1
    }

    fn lose_power(&mut self) {
        for (path, writes) in std::mem::take(&mut self.writes).into_values() {
            for (offset, bytes) in writes {
                let mut at = 0;
                while at < bytes.len() {
                    let in_sector = usize::try_from(offset).unwrap() + at;
                    let end = (at + SECTOR - in_sector % SECTOR).min(bytes.len());
                    if self.chance() {
                        write(&path, offset + at as u64, &bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
        for (new, old) in std::mem::take(&mut self.renames).into_iter().rev() {
            if self.chance() {
                std::fs::rename(&new, &old).unwrap();
            }
        }
        for path in std::mem::take(&mut self.created) {
            if path.exists() && self.chance() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

fn write(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

impl PowerDisk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn id(path: &Path, state: &mut State) -> u64 {
        let id = FILES.fetch_add(1, Ordering::Relaxed);
        state.writes.insert(id, (path.to_owned(), Vec::new()));
        id
    }

    fn file(&self, path: &Path, state: &mut State) -> Box<dyn DiskFile> {
        Box::new(PowerFile { disk: self.clone(), id: Self::id(path, state) })
    }
}

impl DiskFile for PowerFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some((_, writes)) = state.writes.get_mut(&self.id) {
            writes.push((offset, bytes.to_vec()));
        }
        state.next()
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        panic!("nothing is full here")
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.next()?;
        let Some((path, writes)) = state.writes.get_mut(&self.id) else { return Err(io::Error::other("no power")) };
        for (offset, bytes) in writes.drain(..) {
            write(path, offset, &bytes);
        }
        Ok(())
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
        state.next()?;
        state.renames.retain(|(new, _)| new.parent() != Some(&self.path));
        state.created.retain(|path| path.parent() != Some(&self.path));
        Ok(())
    }
}

impl DurableFile for PowerFile {
    fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(blocks, offset)?;
        let mut state = self.disk.state();
        // Only this: what was written by way of the page cache stays there.
        let Some((path, writes)) = state.writes.get_mut(&self.id) else { return Err(io::Error::other("no power")) };
        for (offset, bytes) in writes.drain(..) {
            write(path, offset, &bytes);
        }
        Ok(())
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
        state.writes.values_mut().filter(|(path, _)| path == from).for_each(|(path, _)| to.clone_into(path));
        if !replaces {
            state.renames.push((to.to_owned(), from.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.next()?;
        state.writes.retain(|_, (of, _)| of != path);
        RealDisk.remove(path)
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        Ok(Box::new(PowerFolder { disk: self.clone(), path: path.to_owned() }))
    }

    fn used_percent(&self, _: &Path) -> Option<u64> {
        None
    }
}

/// One life until the power fails; says what had a receipt, and how many operations there were.
fn live(dir: &Path, fail_at: u64, random: u64) -> (Vec<String>, u64) {
    let state = Arc::new(Mutex::new(State { fail_at, random, ..State::default() }));
    let disk = Arc::new(PowerDisk(Arc::clone(&state)));
    let options = Options { segment_bytes: 4 << 10, disk, ..small() };
    let mut receipts = Vec::new();
    if let Ok((journal, recovery)) = Journal::open(dir, options, IdSource::new([1; 6])) {
        run_to_end(async {
            for n in 0..16_u8 {
                let name = format!("{}/{n}", recovery.epoch);
                let mut records = if n % 6 == 5 { statement(&vec![b'0' + n; 17_000]) } else { Batch::default() };
                push(&mut records, Kind::End, &Body::End { reason: &name, statements: 0 });
                // Long notes, so that several frames are on their way at once.
                journal.note(batch(&"long note ".repeat(120)));
                journal.note(batch(&"long note ".repeat(120)));
                if journal.append(Unrecorded::new(records, ())).await.is_ok() {
                    receipts.push(name);
                }
            }
        });
        journal.close();
    }
    let operations = state.lock().unwrap().operations;
    (receipts, operations)
}

/// docs/threats.md c4, with a loss of power.
#[test]
fn whenever_the_power_fails_what_had_a_receipt_is_there() {
    let (receipts, operations) = live(folder().path(), u64::MAX, 0);
    assert_eq!(receipts.len(), 16);
    let mut torn = 0;
    for fail_at in 1..operations {
        let dir = folder();
        // Twice, so that a repaired journal is torn again.
        let mut receipts = live(dir.path(), fail_at, fail_at).0;
        receipts.extend(live(dir.path(), fail_at / 2 + 12, fail_at + 77).0);
        let what = format!("power lost at {fail_at} of {operations}");
        let opened = Journal::open(dir.path(), small(), IdSource::new([3; 6]));
        let (journal, recovery) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        torn += u64::from(recovery.torn.is_some());
        assert_eq!(append(&journal, batch("last")), Ok(()), "{what}");
        journal.close();
        let (exit, out) = verified(dir.path());
        assert_eq!(exit, Exit::Fine, "{what}: {out}");
        let readable = reasons(dir.path());
        let found: Vec<&String> = readable.iter().filter(|name| receipts.contains(name)).collect();
        assert!(found.into_iter().eq(&receipts), "{what}: {receipts:?} of {readable:?}");
    }
    assert!(torn > 10, "{torn}");
}
