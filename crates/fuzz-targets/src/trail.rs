//! The audit trail as it lies on a disk that anybody may have written to.
//!
//! Promises: records that were written are read back the same; a change to them is found; nothing that a record says
//! reaches a terminal or a spreadsheet as a command; reading ends.
//! Deliberately not here: failing disks (`trail/journal/tests`), and who may write to the folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use arbitrary::Unstructured;
use clap::Parser;
use domain::audit::id::IdSource;
use jiff::Timestamp;
use safe_boundary::cli::audit::{AuditArgs, AuditCommand, export, search};
use safe_boundary::cli::exit::Exit;
use safe_boundary::strangers::verify_at_rest;
use safe_boundary::trail::journal::{Journal, Options};
use safe_boundary::trail::layout::{FrameHeader, Records, SegmentHeader, aligned, journal_dir, segment_path};
use safe_boundary::trail::read::Reader;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tlog::hash::{Hash, chain, leaf};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    audit: AuditArgs,
}

/// A trail of a few segments, made without a disk's delays.
struct Made {
    dir: TempDir,
    segments: Vec<PathBuf>,
    records: Vec<Vec<u8>>,
    head: Hash,
}

/// A folder in memory where there is one.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder")
}

impl Made {
    fn new(frames: &[Vec<Vec<u8>>], cuts: u8) -> Self {
        let dir = folder();
        fs::create_dir_all(journal_dir(dir.path())).unwrap();
        let mut made = Self { dir, segments: Vec::new(), records: Vec::new(), head: Hash::default() };
        let mut bytes = Vec::new();
        for (number, records) in frames.iter().enumerate() {
            let ends_segment = cuts.rotate_left(number as u32) & 1 == 1;
            if bytes.is_empty() {
                let header = SegmentHeader { epoch: 1, first: made.records.len() as u64, chain: made.head };
                bytes.extend(header.encode());
                made.segments.push(segment_path(made.dir.path(), header.first));
            }
            made.frame(&mut bytes, records);
            if ends_segment || number + 1 == frames.len() {
                // What was preallocated.
                bytes.resize(bytes.len() + 64, 0);
                fs::write(made.segments.last().unwrap(), &bytes).unwrap();
                bytes.clear();
            }
        }
        made
    }

    fn frame(&mut self, bytes: &mut Vec<u8>, records: &[Vec<u8>]) {
        let first = self.records.len() as u64;
        let mut payload = Vec::new();
        for record in records {
            payload.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
            payload.extend(record);
            self.head = chain(&self.head, &leaf(record));
            self.records.push(record.clone());
        }
        let (count, bytes_of) = (u32::try_from(records.len()).unwrap(), u32::try_from(payload.len()).unwrap());
        let mut seen = Records::default();
        assert!(seen.follow(&payload) && seen.are(&payload, count));
        let header = FrameHeader { payload: bytes_of, count, epoch: 1, first, durable: first, chain: self.head };
        assert_eq!(FrameHeader::decode(&header.encode()), Some(header));
        let start = usize::try_from(aligned(bytes.len() as u64)).unwrap();
        bytes.resize(start, 0);
        bytes.extend(header.encode());
        bytes.extend(payload);
    }
}

/// What comes of reading to the end or to the first error; the number of steps is bounded by the bytes there are.
fn read_all(dir: &Path) -> (Vec<Vec<u8>>, bool) {
    let mut all = Vec::new();
    let Ok(mut reader) = Reader::open(dir) else { return (all, false) };
    for _ in 0..100_000 {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                assert_eq!(entry.index, all.len() as u64);
                all.push(entry.bytes);
            }
            Ok(None) => return (all, reader.check_rest().is_ok()),
            Err(_) => return (all, false),
        }
    }
    panic!("it never ends");
}

fn verify(dir: &Path) -> (bool, String) {
    let mut out = Vec::new();
    let exit = verify_at_rest(dir, &mut out);
    (matches!(exit, Ok(Exit::Fine)), String::from_utf8(out).expect("what is printed is text"))
}

