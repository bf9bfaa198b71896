//! Every target with every file of its corpus, and with random changes of them: what `cargo fuzz` has found stays found.
//!
//! `FUZZ_ROUNDS` runs more changes for each target; bytes that fail are printed, and replayed when they are put into the
//! folder of the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fuzz_targets::table::TARGETS;

/// How many changed files each target gets.
const ROUNDS: u64 = 2_000;

/// How long the changes of one target may take all together.
const PATIENCE: Duration = Duration::from_secs(4);

/// A small generator of numbers, so that every run is the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end.max(1)
    }
}

fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name)
}

fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(corpus(name)).unwrap_or_else(|error| panic!("the corpus of {name}: {error}"));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A file with a few bytes changed, taken out, doubled, or taken from another file.
fn changed(dice: &mut Dice, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut raw = files[dice.below(files.len())].1.clone();
    raw.truncate(4096);
    for _ in 0..=dice.below(6) {
        let at = dice.below(raw.len() + 1);
        let end = (at + 1 + dice.below(16)).min(raw.len()).max(at);
        match dice.below(6) {
            0 => drop(raw.drain(at..end)),
            1 => drop(raw.splice(at..at, raw[at..end].to_vec())),
            2 => raw.insert(at, u8::try_from(dice.below(256)).unwrap()),
            3 => {
                let other = &files[dice.below(files.len())].1;
                let from = dice.below(other.len());
                raw.splice(at..end, other[from..(from + 40).min(other.len())].iter().copied());
            }
            _ if at < raw.len() => raw[at] ^= 1 << dice.below(8),
            _ => {}
        }
    }
    raw
}

fn run(name: &str, target: fn(&[u8]), from: &str, raw: &[u8]) {
    let begun = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(raw))) {
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name}: {from}, {} bytes: {hex}", raw.len());
        std::panic::resume_unwind(panic);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {from} takes {:?}", begun.elapsed());
}

fn replay(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let files = files(name);
    assert!(files.len() >= 3, "{name} has a corpus of {} files", files.len());
    for (file, raw) in &files {
        run(name, target, file, raw);
    }
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let (begun, mut dice, mut many) = (Instant::now(), Dice(0x9e37_79b9_7f4a_7c15), 0);
    while many < rounds.unwrap_or(ROUNDS) && (rounds.is_some() || begun.elapsed() < PATIENCE) {
        let raw = changed(&mut dice, &files);
        run(name, target, &format!("change {many}"), &raw);
        many += 1;
    }
    println!("{name}: {} files, {many} changes", files.len());
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!(TARGETS.map(|(name, _)| name).as_slice(), &[$(stringify!($name)),*]);
            let programs = fs::read_to_string(corpus("../Cargo.toml")).unwrap();
            for (name, _) in TARGETS {
                assert!(programs.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no program {name}");
            }
        }
    };
}

targets! {
    audit_reader audit_tail claims config conninfo discovery frame_backend frame_frontend key_set parameters pipeline
    sql_words startup times token upstream_login
}
