//! Trails of somebody who can write files: what is added, what only claims to be large, what is no file.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::time::Instant;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tlog::hash::{self, Hash};

use super::*;
use crate::trail::blob::blob_path;
use crate::trail::layout::{self, FrameHeader, SegmentHeader};
use crate::trail::read::{self, segments};

/// A record as it might be, at an hour of 1970.
fn record(hour: u32) -> Vec<u8> {
    let (day, hour) = (1 + hour / 24, hour % 24);
    format!(r#"{{"kind":"end","time":"1970-01-{day:02}T{hour:02}:00:00Z","reason":"forged"}}"#).into_bytes()
}

/// A segment of one frame that holds together: these records, after what had this chain.
fn segment(path: &Path, first: u64, before: Hash, records: &[Vec<u8>]) -> Hash {
    let (mut chain, mut payload) = (before, Vec::new());
    for record in records {
        payload.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
        payload.extend(record);
        chain = hash::chain(&chain, &hash::leaf(record));
    }
    let count = u32::try_from(records.len()).unwrap();
    let bytes = u32::try_from(payload.len()).unwrap();
    let frame = FrameHeader { payload: bytes, count, epoch: 1, first, durable: first, chain };
    let header = SegmentHeader { epoch: 1, first, chain: before };
    fs::write(path, [header.encode().as_slice(), &frame.encode(), &payload, &[0; 4096]].concat()).unwrap();
    chain
}

/// A trail of several segments, an hour for each record, and where they begin.
fn long() -> (Trail, Vec<u64>) {
    let mut trail = Trail::new();
    for n in 0..60 {
        trail.statement("alice@example.com", "payments", &format!("select {n}"));
    }
    let firsts = segments(trail.dir.path()).unwrap();
    assert!(firsts.len() > 3 && firsts[1] > 4, "{firsts:?}");
    (trail, firsts)
}

/// docs/threats.md c10.
#[test]
fn c10_a_segment_planted_among_the_others_is_found_by_every_reader() {
    let (trail, firsts) = long();
    assert_eq!(trail.run("export --from 1970-01-03").0, Exit::Fine);
    let last = *firsts.last().unwrap();
    // Within one in the middle, behind the beginning of the last, and two that follow each other there.
    for planted in [vec![firsts[1] + 2], vec![last + 1], vec![last + 1, last + 2]] {
        let mut chain = Hash([7; 32]);
        for first in &planted {
            let path = layout::segment_path(trail.dir.path(), *first);
            chain = segment(&path, *first, chain, &[record(24)]);
        }
        let name = format!("{:020}.sbj is no part of the chain", planted[0]);
        let (exit, out) = trail.run("verify");
        assert!(exit == Exit::Findings && out.contains(&name), "{planted:?}: {out}");
        for line in ["export --from 1970-01-04", "search --from 1970-01-04", "tail --no-follow"] {
            let (why, out) = trail.fail(line);
            assert!(why.contains(&name) && !out.contains("forged"), "{line}, {planted:?}: {why}: {out}");
        }
        let (why, _) = trail.fail("export");
        assert!(why.contains(&name), "{why}");
        for first in planted {
            fs::remove_file(layout::segment_path(trail.dir.path(), first)).unwrap();
        }
    }
    // Far behind the end, where nothing tells that it is not the newest but the gap.
    trail.journal.close();
    let planted = layout::segment_path(trail.dir.path(), 1000);
    segment(&planted, 1000, Hash([7; 32]), &[record(24), record(25)]);
    let gap = " to 999 are missing: there is no ";
    let (exit, out) = trail.run("verify");
    assert!(exit == Exit::Findings && out.contains(gap), "{out}");
    for line in ["tail --no-follow -n 1", "tail --no-follow -n 1000", "search --from 1970-01-04", "export"] {
        let (why, out) = trail.fail(line);
        assert!(why.contains(gap) && !out.contains("forged"), "{line}: {why}: {out}");
    }
    let open = || Journal::open(trail.dir.path(), Options::new("n".to_owned()), IdSource::new([1; 6]));
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains(gap) && refused.contains("cannot be continued"), "{refused}");
    // Where the last one ends, with a chain of its own.
    fs::remove_file(&planted).unwrap();
    let mut reader = read::Reader::open(trail.dir.path()).unwrap();
    while reader.next_entry().unwrap().is_some() {}
    let end = reader.end().0;
    let planted = layout::segment_path(trail.dir.path(), end);
    segment(&planted, end, Hash([7; 32]), &[record(24), record(25)]);
    for why in [trail.fail("tail --no-follow -n 1").0, open().unwrap_err().to_string()] {
        assert!(why.contains("it holds another chain than the segment before it"), "{why}");
    }
    fs::remove_file(&planted).unwrap();
    assert_eq!(trail.run("verify").0, Exit::Fine);
    open().unwrap().0.close();
    assert_eq!(trail.run("verify").0, Exit::Fine);
}

