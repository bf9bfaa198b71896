use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use domain::audit::pending::Unrecorded;
use domain::audit::record::{Batch, Body, Content, Context, Head, Kind, Protocol, Statement};
use tempfile::TempDir;

use super::*;
use crate::cli::audit::verify;
use crate::cli::exit::Exit;
use crate::trail::layout::{self, FrameHeader};
use crate::trail::read::{Entry, Reader};

mod damage;
mod faults;
mod power;
mod tail;

/// A folder in memory where there is one: these tests do not measure disks.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(dir: &Path, options: Options) -> (Journal, Recovery) {
    Journal::open(dir, options, IdSource::new([1; 6])).unwrap()
}

fn small() -> Options {
    Options { segment_bytes: 16 << 10, ..Options::new("test".to_owned()) }
}

/// A batch of one record that ends a session for this reason.
fn batch(reason: &str) -> Batch {
    let mut batch = Batch::default();
    push(&mut batch, Kind::End, &Body::End { reason, statements: 0 });
    batch
}

fn push(batch: &mut Batch, kind: Kind, body: &Body<'_>) {
    let (id, time) = (IdSource::new([2; 6]).record(Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH);
    let head = Head { id, time, node: "test", kind, session: None, seq: 0 };
    batch.push(&head, &Context::default(), body);
}

/// A batch of one statement; a long one goes to a blob.
fn statement(text: &[u8]) -> Batch {
    let statement = Statement::new(Protocol::Simple, Some(Content::Bytes(text)));
    let mut batch = Batch::default();
    push(&mut batch, Kind::Statement, &Body::Statement(&statement));
    batch
}

fn read_all(dir: &Path) -> Vec<Entry> {
    let mut reader = Reader::open(dir).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    reader.check_rest().unwrap();
    entries
}

/// The reasons of all records that end a session.
fn reasons(dir: &Path) -> Vec<String> {
    let value = |entry: Entry| serde_json::from_slice::<serde_json::Value>(&entry.bytes).unwrap();
    read_all(dir).into_iter().map(value).filter_map(|value| value["reason"].as_str().map(str::to_owned)).collect()
}

/// The names of the journal's own records.
fn events(dir: &Path) -> Vec<String> {
    let value = |entry: Entry| serde_json::from_slice::<serde_json::Value>(&entry.bytes).unwrap();
    let values = read_all(dir).into_iter().map(value);
    values.filter_map(|value| value["journal"]["event"].as_str().map(str::to_owned)).collect()
}

fn verified(dir: &Path) -> (Exit, String) {
    let mut out = Vec::new();
    let exit = verify::run_once(dir, &verify::Args::default(), &mut out).unwrap();
    (exit, String::from_utf8(out).unwrap())
}

fn run_to_end<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn append(journal: &Journal, batch: Batch) -> Result<(), AppendError> {
    run_to_end(journal.append(Unrecorded::new(batch, ())))
}

fn copy_folder(from: &Path, to: &Path) {
    for name in std::fs::read_dir(from).unwrap() {
        let name = name.unwrap();
        let target = to.join(name.file_name());
        if name.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&name.path(), &target);
        } else {
            std::fs::copy(name.path(), target).unwrap();
        }
    }
}

#[test]
fn what_has_a_receipt_is_read_back_after_reopening() {
    let dir = folder();
    for round in 1..=3 {
        let (journal, recovery) = open(dir.path(), small());
        assert_eq!((recovery.epoch, recovery.torn), (round, None));
        run_to_end(async {
            for n in 0..200 {
                let name = format!("{round}/{n}");
                assert_eq!(journal.append(Unrecorded::new(batch(&name), n)).await, Ok(n));
                journal.note(batch(&format!("{name} noted")));
            }
        });
        journal.close();
        assert_eq!(append(&journal, batch("late")), Err(AppendError::Stopped));
        assert_eq!(*journal.status().borrow(), Status::Stopped);
    }
    let expected: Vec<String> = (1..=3)
        .flat_map(|round| (0..200).flat_map(move |n| [format!("{round}/{n}"), format!("{round}/{n} noted")]))
        .collect();
    assert_eq!(reasons(dir.path()), expected);
    assert!(read::segments(dir.path()).unwrap().len() > 3, "the journal goes through several segments");
    assert_eq!(verified(dir.path()).0, Exit::Fine);
    assert!(!layout::journal_dir(dir.path()).join("next.tmp").exists());
}

/// docs/threats.md c13.
#[test]
fn a_second_opener_is_refused_and_the_first_goes_on() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    let second = Journal::open(dir.path(), small(), IdSource::new([9; 6]));
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    assert_eq!(append(&journal, batch("still here")), Ok(()));
    journal.close();
    open(dir.path(), small()).0.close();
}

#[test]
fn a_batch_without_records_opens_at_once_unless_the_journal_has_stopped() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    assert_eq!(append(&journal, Batch::default()), Ok(()));
    journal.close();
    assert_eq!(append(&journal, Batch::default()), Err(AppendError::Stopped));
}

