//! A disk that fails under the built program as a test says: `scripts/faults/faults.c`, loaded into the proxy.
//!
//! Promises: faults begin and end while the proxy runs; every call that writes, syncs or names a file of the trail is
//! counted, whoever makes it. The trail lies in memory, where no real disk adds faults of its own.
//! Deliberately not here: what must hold when it fails (`faults/`).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::process::PATIENCE;
use super::root;

/// Kinds of calls, as bits; `enum kind` of the library.
pub(crate) const OPEN: u64 = 1;
pub(crate) const WRITE: u64 = 2;
pub(crate) const SYNC: u64 = 4;
pub(crate) const SYNC_FOLDER: u64 = 8;
pub(crate) const SIZE: u64 = 16;
pub(crate) const RENAME: u64 = 32;
pub(crate) const UNLINK: u64 = 64;
pub(crate) const MKDIR: u64 = 128;

/// All that changes a disk.
pub(crate) const CHANGES: u64 = OPEN | WRITE | SYNC | SYNC_FOLDER | SIZE | RENAME | UNLINK | MKDIR;
/// What needs room.
pub(crate) const ROOM: u64 = OPEN | WRITE | SIZE | RENAME | MKDIR;

/// Parts of the trail, as bits; `enum part` of the library.
pub(crate) const JOURNAL: u64 = 1;
pub(crate) const BLOBS: u64 = 2;
/// The segment that is being prepared.
pub(crate) const SPARE: u64 = 8;
pub(crate) const WHOLE: u64 = 15;

/// What becomes of a call; `enum effect` of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Passes = 0,
    /// Nothing is done, and it fails.
    Fails = 1,
    /// A write takes half of the bytes, and says so.
    IsShort = 2,
    /// A write takes half of the bytes, and fails.
    FailsHalfway = 3,
    /// It waits for the effect to end.
    Waits = 4,
    KillsBefore = 5,
    KillsAfter = 6,
    /// It is done, and fails.
    FailsAfterwards = 7,
    /// A sync does nothing, and says that all is well.
    Lies = 8,
}

pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;
pub(crate) const EINTR: i32 = 4;

/// What happens to calls of some kinds on some part of the trail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) effect: Effect,
    pub(crate) error: i32,
    pub(crate) kinds: u64,
    pub(crate) parts: u64,
}

/// What a loss of power leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    /// What was synced.
    Synced,
    /// What was synced, and some of the sectors that were written besides; which ones, this number decides.
    Sectors(u64),
}

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// Places in the control file; `struct control` of the library.
const LOADED: u64 = 0;
const EFFECT: u64 = 1;
const SELECTED: u64 = 7;
const AFFECTED: u64 = 8;
const HELD: u64 = 9;
const STRANGE: u64 = 10;
const LAST: u64 = 11;
const CALLS: u64 = 12;
const WORDS: u64 = 21;

/// The disk below a proxy's trail.
pub(crate) struct BadDisk {
    /// Where the proxy believes its trail to be.
    trail: PathBuf,
    library: PathBuf,
    control_path: PathBuf,
    control: File,
    shadow: PathBuf,
    memory: tempfile::TempDir,
    is_shadowed: bool,
}

impl BadDisk {
    /// A disk for the trail in `folder`; one that is shadowed knows what a loss of power would leave of it.
    pub(crate) fn below(folder: &Path, is_shadowed: bool) -> Self {
        let memory = tempfile::Builder::new().prefix("safe-boundary-disk-").tempdir_in("/dev/shm").unwrap();
        let (trail, control_path, shadow) =
            (folder.join("audit"), memory.path().join("control"), memory.path().join("shadow"));
        let control = File::options().create_new(true).read(true).write(true).open(&control_path).unwrap();
        control.set_len(4096).unwrap();
        fs::create_dir(&shadow).unwrap();
        let disk = Self { trail, library: library(), control_path, control, shadow, memory, is_shadowed };
        disk.insert("disk-0");
        disk
    }

    /// Puts a new, empty disk in the place of the old one; gives the folder of the trail on it.
    pub(crate) fn insert(&self, name: &str) -> PathBuf {
        let place = self.memory.path().join(name);
        fs::create_dir(&place).unwrap();
        self.insert_again(&place);
        place
    }

    /// Puts a disk that was there before in the place of the present one.
    pub(crate) fn insert_again(&self, place: &Path) {
        fs::remove_file(&self.trail).ok();
        symlink(place, &self.trail).unwrap();
    }

    /// Puts a disk with what a loss of power has left in the place of the present one. The proxy must be dead.
    pub(crate) fn lose_power(&self, left: Left, name: &str) {
        let old = fs::canonicalize(&self.trail).unwrap();
        let new = self.insert(name);
        self.rebuild(fs::metadata(&old).unwrap().ino(), &old, &new, left);
        fs::remove_dir_all(&self.shadow).unwrap();
        fs::create_dir(&self.shadow).unwrap();
        self.shadow_all(&new);
        fs::remove_dir_all(old).unwrap();
    }