/// Records of the fuzzer, some of them like ours, in frames and segments; then one change to one file.
pub fn audit_reader(raw: &[u8]) {
    let mut input = Unstructured::new(raw);
    let Ok((frames, blobs)) = frames(&mut input) else { return };
    let cuts: u8 = input.arbitrary().unwrap_or_default();
    let made = Made::new(&frames, cuts);
    if made.records.is_empty() {
        return;
    }
    store(made.dir.path(), &blobs);
    let (read, is_whole) = read_all(made.dir.path());
    assert!(is_whole && read == made.records, "what was written is read back");
    let (_, told) = verify(made.dir.path());
    assert!(!told.contains("damaged at"), "{told}");
    if let Ok(words) = input.choose(&VIEWS) {
        show(made.dir.path(), words, made.records.len());
    }
    change(&made, &mut input);
}

type Frames = (Vec<Vec<Vec<u8>>>, Vec<Vec<u8>>);

fn frames(input: &mut Unstructured<'_>) -> arbitrary::Result<Frames> {
    let mut blobs = Vec::new();
    let mut frames = Vec::new();
    for _ in 0..input.int_in_range(1..=4)? {
        let mut records = Vec::new();
        for _ in 0..input.int_in_range(1..=4)? {
            records.push(record(input, &mut blobs)?);
        }
        frames.push(records);
    }
    Ok((frames, blobs))
}

/// A record: bytes that may stand in one, or one of our kinds with texts of the fuzzer in it.
fn record(input: &mut Unstructured<'_>, blobs: &mut Vec<Vec<u8>>) -> arbitrary::Result<Vec<u8>> {
    if input.ratio(1, 4)? {
        let length = input.int_in_range(0..=200)?;
        let bytes = input.bytes(length.min(input.len()))?.iter().copied().filter(|byte| *byte >= b' ');
        return Ok(b"x".iter().copied().chain(bytes).collect());
    }
    let kind = *input.choose(&["statement", "outcome", "login", "connect", "end", "journal", "denied", "cancel"])?;
    let id = input.int_in_range(0..=3_u8)?;
    let text: &str = input.arbitrary()?;
    let mut record = serde_json::json!({
        "v": 1, "id": format!("id{id}"), "of": format!("id{}", input.int_in_range(0..=3_u8)?), "kind": kind,
        "time": "2026-11-03T09:00:00Z", "database": text, "role": "rw", "subject": { "login": text },
        "outcome": { "result": *input.choose(&["ok", "error", "suspended"])?, "message": text },
        "statement": { "protocol": "simple", "text": text },
    });
    if input.ratio(1, 3)? {
        let bytes = text.as_bytes().to_vec();
        let length = if input.ratio(1, 4)? { input.arbitrary::<u64>()? } else { bytes.len() as u64 };
        record["statement"]["text"] =
            serde_json::json!({ "sha256": Hash(Sha256::digest(&bytes).into()).to_string(), "bytes": length });
        blobs.push(bytes);
    }
    Ok(record.to_string().into_bytes())
}

