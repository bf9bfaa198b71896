//! What may lie in the folder when a journal is opened again: torn, flipped, filled, missing, left over.
//!
//! Each case is data: what is done to the folder, and what must come of it. What is dropped is put aside and said so; what
//! had been durable and can be seen to be gone refuses to start, and nothing is touched.

use super::*;

/// What must come of opening a changed folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// As if nothing had been done; all records are there.
    Whole,
    /// The last frame is dropped, put aside, and that is recorded.
    Repaired,
    /// It does not open, and says what to do.
    Refused(&'static str),
}

/// A journal of several segments, closed in order; what its records say, and where the last segment's frames are.
struct Kept {
    dir: TempDir,
    reasons: Vec<String>,
    last: PathBuf,
    frames: Vec<(u64, FrameHeader)>,
}

fn kept() -> Kept {
    let dir = folder();
    let (journal, _) = open(dir.path(), Options { segment_bytes: 2 << 10, ..small() });
    for n in 0..18 {
        assert_eq!(append(&journal, batch(&n.to_string())), Ok(()));
    }
    assert_eq!(append(&journal, statement(&[b's'; 20_000])), Ok(()));
    journal.close();
    let reasons = reasons(dir.path());
    let first = *read::segments(dir.path()).unwrap().last().unwrap();
    let last = layout::segment_path(dir.path(), first);
    let mut frames = Vec::new();
    let reader = Reader::open_segment(dir.path(), first).unwrap();
    let mut from = 0;
    while let Some((offset, header)) = reader.header_after(from).unwrap() {
        frames.push((offset, header));
        from = header.end(offset).unwrap();
    }
    assert!(frames.len() > 2 && read::segments(dir.path()).unwrap().len() > 2, "{frames:?}");
    Kept { dir, reasons, last, frames }
}

impl Kept {
    /// Opens a copy after a change, and holds it against what must come of that.
    fn check(&self, what: &str, must: Must, change: impl FnOnce(&Path, &Path)) {
        let dir = folder();
        copy_folder(self.dir.path(), dir.path());
        let last = layout::journal_dir(dir.path()).join(self.last.file_name().unwrap());
        change(dir.path(), &last);
        let before = snapshot(dir.path());
        let opened = Journal::open(dir.path(), Options { segment_bytes: 2 << 10, ..small() }, IdSource::new([1; 6]));
        let (journal, recovery) = match (opened, must) {
            (Ok(opened), Must::Whole | Must::Repaired) => opened,
            (Err(error), Must::Refused(text)) => {
                assert!(error.to_string().contains(text), "{what}: {error}");
                assert_eq!(snapshot(dir.path()), before, "{what}: evidence is left as it is");
                return;
            }
            (opened, _) => panic!("{what}: must be {must:?}, is {:?}", opened.map(|(_, recovery)| recovery)),
        };
        assert_eq!(recovery.torn.is_some(), must == Must::Repaired, "{what}: {recovery:?}");
        if let Some(torn) = &recovery.torn {
            assert_eq!(std::fs::metadata(&torn.file).unwrap().len(), torn.bytes, "{what}: what is dropped is kept");
        }
        assert_eq!(append(&journal, batch("after")), Ok(()), "{what}");
        journal.close();
        assert_eq!(verified(dir.path()).0, Exit::Fine, "{what}");
        assert_eq!(events(dir.path()).contains(&"repaired".to_owned()), must == Must::Repaired, "{what}");
        // Nothing is invented, and nothing but the end is dropped: here that is the journal's own last word.
        let expected: Vec<_> = self.reasons.iter().map(String::as_str).chain(["after"]).collect();
        assert_eq!(reasons(dir.path()), expected, "{what}");
    }

    /// Where the last frame begins and ends, padding not counted.
    fn last_frame(&self) -> (usize, usize) {
        let (offset, header) = self.frames[self.frames.len() - 1];
        (usize::try_from(offset).unwrap(), usize::try_from(header.end(offset).unwrap()).unwrap())
    }
}

/// Every file of the journal, and what is in it.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let names = std::fs::read_dir(layout::journal_dir(dir)).unwrap().map(|name| name.unwrap().path());
    let mut files: Vec<_> = names.map(|path| (path.clone(), std::fs::read(path).unwrap_or_default())).collect();
    files.sort();
    files
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at as u64).unwrap();
}

/// docs/threats.md c3.
#[test]
fn c3_a_last_frame_with_any_byte_flipped_is_put_aside() {
    let kept = kept();
    let (start, end) = kept.last_frame();
    let whole = std::fs::read(&kept.last).unwrap();
    for (at, byte) in whole.iter().enumerate().take(end).skip(start) {
        kept.check(&format!("byte {at} of {start}..{end} flipped"), Must::Repaired, |_, last| {
            overwrite(last, at, &[byte ^ (1 << (at % 8))]);
        });
    }
}

