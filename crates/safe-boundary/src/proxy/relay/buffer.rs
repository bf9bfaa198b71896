//! A flat buffer: bytes come in at the end, are judged, and leave at the front.
//!
//! Promises: it grows to what one frame needs, and has no memory while it is empty and nothing comes. What it gives back
//! the next one on this thread uses, while a processor's cache still holds it.
//! Deliberately not here: what the bytes mean.

use std::cell::RefCell;
use std::future::poll_fn;
use std::{io, mem};

use tokio::io::AsyncReadExt as _;

use crate::proxy::stream;

/// The size for chat, in bytes.
const CHAT_BYTES: usize = 8 * 1024;

/// The size for streams, in bytes.
const STREAM_BYTES: usize = 256 * 1024;

/// How many empty buffers one thread keeps: as many as are in use at once on most days.
const SPARES: usize = 32;

thread_local! {
    /// Empty buffers for chat.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for chat.
fn borrow() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(CHAT_BYTES))
}

/// Lets the next one have a buffer whose bytes are gone.
fn give_back(mut bytes: Vec<u8>) {
    bytes.clear();
    if bytes.capacity() == CHAT_BYTES {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARES {
                spare.push(bytes);
            }
        });
    }
}

/// Bytes that have come and are not yet gone.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the bytes begin that are still here.
    start: usize,
    /// How much the next read may take.
    room: usize,
}

impl Buffer {
    pub(super) fn new(leftover: Vec<u8>) -> Self {
        Self { bytes: leftover, start: 0, room: CHAT_BYTES }
    }

    /// What is here.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Lets go of bytes at the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > self.room.saturating_mul(2) {
                self.bytes = Vec::new();
            }
        }
    }

    /// Whether another read would take more than a frame needs.
    pub(super) fn is_full(&self) -> bool {
        self.filled().len() >= STREAM_BYTES
    }

    /// Reads once; 0 says that the other end is done. Cancelling it loses nothing.
    pub(super) async fn read(&mut self, mut from: &stream::Shared) -> io::Result<usize> {
        self.compact();
        if self.bytes.is_empty() {
            // Most sessions do nothing most of the time: they hold no memory for what may come.
            let bytes = &mut self.bytes;
            poll_fn(|context| {
                let arrived = from.poll_arrival(context);
                if arrived.is_pending() {
                    give_back(mem::take(bytes));
                }
                arrived
            })
            .await?;
            if self.bytes.capacity() == 0 && self.room == CHAT_BYTES {
                self.bytes = borrow();
            }
        }
        if self.bytes.capacity() - self.bytes.len() < self.room / 2 {
            self.bytes.reserve(self.room);
        }
        let read = from.read_buf(&mut self.bytes).await?;
        // A read that fills what there was says that more is coming: the next one may take more.
        self.room = if read >= self.room { (self.room * 2).min(STREAM_BYTES) } else { (self.room / 2).max(CHAT_BYTES) };
        Ok(read)
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}