/// docs/threats.md c10.
#[test]
fn c10_every_file_that_may_be_taken_for_a_segment_is_accounted_for() {
    let trail = Trail::story();
    for name in ["7.sbj", "99999999999999999999.sbj", "copy.sbj"] {
        let path = layout::journal_dir(trail.dir.path()).join(name);
        fs::write(&path, b"").unwrap();
        let (exit, out) = trail.run("verify");
        assert!(exit == Exit::Findings && out.contains(&format!("finding: {name}")), "{out}");
        fs::remove_file(path).unwrap();
    }
}

/// A trail of one segment, whose first frame has this header and begins with these bytes; the rest of the file is a hole.
fn sparse(frame: FrameHeader, begin: &[u8], length: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = layout::segment_path(dir.path(), 0);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let header = SegmentHeader { epoch: 1, first: 0, chain: Hash::default() };
    let file = File::create_new(&path).unwrap();
    file.write_all_at(&[header.encode().as_slice(), &frame.encode(), begin].concat(), 0).unwrap();
    file.set_len(length).unwrap();
    dir
}

/// What the process has had of memory at most, in bytes.
fn memory_max() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// docs/threats.md c10.
#[test]
fn c10_a_frame_that_only_claims_to_be_large_costs_no_memory() {
    let large = FrameHeader { payload: 0, count: 1, epoch: 1, first: 0, durable: 0, chain: Hash::default() };
    let gigabytes: u32 = 4 * ((1 << 30) - 1);
    let begin = [(gigabytes - 4).to_be_bytes().as_slice(), b"{}"].concat();
    let cases = [
        ("empty records", FrameHeader { payload: gigabytes, count: (1 << 30) - 1, ..large }, vec![]),
        ("more records than bytes", FrameHeader { payload: gigabytes, count: u32::MAX, ..large }, vec![]),
        ("one record, most of it a hole", FrameHeader { payload: gigabytes, ..large }, begin),
        ("no records", large, vec![]),
    ];
    for (what, frame, begin) in cases {
        let dir = sparse(frame, &begin, 5 << 30);
        let before = memory_max();
        let mut out = Vec::new();
        let exit = verify::run_once(dir.path(), &verify::Args::default(), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(exit == Exit::Findings && out.contains("damaged at byte 72"), "{what}: {out}");
        assert!(read::Reader::open(dir.path()).unwrap().next_entry().is_err(), "{what}");
        // To the start it is a torn tail.
        let (journal, recovery) =
            Journal::open(dir.path(), Options::new("n".to_owned()), IdSource::new([1; 6])).unwrap();
        journal.close();
        assert!(recovery.torn.is_some_and(|torn| torn.bytes < 4096), "{what}");
        assert!(memory_max() - before < 256 << 20, "{what}: {} bytes", memory_max() - before);
    }
}

/// docs/threats.md c10.
#[test]
fn c10_a_segment_lengthened_by_a_hole_is_read_no_longer() {
    let trail = Trail::story();
    trail.journal.close();
    let last = *segments(trail.dir.path()).unwrap().last().unwrap();
    let path = layout::segment_path(trail.dir.path(), last);
    let length = fs::metadata(&path).unwrap().len();
    let begun = Instant::now();
    File::options().write(true).open(&path).unwrap().set_len(8 << 40).unwrap();
    let (exit, out) = trail.run("verify");
    assert_eq!(exit, Exit::Fine, "{out}");
    assert_eq!(trail.run("export --from 1970-01-01T03:00").0, Exit::Fine);
    let options = Options::new("n".to_owned());
    let error = Journal::open(trail.dir.path(), options.clone(), IdSource::new([1; 6])).unwrap_err();
    assert!(error.to_string().contains("longer than a segment can"), "{error}");
    // Reading eight terabytes takes an hour.
    assert!(begun.elapsed().as_secs() < 60);
    File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    Journal::open(trail.dir.path(), options, IdSource::new([1; 6])).unwrap().0.close();
}

/// docs/threats.md c10.
#[test]
fn c10_what_is_no_file_is_not_opened_for_a_segment() {
    for place in [0, 1] {
        let (trail, firsts) = long();
        trail.journal.close();
        let path = layout::segment_path(trail.dir.path(), firsts[place]);
        for is_pipe in [true, false] {
            fs::remove_file(&path).unwrap();
            if is_pipe {
                rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
            } else {
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            }
            let (exit, out) = trail.run("verify");
            assert!(exit == Exit::Findings && out.contains(".sbj is not a file"), "{out}");
            for line in ["export", "search --from 1970-01-03"] {
                assert!(trail.fail(line).0.ends_with(".sbj is not a file"), "{line}");
            }
        }
    }
    let (trail, firsts) = long();
    trail.journal.close();
    let path = layout::segment_path(trail.dir.path(), *firsts.last().unwrap());
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(trail.fail("tail --no-follow").0.ends_with(".sbj is not a file"));
    let error = Journal::open(trail.dir.path(), Options::new("n".to_owned()), IdSource::new([1; 6])).unwrap_err();
    assert!(error.to_string().contains(".sbj is not a file"), "{error}");
}

/// Only what is being written may be half written.
#[test]
fn damage_of_what_is_at_rest_is_not_waited_for() {
    let (trail, firsts) = long();
    trail.journal.close();
    let damaged = &firsts[..firsts.len() - 1];
    for first in damaged {
        let path = layout::segment_path(trail.dir.path(), *first);
        let file = File::options().read(true).write(true).open(path).unwrap();
        file.write_all_at(b"x", 72 + FrameHeader::BYTES as u64 + 20).unwrap();
    }
    let begun = Instant::now();
    let (exit, out) = trail.run("verify");
    assert_eq!(
        (exit, out.matches("are not those that the chain was made of").count()),
        (Exit::Findings, damaged.len())
    );
    // Half a second for each was what waiting took.
    assert!(begun.elapsed().as_millis() < 250 * damaged.len() as u128, "{:?} for {damaged:?}", begun.elapsed());
}

#[test]
fn what_is_no_record_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(layout::journal_dir(dir.path())).unwrap();
    let records = [record(1), b"[1]".to_vec(), b"{\"a\":".to_vec(), record(2)];
    segment(&layout::segment_path(dir.path(), 0), 0, Hash::default(), &records);
    let mut out = Vec::new();
    let exit = verify::run_once(dir.path(), &verify::Args::default(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(exit, Exit::Findings);
    assert!(out.starts_with("finding: record 1: it is not a JSON object\nfinding: record 2: it is"), "{out}");
    assert!(out.contains("\n2 findings"), "{out}");
}

/// A segment may be called what only the last record there can be could begin.
#[test]
fn records_that_cannot_be_counted_are_damage() {
    let (trail, _) = long();
    let path = layout::segment_path(trail.dir.path(), u64::MAX);
    segment(&path, u64::MAX, Hash::default(), &[record(1), record(2)]);
    let (exit, out) = trail.run("verify");
    assert!(exit == Exit::Findings && out.contains("more records than can be counted"), "{out}");
}

#[test]
fn a_torn_tail_that_no_record_speaks_of_is_shown_as_that() {
    let (trail, _) = long();
    trail.journal.close();
    let last = *segments(trail.dir.path()).unwrap().last().unwrap();
    let file = File::options().write(true).open(layout::segment_path(trail.dir.path(), last)).unwrap();
    file.write_all_at(b"x", file.metadata().unwrap().len() - 8).unwrap();
    let (journal, recovery) =
        Journal::open(trail.dir.path(), Options::new("n".to_owned()), IdSource::new([1; 6])).unwrap();
    journal.close();
    let torn = recovery.torn.unwrap().file;
    fs::copy(&torn, torn.with_file_name("torn-by-hand")).unwrap();
    let (exit, out) = trail.run("verify");
    assert_eq!(exit, Exit::Fine, "{out}");
    assert!(out.contains(&format!("with a record that says so: {}\n", torn.display())), "{out}");
    assert!(
        out.contains("called as if put aside at a start, but no record says so: ") && out.contains("/torn-by-hand\n"),
        "{out}"
    );
}

/// Reading all that a record claims, or a hole of that length, takes for ever.
#[test]
fn c10_a_blob_that_only_claims_to_be_large_costs_no_time() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(layout::journal_dir(dir.path())).unwrap();
    let cases = [
        (1 << 62, 8 << 40, "is said to be longer than any message can be"),
        ((1 << 31) + 1, (1 << 31) + 1, "is said to be longer than any message can be"),
        (7, 8 << 40, "has other content than its name says"),
        (1 << 31, 7, "has other content than its name says"),
        (1 << 62, 0, "is said to be longer than any message can be"),
    ];
    let mut records = Vec::new();
    for (n, (said, length, _)) in cases.iter().enumerate() {
        let sha256 = Hash::of(&n.to_be_bytes());
        let path = blob_path(dir.path(), &sha256);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create_new(path).unwrap().set_len(*length).unwrap();
        let said: u64 = *said;
        records.push(format!(r#"{{"kind":"end","reason":{{"sha256":"{sha256}","bytes":{said}}}}}"#).into_bytes());
    }
    segment(&layout::segment_path(dir.path(), 0), 0, Hash::default(), &records);
    let (begun, mut out) = (Instant::now(), Vec::new());
    let exit = verify::run_once(dir.path(), &verify::Args::default(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let found: Vec<&str> = out.lines().filter(|line| line.starts_with("finding: ")).collect();
    assert_eq!((exit, found.len()), (Exit::Findings, cases.len()), "{out}");
    assert!(found.iter().zip(cases).all(|(line, (_, _, why))| line.ends_with(why)), "{out}");
    let words = Line::try_parse_from(["audit", "search", "needle"]).unwrap().audit.command;
    run(dir.path(), &words, &mut Vec::new()).unwrap();
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

/// Does something as somebody to whom what is nobody's is closed; root is told no by no file.
fn without_rights_over_files<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let limited = || {
        let mut rights = capabilities(None).unwrap();
        rights.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, rights).unwrap();
        act()
    };
    // Rights are a thread's own.
    std::thread::scope(|scope| scope.spawn(limited).join().unwrap())
}

/// Who may not read the files of another must not be told that they have been changed.
#[test]
fn what_cannot_be_read_is_a_failure_and_no_finding() {
    let (mut trail, firsts) = long();
    let text = "x".repeat(20_000);
    trail.statement("alice@example.com", "payments", &text);
    trail.journal.close();
    let segment = |n: usize| layout::segment_path(trail.dir.path(), firsts[n]);
    let damage = |n: usize| {
        let file = File::options().write(true).open(segment(n)).unwrap();
        file.write_all_at(b"x", 72 + FrameHeader::BYTES as u64 + 20).unwrap();
    };
    let closed = [segment(0), segment(1), segment(2), blob_path(trail.dir.path(), &Hash::of(text.as_bytes()))];
    for (is_damaged, closed) in [false, true].into_iter().flat_map(|is| closed.iter().map(move |path| (is, path))) {
        if is_damaged {
            // What is behind is opened anew then.
            damage(1);
        }
        let mode = fs::metadata(closed).unwrap().permissions();
        fs::set_permissions(closed, Permissions::from_mode(0o000)).unwrap();
        let (ended, out) = without_rights_over_files(|| {
            let mut out = Vec::new();
            (verify::run_once(trail.dir.path(), &verify::Args::default(), &mut out), out)
        });
        fs::set_permissions(closed, mode).unwrap();
        let (why, out) = (ended.unwrap_err().to_string(), String::from_utf8(out).unwrap());
        assert_eq!(why, format!("cannot read {}: Permission denied (os error 13)", closed.display()), "{out}");
        assert!(!out.contains("Permission") && !out.contains("the chain holds"), "{out}");
    }
}
