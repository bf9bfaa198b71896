//! Frames that are durable after a single call: whole blocks, past the page cache (`O_DIRECT | O_DSYNC`).
//!
//! A write and a sync of the same bytes cost more, of the processor and of the wait (`./bench 5` times both). The block that a
//! frame begins in is written again with what stands before it there, as the page cache does too.
//!
//! Promises: what stands before the frame is written as it was; behind the frame are zeros.
//! Deliberately not here: when a frame may be written so (`segment.rs`, `writer.rs`).

use std::io;

use crate::trail::disk::{BLOCK_BYTES, DurableFile};

/// Where frames are written so.
#[derive(Debug)]
pub(super) struct Direct {
    file: Box<dyn DurableFile>,
    /// Longer than what is written, so that a place in it can be found where a block may begin.
    memory: Vec<u8>,
}

impl Direct {
    pub(super) fn new(file: Box<dyn DurableFile>) -> Self {
        Self { file, memory: Vec::new() }
    }

    /// Writes one frame behind `before`, all that is already in the block at `offset`.
    pub(super) fn write(&mut self, before: &[u8], frame: &[u8], offset: u64) -> io::Result<()> {
        let bytes = (before.len() + frame.len()).next_multiple_of(BLOCK_BYTES);
        self.memory.clear();
        self.memory.reserve(BLOCK_BYTES + bytes);
        let start = self.memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        self.memory.resize(start, 0);
        self.memory.extend_from_slice(before);
        self.memory.extend_from_slice(frame);
        self.memory.resize(start + bytes, 0);
        self.file.write_durably(self.memory.get(start..).unwrap_or_default(), offset)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug)]
    struct Seen(Arc<Mutex<Vec<(usize, Vec<u8>, u64)>>>);

    impl DurableFile for Seen {
        fn write_durably(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
            self.0.lock().unwrap().push((blocks.as_ptr().addr() % BLOCK_BYTES, blocks.to_vec(), offset));
            Ok(())
        }
    }

    #[test]
    fn blocks_are_whole_and_aligned_and_keep_what_stood_before() {
        let seen = Arc::default();
        let mut direct = Direct::new(Box::new(Seen(Arc::clone(&seen))));
        for (before, frame) in [(0, 8), (4088, 8), (4088, 16), (8, 100_000), (72, 4024)] {
            let (before, frame) = (vec![1; before], vec![2; frame]);
            direct.write(&before, &frame, 8192).unwrap();
            let (misaligned, blocks, offset) = seen.lock().unwrap().pop().unwrap();
            assert_eq!((misaligned, blocks.len() % BLOCK_BYTES, offset), (0, 0, 8192));
            let (written, rest) = blocks.split_at(before.len() + frame.len());
            assert_eq!(written, [before, frame].concat());
            assert!(rest.len() < BLOCK_BYTES && rest.iter().all(|byte| *byte == 0));
        }
    }
}