#[test]
fn a_batch_larger_than_a_segment_is_one_frame() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    let mut large = Batch::default();
    let reason = "x".repeat(10_000);
    for _ in 0..10 {
        push(&mut large, Kind::End, &Body::End { reason: &reason, statements: 0 });
    }
    for _ in 0..3 {
        assert_eq!(append(&journal, large.clone()), Ok(()));
        assert_eq!(append(&journal, batch("small")), Ok(()));
    }
    journal.close();
    assert_eq!(reasons(dir.path()).len(), 33);
    assert_eq!(verified(dir.path()).0, Exit::Fine);
}

#[test]
fn notes_are_readable_without_an_append() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    let mut reader = Reader::open(dir.path()).unwrap();
    while reader.next_entry().unwrap().is_some() {}
    journal.note(batch("noted"));
    let entry = loop {
        match reader.next_entry() {
            Ok(Some(entry)) => break entry,
            // Half a frame is seen as damage for an instant.
            Ok(None) | Err(_) => std::thread::yield_now(),
        }
    };
    assert!(String::from_utf8(entry.bytes).unwrap().contains("noted"));
    journal.close();
}

#[test]
fn appenders_on_threads_of_their_own_all_find_their_records_in_order() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            // Whoever reads meanwhile never sees a journal that is wrong.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut out = Vec::new();
                let exit = verify::run(dir.path(), &verify::Args::default(), &mut out).unwrap();
                assert_eq!(exit, Exit::Fine, "{}", String::from_utf8_lossy(&out));
            }
        });
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let journal = journal.clone();
                scope.spawn(move || {
                    run_to_end(async {
                        for n in 0..100 {
                            let unrecorded = Unrecorded::new(batch(&format!("{task}/{n}")), n);
                            assert_eq!(journal.append(unrecorded).await, Ok(n));
                        }
                    });
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reading.join().unwrap();
    });
    journal.close();
    let all = reasons(dir.path());
    for task in 0..8 {
        let expected: Vec<String> = (0..100).map(|n| format!("{task}/{n}")).collect();
        let own: Vec<&String> = all.iter().filter(|reason| reason.starts_with(&format!("{task}/"))).collect();
        assert!(own.into_iter().eq(expected.iter()), "task {task}");
    }
}

#[test]
fn content_that_is_too_large_for_a_record_is_a_blob_before_the_record_is_there() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    let text = vec![b'x'; 100_000];
    assert_eq!(append(&journal, statement(&text)), Ok(()));
    let mut writer = journal.blobs().begin().unwrap();
    text.chunks(999).for_each(|part| writer.write(part).unwrap());
    let (sha256, bytes) = writer.finish().unwrap();
    assert_eq!((sha256, bytes), (tlog::hash::Hash::of(&text), 100_000));
    assert_eq!(std::fs::read(journal.blobs().path(&sha256)).unwrap(), text);
    let abandoned = journal.blobs().begin().unwrap();
    let left = journal.blobs().begin().unwrap();
    drop(abandoned);
    std::mem::forget(left);
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/incoming")).unwrap().count(), 1);
    journal.close();
    open(dir.path(), small()).0.close();
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/incoming")).unwrap().count(), 0);
    assert_eq!(verified(dir.path()).0, Exit::Fine);
    std::fs::remove_file(journal.blobs().path(&sha256)).unwrap();
    let (exit, out) = verified(dir.path());
    assert_eq!(exit, Exit::Findings);
    assert!(out.contains("record 1: its blob") && out.contains("is missing"), "{out}");
}

/// The frames of the only segment: offset, header.
fn frames(dir: &Path) -> Vec<(u64, FrameHeader)> {
    let reader = Reader::open(dir).unwrap();
    let mut frames = Vec::new();
    let mut from = 0;
    while let Some((offset, header)) = reader.header_after(from).unwrap() {
        frames.push((offset, header));
        from = header.end(offset).unwrap();
    }
    frames
}

/// docs/threats.md c3.
#[test]
fn a_tail_torn_at_any_byte_is_put_aside_and_said_so() {
    let whole = folder();
    let (journal, _) = open(whole.path(), small());
    for n in 0..3 {
        assert_eq!(append(&journal, batch(&n.to_string())), Ok(()));
    }
    journal.close();
    let (offset, header) = frames(whole.path()).pop().unwrap();
    let end = header.end(offset).unwrap();
    for cut in offset..=end {
        for shorter in [false, true] {
            let dir = folder();
            copy_folder(whole.path(), dir.path());
            let path = layout::segment_path(dir.path(), 0);
            let file = File::options().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(cut).unwrap();
            if !shorter {
                file.set_len(length).unwrap();
            }
            // A header without its last bytes may have ended in zeros; then nothing is missing.
            let torn = cut > offset && frames_are_cut(&path, offset, end, cut);
            let (journal, recovery) = open(dir.path(), small());
            let records = if cut == end || (cut > offset && !torn) { header.first + 1 } else { header.first };
            assert_eq!((recovery.records, recovery.torn.is_some()), (records, torn), "cut at {cut} of {offset}..{end}");
            assert_eq!(append(&journal, batch("after")), Ok(()));
            journal.close();
            assert_eq!(reasons(dir.path()), ["0", "1", "2", "after"]);
            assert_eq!(verified(dir.path()).0, Exit::Fine);
            assert_eq!(events(dir.path()).contains(&"repaired".to_owned()), torn);
        }
    }
}

