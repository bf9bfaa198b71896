//! Words that are sought in records, and in the blobs that they refer to.
//!
//! Promises: ASCII letters in either case; a blob is read once for all words, and not again for each record that refers to
//! it: every record of a person with many groups refers to the same one. Memory is bounded.
//! Deliberately not here: which records are looked at together (`search.rs`).

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;

use memchr::memmem::Finder;

use super::record::{Record, Reference, open_blob};

/// Of how many blobs it is remembered what is in them.
const BLOBS_MAX: usize = 4096;

/// How much of a blob is looked through at once.
const PIECE_BYTES: u64 = 1 << 20;

/// What is sought, and where it was found.
#[derive(Debug)]
pub(super) struct Words<'a> {
    dir: &'a Path,
    /// In lower case.
    words: Vec<String>,
    /// Which of them stand in the blobs that were looked through last.
    blobs: HashMap<Reference, Vec<bool>>,
}

impl<'a> Words<'a> {
    /// Words that are sought in the trail in `dir`.
    pub(super) fn new(dir: &'a Path, words: &[String]) -> Self {
        Self { dir, words: words.iter().map(|word| word.to_ascii_lowercase()).collect(), blobs: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether each of them occurs in one of these records, or in a blob of one.
    pub(super) fn are_in(&mut self, records: &[Record]) -> bool {
        let mut found = vec![false; self.words.len()];
        for record in records {
            record.texts(&mut |text| {
                let text = text.to_ascii_lowercase();
                found.iter_mut().zip(&self.words).for_each(|(found, word)| *found |= text.contains(word));
            });
        }
        for blob in records.iter().flat_map(Record::references) {
            if found.iter().all(|found| *found) {
                break;
            }
            found.iter_mut().zip(self.in_blob(blob)).for_each(|(found, here)| *found |= here);
        }
        found.into_iter().all(|found| found)
    }

    fn in_blob(&mut self, blob: Reference) -> &[bool] {
        if self.blobs.len() >= BLOBS_MAX && !self.blobs.contains_key(&blob) {
            self.blobs.clear();
        }
        let (dir, words) = (self.dir, &self.words);
        self.blobs.entry(blob).or_insert_with_key(|blob| {
            let mut found = vec![false; words.len()];
            // What cannot be read is for `verify` to report.
            let _ = look_through(dir, blob, words, &mut found);
            found
        })
    }
}

/// Looks through a blob piece by piece: it may be larger than memory.
fn look_through(dir: &Path, blob: &Reference, words: &[String], found: &mut [bool]) -> io::Result<()> {
    let Ok(mut file) = open_blob(dir, blob)? else { return Ok(()) };
    let finders: Vec<Finder<'_>> = words.iter().map(Finder::new).collect();
    let longest = words.iter().map(String::len).max().unwrap_or(0);
    let mut window = Vec::new();
    loop {
        // The end of one piece and the beginning of the next may hold a word between them.
        let kept = window.len().min(longest);
        window.drain(..window.len() - kept);
        let read = file.by_ref().take(PIECE_BYTES).read_to_end(&mut window)?;
        window.make_ascii_lowercase();
        for (finder, found) in finders.iter().zip(&mut *found) {
            *found = *found || finder.find(&window).is_some();
        }
        if read == 0 || found.iter().all(|found| *found) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tlog::hash::Hash;

    use super::*;
    use crate::cli::audit::record::Written;
    use crate::trail::blob::blob_path;

    /// A record whose text stands in a blob of this name.
    fn record(sha256: &Hash, bytes: usize) -> Record {
        let raw = format!(
            r#"{{"kind":"end","reason":"Straw","statement":{{"text":{{"sha256":"{sha256}","bytes":{bytes}}}}}}}"#
        );
        Written { index: 0, raw: raw.into_bytes() }.into()
    }

    /// A trail with this blob and nothing else, and a record that refers to it.
    fn stored(content: &[u8]) -> (TempDir, Record) {
        let (dir, sha256) = (tempfile::tempdir().unwrap(), Hash::of(content));
        let path = blob_path(dir.path(), &sha256);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        (dir, record(&sha256, content.len()))
    }

    fn words<'a>(dir: &'a Path, words: &[&str]) -> Words<'a> {
        Words::new(dir, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_may_stand_apart_and_across_pieces() {
        let piece = usize::try_from(PIECE_BYTES).unwrap();
        let content = ["x".repeat(piece - 3).as_bytes(), b"Needle", "y".repeat(2 * piece).as_bytes(), b"end"].concat();
        let (dir, record) = stored(&content);
        let check = |sought: &[&str], expected: bool| {
            assert_eq!(words(dir.path(), sought).are_in(std::slice::from_ref(&record)), expected, "{sought:?}");
        };
        check(&[], true);
        check(&["NEEDLE"], true);
        check(&["needle", "straw", "yend"], true);
        check(&["needle", "hay"], false);
        check(&["xNeedley", "y", ""], true);
    }

    #[test]
    fn a_blob_is_read_once_however_many_records_refer_to_it() {
        let (dir, record) = stored(b"one Needle in much hay");
        let mut sought = words(dir.path(), &["needle", "hay", "straw"]);
        assert!(sought.are_in(std::slice::from_ref(&record)));
        // Were it read again, nothing would be found.
        fs::remove_dir_all(dir.path().join("blobs")).unwrap();
        assert!(sought.are_in(&[record]));
    }

    #[test]
    fn what_is_remembered_of_blobs_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut sought = words(dir.path(), &["needle"]);
        for n in 0..2 * BLOBS_MAX + 7 {
            assert!(!sought.are_in(&[record(&Hash::of(&n.to_be_bytes()), 1)]));
            assert!(sought.blobs.len() <= BLOBS_MAX);
        }
    }
}
