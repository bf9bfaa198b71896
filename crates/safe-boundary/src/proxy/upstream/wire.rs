//! Frames to and from an upstream while the session begins.
//!
//! Promises: memory is bounded whatever the server sends; bytes behind the last message read are kept for the relay.
//! Deliberately not here: the relay, which has buffers of its own.

use std::io;

use pgproto::backend::BackendTag;
use pgproto::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::{Error, Violation};
use crate::proxy::stream::Stream;

/// The largest message that may come before a session is ready.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// All that may come before a session is ready.
const TOTAL_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 4096;

/// A connection with what was read of it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    unread: Vec<u8>,
    total_bytes: usize,
}

/// One whole message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) tag: BackendTag,
    /// With tag and length.
    pub(super) frame: Vec<u8>,
}

impl Message {
    pub(super) fn body(&self) -> &[u8] {
        self.frame.get(frame::HEADER_BYTES..).unwrap_or_default()
    }

    /// The error for a message that has no place here.
    pub(super) fn unexpected(&self, at: &'static str) -> Error {
        Violation::Unexpected { tag: self.tag, at }.into()
    }
}

impl Wire {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, unread: Vec::new(), total_bytes: 0 }
    }

    /// Goes on with what was read but not used.
    pub(super) const fn resume(stream: Stream, unread: Vec<u8>) -> Self {
        Self { stream, unread, total_bytes: 0 }
    }

    /// The connection, and what was read but not used.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Writes, and sees to it that it goes out.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::Lost)?;
        self.stream.flush().await.map_err(Error::Lost)
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Message, Error> {
        loop {
            if let Some((tag, header)) = frame::backend_header(&self.unread).map_err(Violation::from)? {
                let bytes = header.frame_bytes();
                if bytes > FRAME_BYTES_MAX {
                    return Err(Violation::TooLarge { of: "in a message", max: FRAME_BYTES_MAX }.into());
                }
                if bytes <= self.unread.len() {
                    let rest = self.unread.split_off(bytes);
                    return Ok(Message { tag, frame: std::mem::replace(&mut self.unread, rest) });
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let mut chunk = Vec::with_capacity(READ_BYTES);
        let count = self.stream.read_buf(&mut chunk).await.map_err(Error::Lost)?;
        if count == 0 {
            return Err(Error::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        self.total_bytes = self.total_bytes.saturating_add(count);
        if self.total_bytes > TOTAL_BYTES_MAX {
            return Err(Violation::TooLarge { of: "before the session is ready", max: TOTAL_BYTES_MAX }.into());
        }
        self.unread.append(&mut chunk);
        Ok(())
    }
}