/// Whether cutting there lost anything but zeros.
fn frames_are_cut(path: &Path, offset: u64, end: u64, cut: u64) -> bool {
    let file = std::fs::read(path).unwrap();
    let mut frame = file[usize::try_from(offset).unwrap()..].to_vec();
    frame.resize(usize::try_from(end - offset).unwrap(), 0);
    cut < end
        && FrameHeader::decode(&frame).is_none_or(|header| {
            let payload = &frame[FrameHeader::BYTES..FrameHeader::BYTES + usize::try_from(header.payload).unwrap()];
            let (mut records, mut rest) = (layout::Records::default(), payload);
            let are_whole = records.follow(payload) && records.are(payload, header.count);
            let entries = std::iter::from_fn(|| layout::entry(rest).map(|(entry, after)| (rest = after, entry).1));
            !are_whole || entries.into_iter().any(|entry| !entry.ends_with(b"}"))
        })
}

#[test]
fn odd_strings_come_back_byte_for_byte() {
    let dir = folder();
    let (journal, _) = open(dir.path(), Options { segment_bytes: 1 << 20, ..small() });
    let pieces =
        ["\n", "\r\n", "\x1b[31m", "\"", "\\", "\u{2028}", "CEF|", "=cmd", "ä", "😀", "\0", "\u{202e}", "a", "{", "}"];
    let mut random = 12345_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap()
    };
    let mut expected = Vec::new();
    for _ in 0..100 {
        let mut all = Batch::default();
        for _ in 0..100 {
            let text: String = (0..next() % 12).map(|_| pieces[next() % pieces.len()]).collect();
            push(&mut all, Kind::End, &Body::End { reason: &text, statements: 0 });
            expected.push(text);
        }
        let entries: Vec<Vec<u8>> = all.entries().map(<[u8]>::to_vec).collect();
        assert!(entries.iter().all(|entry| !entry.contains(&b'\n')));
        assert_eq!(append(&journal, all), Ok(()));
    }
    journal.close();
    assert_eq!(reasons(dir.path()), expected);
}

/// The child of the test below: appends and prints receipts until it is killed.
#[test]
fn child_that_appends_until_killed() {
    let Some(dir) = std::env::var_os("SAFE_BOUNDARY_TEST_JOURNAL") else { return };
    let (journal, recovery) = open(Path::new(&dir), small());
    for n in 0_u64.. {
        let name = format!("{}/{n}", recovery.epoch);
        journal.note(batch(&format!("noted {name}")));
        append(&journal, batch(&name)).unwrap();
        // Straight to the pipe: what was printed had its receipt.
        writeln!(io::stdout(), "\nreceipt {name}").unwrap();
    }
}

/// docs/threats.md c4.
#[test]
fn kill_9_loses_nothing_that_had_a_receipt() {
    let dir = folder();
    let mut receipts = Vec::new();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trail::journal::tests::child_that_appends_until_killed", "--nocapture"])
            .env("SAFE_BOUNDARY_TEST_JOURNAL", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            if let Some(name) = line.strip_prefix("receipt ") {
                receipts.push(name.to_owned());
                seen += 1;
                if seen == 20 + round * 13 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(seen >= 20, "the child went on until it was killed");
    }
    let (journal, recovery) = open(dir.path(), small());
    assert_eq!(recovery.epoch, 11);
    journal.close();
    let readable: HashSet<String> = reasons(dir.path()).into_iter().collect();
    assert!(receipts.iter().all(|name| readable.contains(name)));
    assert_eq!(verified(dir.path()).0, Exit::Fine);
}

#[test]
fn a_batch_of_content_alone_is_stored_before_its_effect() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), small());
    let mut content = Batch::default();
    let spilled = content.spill(b"parameters of a Bind");
    run_to_end(async {
        let sealed = Unrecorded::new(content, ()).unsealed().expect_err("there is something to store");
        assert_eq!(journal.append(sealed).await, Ok(()));
        assert_eq!(journal.append(Unrecorded::new(batch("after"), ())).await, Ok(()));
    });
    let name = spilled.sha256.0.to_string();
    let stored = dir.path().join("blobs/sha256").join(name.get(..2).unwrap()).join(&name);
    assert_eq!(std::fs::read(stored).unwrap(), b"parameters of a Bind");
    journal.close();
    assert_eq!(reasons(dir.path()), ["after"]);
}