/// docs/threats.md c3.
#[test]
fn c3_a_last_frame_zero_from_or_up_to_any_byte_is_put_aside() {
    let kept = kept();
    let (start, end) = kept.last_frame();
    let whole = std::fs::read(&kept.last).unwrap();
    for at in start..end {
        // The disk wrote the first sectors, or the last ones; what is zero already is no loss.
        let is_same = whole[at..end].iter().all(|byte| *byte == 0);
        let must = if at == start || is_same { Must::Whole } else { Must::Repaired };
        kept.check(&format!("zero from byte {at}"), must, |_, last| overwrite(last, at, &vec![0; end - at]));
        let must = if at == start { Must::Whole } else { Must::Repaired };
        kept.check(&format!("zero up to byte {at}"), must, |_, last| overwrite(last, start, &vec![0; at - start]));
    }
}

/// docs/threats.md c3: whatever is cut off, what is left is a beginning of what was, and a head kept outside tells.
/// For the last frame alone: `a_tail_torn_at_any_byte_is_put_aside_and_said_so`.
#[test]
fn c3_a_segment_cut_at_any_byte_before_its_last_frame_keeps_a_beginning() {
    let kept = kept();
    // What `audit verify --head` compares: the chain over the first so many records.
    let head = read_all(kept.dir.path()).pop().unwrap();
    let whole = std::fs::metadata(&kept.last).unwrap().len();
    let (from, _) = kept.frames[kept.frames.len() - 2];
    let (end, _) = kept.last_frame();
    for cut in from..=end as u64 {
        for is_longer_again in [false, true] {
            let dir = folder();
            copy_folder(kept.dir.path(), dir.path());
            let file =
                File::options().write(true).open(layout::journal_dir(dir.path()).join(kept.last.file_name().unwrap()));
            let file = file.unwrap();
            file.set_len(cut).unwrap();
            if is_longer_again {
                file.set_len(whole).unwrap();
            }
            let (journal, _) = open(dir.path(), Options { segment_bytes: 2 << 10, ..small() });
            journal.close();
            assert_eq!(verified(dir.path()).0, Exit::Fine, "cut at {cut}");
            let left = reasons(dir.path());
            assert!(kept.reasons.starts_with(&left), "cut at {cut}: {left:?}");
            let holds = read_all(dir.path()).iter().any(|entry| (entry.index, entry.chain) == (head.index, head.chain));
            assert!(!holds, "cut at {cut}: a head kept outside tells");
        }
    }
}

/// docs/threats.md c3.
#[test]
fn c3_what_stands_behind_the_last_frame_is_put_aside() {
    let kept = kept();
    let (start, end) = kept.last_frame();
    let length = std::fs::read(&kept.last).unwrap().len();
    let next = end.next_multiple_of(8);
    let frame = std::fs::read(&kept.last).unwrap()[start..end].to_vec();
    let cases: [(&str, usize, Vec<u8>, Must); 9] = [
        ("a single byte at once", next, vec![1], Must::Repaired),
        ("a single byte in the padding's place", length - 1, vec![1], Must::Repaired),
        ("a byte far behind", length - 100, vec![0xff], Must::Repaired),
        ("ones to the end", next, vec![0xff; length - next], Must::Repaired),
        ("the last frame once more", next, frame.clone(), Must::Repaired),
        (
            "the last frame once more, further on",
            next + 64,
            frame[..frame.len().min(length - next - 64)].to_vec(),
            Must::Repaired,
        ),
        ("the mark of a frame and nothing else", next, b"\xffSBF".to_vec(), Must::Repaired),
        ("a header that promises more than the file has", next, huge(&kept).to_vec(), Must::Repaired),
        ("zeros", next, vec![0; length - next], Must::Whole),
    ];
    for (what, at, bytes, must) in cases {
        kept.check(what, must, |_, last| overwrite(last, at, &bytes));
    }
}

/// A header that follows the last frame and is right, but for what it promises.
fn huge(kept: &Kept) -> [u8; FrameHeader::BYTES] {
    let (_, last) = kept.frames[kept.frames.len() - 1];
    let first = last.first + u64::from(last.count);
    FrameHeader { payload: u32::MAX, count: 1, first, durable: first, ..last }.encode()
}