    /// What is durable of a folder goes into `to`; `folder` is where it was.
    fn rebuild(&self, inode: u64, folder: &Path, to: &Path, left: Left) {
        // A folder that was never synced has no names.
        let names = fs::read_to_string(self.shadow.join(format!("d{inode}"))).unwrap_or_default();
        for line in names.lines() {
            let mut words = line.splitn(3, ' ');
            let (inode, kind, name) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let (inode, target) = (inode.parse().unwrap(), to.join(name));
            if kind == "d" {
                fs::create_dir(&target).unwrap();
                self.rebuild(inode, &folder.join(name), &target, left);
                continue;
            }
            // A file that was never synced is empty.
            let mut content = fs::read(self.shadow.join(format!("i{inode}"))).unwrap_or_default();
            let written = folder.join(name);
            if let Left::Sectors(chance) = left
                && fs::metadata(&written).is_ok_and(|metadata| metadata.ino() == inode)
            {
                mix(&mut content, &fs::read(&written).unwrap(), chance ^ inode);
            }
            fs::write(&target, content).unwrap();
        }
    }

    /// All that is in a folder counts as synced.
    fn shadow_all(&self, folder: &Path) {
        let mut names = String::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (is_folder, inode) = (entry.file_type().unwrap().is_dir(), entry.ino());
            let kind = if is_folder { "d" } else { "f" };
            writeln!(names, "{inode} {kind} {}", entry.file_name().to_str().unwrap()).unwrap();
            if is_folder {
                self.shadow_all(&entry.path());
            } else {
                fs::copy(entry.path(), self.shadow.join(format!("i{inode}"))).unwrap();
            }
        }
        fs::write(self.shadow.join(format!("d{}", fs::metadata(folder).unwrap().ino())), names).unwrap();
    }

    /// What starts a proxy with the library in it: for that process alone, not for who starts it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let mut variables =
            vec![("LD_PRELOAD", &self.library), ("FAULTS_ROOT", &self.trail), ("FAULTS_CONTROL", &self.control_path)];
        variables.extend(self.is_shadowed.then_some(("FAULTS_SHADOW", &self.shadow)));
        let variables = variables.into_iter().map(|(name, path)| format!("{name}={}", path.display()));
        ["env".to_owned()].into_iter().chain(variables).collect()
    }

    /// Brings a fault over `count` calls, beginning with the one that is `from`, counted from now and from 1.
    pub(crate) fn bring(&self, fault: &Fault, from: u64, count: u64) {
        self.end();
        let error = u64::from(fault.error.unsigned_abs());
        for (place, word) in [fault.kinds, fault.parts, from, count, error, 0, 0].into_iter().enumerate() {
            self.put(EFFECT + 1 + place as u64, word);
        }
        self.put(EFFECT, fault.effect as u64);
    }

    /// From now on everything goes well.
    pub(crate) fn end(&self) {
        self.put(EFFECT, Effect::Passes as u64);
    }

    /// How many calls there were that a fault might have been meant for, since it was brought.
    pub(crate) fn selected(&self) -> u64 {
        self.word(SELECTED)
    }

    /// How many calls the fault has hit.
    pub(crate) fn affected(&self) -> u64 {
        self.word(AFFECTED)
    }

    /// The kinds of the call that a fault has hit last, and the part of the trail that it was for.
    pub(crate) fn last_hit(&self) -> (u64, u64) {
        let word = self.word(LAST);
        (word & 0xffff, word >> 16)
    }

    /// How many calls of one kind there were since the disk was made.
    pub(crate) fn calls(&self, kind: u64) -> u64 {
        self.word(CALLS + u64::from(kind.trailing_zeros()))
    }

    /// Waits until a call waits.
    pub(crate) fn wait_until_held(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.word(HELD) == 0 {
            assert!(Instant::now() < deadline, "no call came to be held");
            thread::yield_now();
        }
    }

    /// Every proxy had the library, and did nothing that it cannot follow.
    pub(crate) fn saw_everything(&self) {
        assert!(self.word(LOADED) > 0, "the library was never loaded");
        assert_eq!(self.word(STRANGE), 0, "calls that the library cannot follow");
    }

    fn put(&self, place: u64, word: u64) {
        self.control.write_all_at(&word.to_ne_bytes(), place * 8).unwrap();
    }

    fn word(&self, place: u64) -> u64 {
        assert!(place < WORDS);
        let mut raw = [0; 8];
        self.control.read_exact_at(&mut raw, place * 8).unwrap();
        u64::from_ne_bytes(raw)
    }
}

/// Puts some of the sectors in which `written` differs into `content`.
fn mix(content: &mut Vec<u8>, written: &[u8], seed: u64) {
    let mut random = seed;
    content.resize(content.len().max(written.len()), 0);
    for (durable, written) in content.chunks_mut(SECTOR).zip(written.chunks(SECTOR)) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (random >> 40) & 1 == 1 {
            durable[..written.len()].copy_from_slice(written);
        }
    }
}

/// The library, built when its source is newer.
fn library() -> PathBuf {
    let source = root().join("scripts/faults/faults.c");
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = tmp.join("faults.so");
    let lock = File::create(tmp.join("faults.lock")).unwrap();
    lock.lock().unwrap();
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&library) <= changed(&source) {
        let unfinished = tmp.join("faults.so.new");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&unfinished).arg(&source);
        assert!(cc.status().expect("run ./test: it installs what is needed").success(), "{cc:?}");
        fs::rename(&unfinished, &library).unwrap();
    }
    library
}
