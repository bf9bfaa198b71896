//! Why a trail cannot be read.
//!
//! Promises: each names the file, and the record that should stand there.
//! Deliberately not here: what follows from it; that is for who reads.

use std::io;
use std::path::PathBuf;

/// Why the trail cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no journal in this folder.
    #[error("{} holds no journal", dir.display())]
    NoJournal {
        /// Which folder.
        dir: PathBuf,
    },
    /// A segment does not begin as its name and the segment before it say.
    #[error("record {index}: the header of {} does not continue the chain: {why}", path.display())]
    Header {
        /// Which segment.
        path: PathBuf,
        /// The record that should follow.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A frame is not what its header or the chain says.
    #[error("record {index}: {} is damaged at byte {offset}: {why}", path.display())]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The record that should stand there.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// What has the name of a segment is no file.
    #[error("record {index}: {} is not a file", path.display())]
    NoFile {
        /// What has the name.
        path: PathBuf,
        /// The record that should stand there.
        index: u64,
    },
    /// A segment begins with a record that the one before it holds.
    #[error("record {first}: {} is no part of the chain: the segment before it goes on to record {index}", path.display())]
    Overlap {
        /// The segment that should not exist.
        path: PathBuf,
        /// The record that it begins with.
        first: u64,
        /// The record that a segment may begin with there.
        index: u64,
    },
    /// Records between two segments are missing.
    #[error("records {index} to {} are missing: there is no {}", next - 1, path.display())]
    Missing {
        /// The segment that should exist.
        path: PathBuf,
        /// The first record that is missing.
        index: u64,
        /// The first record that is there again.
        next: u64,
    },
}