/// docs/threats.md c3.
#[test]
fn c3_segments_that_are_missing_empty_or_too_many() {
    let kept = kept();
    let firsts = read::segments(kept.dir.path()).unwrap();
    let path = |dir: &Path, first: u64| layout::segment_path(dir, first);
    let (one, last) = (firsts[1], firsts[firsts.len() - 1]);
    let end = kept.frames.last().map(|(_, header)| header.first + u64::from(header.count)).unwrap();
    let header = "does not continue the chain";
    kept.check("the last is empty", Must::Refused(header), |dir, _| std::fs::write(path(dir, last), b"").unwrap());
    kept.check("the last is all zeros", Must::Refused(header), |dir, _| {
        std::fs::write(path(dir, last), vec![0; 4096]).unwrap();
    });
    kept.check("the last is garbage", Must::Refused(header), |dir, _| {
        std::fs::write(path(dir, last), vec![0x5a; 4096]).unwrap();
    });
    kept.check("the last has the header of another", Must::Refused(header), |dir, _| {
        std::fs::copy(path(dir, one), path(dir, last)).unwrap();
    });
    kept.check("one more, empty", Must::Refused(header), |dir, _| std::fs::write(path(dir, end), b"").unwrap());
    kept.check("one more, far ahead", Must::Refused(header), |dir, _| {
        std::fs::copy(path(dir, last), path(dir, end + 1000)).unwrap();
    });
    kept.check("a folder with a segment's name", Must::Refused("cannot"), |dir, _| {
        std::fs::create_dir(path(dir, end)).unwrap();
    });
    for byte in 0..layout::SegmentHeader::BYTES {
        kept.check(&format!("byte {byte} of the last header"), Must::Refused(header), |_, last| {
            let whole = std::fs::read(last).unwrap();
            overwrite(last, byte, &[whole[byte] ^ 1]);
        });
    }
}

/// The start looks at the last two segments only, `audit verify` at all of them.
#[test]
fn c6_a_segment_that_is_missing_is_told_by_verify_and_the_last_one_by_a_head_kept_outside() {
    let kept = kept();
    let firsts = read::segments(kept.dir.path()).unwrap();
    let head = read_all(kept.dir.path()).pop().unwrap();
    for first in &firsts {
        let dir = folder();
        copy_folder(kept.dir.path(), dir.path());
        std::fs::remove_file(layout::segment_path(dir.path(), *first)).unwrap();
        let (exit, out) = verified(dir.path());
        if Some(first) == firsts.last() {
            assert_eq!(exit, Exit::Fine, "{out}");
            let holds = read_all(dir.path()).iter().any(|entry| entry.chain == head.chain);
            assert!(!holds, "nothing in the folder can tell, a head kept outside can");
        } else {
            assert_eq!(exit, Exit::Findings, "{out}");
            assert!(out.contains("are missing"), "{out}");
        }
        let opened = Journal::open(dir.path(), Options { segment_bytes: 2 << 10, ..small() }, IdSource::new([1; 6]));
        match opened {
            Err(error) => {
                assert_eq!(Some(first), firsts.iter().rev().nth(1), "{error}");
                assert!(error.to_string().contains("are missing"), "{error}");
            }
            Ok((journal, _)) => {
                assert_ne!(Some(first), firsts.iter().rev().nth(1));
                journal.close();
                assert_eq!(verified(dir.path()).0, exit);
            }
        }
    }
}

/// What crashed writers leave behind is taken away, and what is none of ours is left alone.
#[test]
fn c3_leftovers_do_not_disturb() {
    let kept = kept();
    let journal = |dir: &Path, name: &str| layout::journal_dir(dir).join(name);
    let cases: [(&str, &dyn Fn(&Path)); 7] = [
        ("half a next segment", &|dir| std::fs::write(journal(dir, "next.tmp"), vec![0; 1000]).unwrap()),
        ("a next segment with a header", &|dir| {
            let first = *read::segments(dir).unwrap().first().unwrap();
            std::fs::copy(layout::segment_path(dir, first), journal(dir, "next.tmp")).unwrap();
        }),
        ("an incoming blob", &|dir| std::fs::write(dir.join("blobs/incoming/0.tmp"), b"half").unwrap()),
        ("an old torn tail", &|dir| std::fs::write(journal(dir, "torn-00000000000000000001-0"), b"old").unwrap()),
        ("a lock of a dead process", &|dir| std::fs::write(dir.join("lock"), b"12345\n").unwrap()),
        ("a file of somebody's", &|dir| std::fs::write(journal(dir, "README"), b"mine").unwrap()),
        ("a folder for blobs that is empty", &|dir| {
            std::fs::create_dir_all(dir.join("blobs/sha256/zz")).unwrap();
        }),
    ];
    for (what, change) in cases {
        kept.check(what, Must::Whole, |dir, _| {
            change(dir);
            if what == "a file of somebody's" {
                assert!(journal(dir, "README").exists());
            }
        });
    }
}
