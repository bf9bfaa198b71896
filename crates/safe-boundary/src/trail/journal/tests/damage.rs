//! Damage and edits of what had been durable.

use super::*;

#[test]
fn a_hole_that_had_been_durable_refuses_to_start() {
    let dir = folder();
    let (journal, _) = open(dir.path(), small());
    for n in 0..4 {
        assert_eq!(append(&journal, batch(&n.to_string())), Ok(()));
    }
    journal.close();
    let path = layout::segment_path(dir.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    let frames = frames(dir.path());
    for (offset, header) in &frames[..frames.len() - 1] {
        let mut damaged = whole.clone();
        damaged[usize::try_from(*offset).unwrap() + FrameHeader::BYTES + 20] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Journal::open(dir.path(), small(), IdSource::new([1; 6])).unwrap_err();
        assert!(matches!(error, Error::Hole { index, .. } if index == header.first), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "evidence is left as it is");
    }
}

#[test]
fn any_flipped_bit_is_found() {
    let dir = folder();
    let (journal, _) = open(dir.path(), Options { segment_bytes: 2 << 10, ..small() });
    assert_eq!(append(&journal, statement(&[b'y'; 20_000])), Ok(()));
    for n in 0..8 {
        assert_eq!(append(&journal, batch(&n.to_string())), Ok(()));
    }
    journal.close();
    let mut files: Vec<PathBuf> =
        read::segments(dir.path()).unwrap().into_iter().map(|n| layout::segment_path(dir.path(), n)).collect();
    assert!(files.len() > 1);
    files.push(journal.blobs().path(&tlog::hash::Hash::of(&[b'y'; 20_000])));
    assert_eq!(verified(dir.path()).0, Exit::Fine);
    for path in files {
        let whole = std::fs::read(&path).unwrap();
        let step = if whole.len() > 10_000 { 997 } else { 1 };
        for at in (0..whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(verified(dir.path()).0, Exit::Findings, "byte {at} of {}", path.display());
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(verified(dir.path()).0, Exit::Fine);
}

#[test]
fn segments_that_are_missing_doubled_or_swapped_are_found() {
    let dir = folder();
    let (journal, _) = open(dir.path(), Options { segment_bytes: 2 << 10, ..small() });
    for n in 0..30 {
        assert_eq!(append(&journal, batch(&n.to_string())), Ok(()));
    }
    journal.close();
    let segments = read::segments(dir.path()).unwrap();
    assert!(segments.len() > 3);
    let path = |dir: &Path, n: usize| layout::segment_path(dir, segments[n]);
    let check = |change: &dyn Fn(&Path)| {
        let copy = folder();
        copy_folder(dir.path(), copy.path());
        change(copy.path());
        let (exit, out) = verified(copy.path());
        assert_eq!(exit, Exit::Findings, "{out}");
        assert!(out.contains("finding: record"), "{out}");
    };
    check(&|dir| std::fs::remove_file(path(dir, 0)).unwrap());
    check(&|dir| std::fs::remove_file(path(dir, 1)).unwrap());
    check(&|dir| assert!(std::fs::copy(path(dir, 1), path(dir, 2)).is_ok()));
    check(&|dir| {
        std::fs::rename(path(dir, 1), dir.join("x")).unwrap();
        std::fs::rename(path(dir, 2), path(dir, 1)).unwrap();
        std::fs::rename(dir.join("x"), path(dir, 2)).unwrap();
    });
}