fn store(dir: &Path, blobs: &[Vec<u8>]) {
    for blob in blobs {
        let path = safe_boundary::trail::blob::blob_path(dir, &Hash(Sha256::digest(blob).into()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, blob).unwrap();
    }
}

/// Ways to look at a trail; the last word says what is printed.
const VIEWS: [&[&str]; 6] = [
    &["search"],
    &["search", "--wide"],
    &["search", "--json"],
    &["search", "--csv"],
    &["export", "--format", "json"],
    &["export", "--format", "csv"],
];

/// Searches or exports: nothing printed can command a terminal or a spreadsheet, and lines stay lines.
fn show(dir: &Path, words: &[&str], records: usize) {
    let line = [&["x"], words].concat().into_iter().map(OsString::from);
    let line = Line::try_parse_from(line).expect("a command");
    let mut out = Vec::new();
    let shown = match &line.audit.command {
        AuditCommand::Search(args) => search::run(dir, args, &mut out),
        AuditCommand::Export(args) => export::run(dir, args, &mut out),
        AuditCommand::Verify(_) | AuditCommand::Tail(_) => return,
    };
    shown.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    let text = String::from_utf8_lossy(&out);
    match words.last() {
        // Records as they were written, whatever they are, but one a line.
        Some(&"json") => assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), records),
        Some(&"--json") => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            assert!(lines.len() <= records);
            assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text:?}");
        }
        last => {
            let command = |c: char| c.is_control() && c != '\n' && c != '\t' && c != '\r';
            assert!(!text.contains(command), "{words:?}: {text:?}");
            let formula = |line: &str| line.split(',').any(|cell| cell.starts_with(['=', '+', '@']));
            assert!(!last.is_some_and(|word| word.ends_with("csv")) || !text.lines().any(formula), "{text:?}");
        }
    }
}

/// One change to one segment: what can still be read is what was written, and `verify` says that something is wrong.
fn change(made: &Made, input: &mut Unstructured<'_>) {
    let Ok(segment) = input.choose(&made.segments) else { return };
    let before = fs::read(segment).unwrap();
    let mut after = before.clone();
    let Ok(how) = input.int_in_range(0..=4_u8) else { return };
    let Ok(at) = input.int_in_range(0..=before.len() - 1) else { return };
    match how {
        0 => after[at] ^= 1 << input.int_in_range(0..=7).unwrap_or(0),
        1 => after.truncate(at),
        2 => drop(after.splice(at..at, input.bytes(input.len().min(16)).unwrap_or_default().iter().copied())),
        3 => after[at..].fill(0),
        _ => after = input.bytes(input.len()).unwrap_or_default().to_vec(),
    }
    fs::write(segment, &after).unwrap();
    let (read, is_whole) = read_all(made.dir.path());
    assert!(made.records.starts_with(&read), "records that nobody wrote");
    // Zeros behind the last frame may come and go; and without a head from outside, the end may be cut off.
    let (sound, told) = verify(made.dir.path());
    if read != made.records && made.segments.last() != Some(segment) {
        assert!(!sound && !is_whole, "{told}");
    }
    if how == 0 {
        assert!(!sound, "a flipped bit is not found: {told}");
    }
}

/// Any bytes behind the records of a journal that is opened again: it starts, or says why not, and then it verifies.
pub fn audit_tail(raw: &[u8]) {
    let made = Made::new(&[vec![b"{\"kind\":\"end\"}".to_vec()], vec![b"{}".to_vec(), b"{}".to_vec()]], 0);
    let segment = made.segments.last().unwrap();
    let mut bytes = fs::read(segment).unwrap();
    bytes.truncate(bytes.len() - 64);
    let keep = raw.first().map_or(0, |byte| usize::from(*byte) % 90);
    bytes.truncate(bytes.len() - keep);
    bytes.extend(raw.get(1..).unwrap_or_default());
    bytes.resize(bytes.len() + 128, 0);
    fs::write(segment, &bytes).unwrap();
    let options = Options { segment_bytes: 8 << 10, clock: || Timestamp::UNIX_EPOCH, ..Options::new("n".to_owned()) };
    let Ok((journal, recovery)) = Journal::open(made.dir.path(), options, IdSource::new([1; 6])) else { return };
    journal.close();
    drop(journal);
    let (read, is_whole) = read_all(made.dir.path());
    assert!(is_whole);
    let kept = usize::try_from(recovery.records).unwrap().min(made.records.len());
    assert_eq!(read[..kept], made.records[..kept]);
    assert!(keep > 0 || kept == made.records.len(), "whole records are kept");
    let (sound, told) = verify(made.dir.path());
    assert!(sound, "{told}");
}
