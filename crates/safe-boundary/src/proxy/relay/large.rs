//! Frames too large for a buffer: brought to the disk as they come, recorded, then sent up from there.
//!
//! Promises: memory stays that of a buffer however long a statement or a parameter is; the content is durable before
//! the record that names it, and the record before the first byte goes up.
//! Deliberately not here: COPY data, which is counted and hashed as it passes (`upward.rs`).

use std::fs::File;
use std::io::{self, Read as _};

use domain::audit::record::{Hex, Spilled};
use domain::statement::conversation::Violation;
use domain::statement::large::{Flush, LargeFrame};
use pgproto::frame::HEADER_BYTES;
use pgproto::frontend::{FrontendTag, encode};
use pgproto::tracker::Step;

use super::Ended;
use super::upward::{Upward, lost};
use crate::clock::now;
use crate::descriptors;
use crate::metrics::METRICS;
use crate::trail::blob::BlobWriter;
use crate::trail::journal::AppendError;

/// How much is read from a blob at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// The longest names and lists around a content, in bytes: 65,535 type OIDs and their count.
const AROUND_BYTES_MAX: usize = 2 + 4 * 65_535;

/// What stands before the content of a large frame, header included, and what the frame is.
struct Head {
    raw: Vec<u8>,
    frame: Around,
}

/// A large frame without its content.
enum Around {
    Query,
    Parse(Vec<u8>),
    Bind(Vec<u8>, Vec<u8>),
    Function(u32),
}

/// The content of a large frame, and where it is.
enum Content {
    /// On the disk; `after` follows it in the frame.
    Blob { spilled: Spilled, after: Vec<u8> },
    /// Still to come from the client: it must not be kept.
    ToCome,
    /// Gone: the disk did not take it.
    Refused,
}

impl Content {
    /// How many bytes go up of a frame with this content, of which `rest` bytes follow the head.
    fn frame_bytes(&self, head: &Head, rest: usize) -> u64 {
        match self {
            Self::Blob { spilled, after } => head.before_blob().len() as u64 + spilled.bytes + after.len() as u64,
            Self::ToCome => (head.raw.len() + rest) as u64,
            Self::Refused => 0,
        }
    }
}

impl Head {
    /// What stands before a blob: a message's blob has its names in it already.
    fn before_blob(&self) -> &[u8] {
        match self.frame {
            Around::Query | Around::Parse(_) => &self.raw,
            Around::Bind(..) | Around::Function(_) => self.raw.get(..HEADER_BYTES).unwrap_or_default(),
        }
    }
}

impl Upward<'_, '_> {
    /// Takes one large frame from the front of the client's bytes.
    pub(super) async fn large(&mut self, tag: FrontendTag, bytes: usize) -> Result<(), Ended> {
        let head = self.head(tag, bytes).await?;
        let rest = bytes.saturating_sub(head.raw.len());
        let keeps = self.shared.conversation.borrow().keeps_parameters();
        let content = match &head.frame {
            Around::Query | Around::Parse(_) => self.spool_text(tag, rest).await?,
            Around::Bind(..) | Around::Function(_) if keeps => self.spool_message(&head, rest).await?,
            Around::Bind(..) | Around::Function(_) => Content::ToCome,
        };
        let frame = described(&head.frame, &content, tag)?;
        let intake = loop {
            let judged = self.shared.conversation.borrow_mut().large(&frame, now());
            match judged.map_err(|violation| Ended::Violation(violation.to_string()))? {
                Step::Pass(intake) => break intake,
                Step::Wait => self.wait().await?,
                Step::Drop => return self.discard(&content, rest).await,
            }
        };
        let (refused, statements) = (intake.refused, intake.effect.batch().statements());
        let opened = match &content {
            Content::Refused if self.shared.journal.blobs().has_failed() => Err(AppendError::Stopped),
            Content::Refused => Err(AppendError::Full),
            Content::Blob { .. } | Content::ToCome => self.shared.open(intake.effect).await,
        };
        match opened {
            Ok(_) if intake.instead.is_some() => {
                self.discard(&content, rest).await?;
                self.server.send(&intake.instead.unwrap_or_default()).await?;
                self.server.flush().await
            }
            // INVARIANT: what goes up is as long as the frame says. Else the server would read on where nobody has judged.
            Ok(_) if content.frame_bytes(&head, rest) != bytes as u64 => Err(malformed(tag)),
            Ok(flush) => self.send_up(head, content, rest, flush).await,
            Err(AppendError::Stopped) => Err(Ended::JournalStopped),
            Err(AppendError::Full) => {
                METRICS.relay().refused(statements);
                self.discard(&content, rest).await?;
                let instead = self.shared.conversation.borrow_mut().refuse_large(&refused, tag);
                self.server.send(&instead).await?;
                self.server.flush().await
            }
        }
    }

    /// Takes header and names off the client's bytes.
    ///
    /// INVARIANT: they end within the frame. What follows it belongs to others, which nobody has judged yet.
    async fn head(&mut self, tag: FrontendTag, bytes: usize) -> Result<Head, Ended> {
        loop {
            let here = self.buffer.filled();
            let here = here.get(..bytes).unwrap_or(here);
            if let Some(head) = read_head(tag, here) {
                self.buffer.consume(head.raw.len());
                return Ok(head);
            }
            if here.len() == bytes || self.buffer.is_full() {
                return Err(malformed(tag));
            }
            self.read().await?;
        }
    }

    /// A text up to its NUL goes to the disk; what follows is kept.
    async fn spool_text(&mut self, tag: FrontendTag, rest: usize) -> Result<Content, Ended> {
        let mut spool = Spool::begin(self.shared.journal.blobs().clone()).await;
        let mut after: Option<Vec<u8>> = None;
        let mut left = rest;
        while left > 0 {
            let piece = self.piece(left).await?;
            left -= piece.len();
            match &mut after {
                Some(after) => after.extend_from_slice(&piece),
                None => match memchr::memchr(0, &piece) {
                    None => spool = spool.write(piece).await,
                    Some(end) => {
                        after = Some(piece.get(end..).unwrap_or_default().to_vec());
                        spool = spool.write(piece.get(..end).unwrap_or_default().to_vec()).await;
                    }
                },
            }
            if after.as_ref().is_some_and(|after| after.len() > AROUND_BYTES_MAX + 1) {
                return Err(malformed(tag));
            }
        }
        let after = after.ok_or_else(|| malformed(tag))?;
        Ok(spool.finish(after).await)
    }

    /// A whole message goes to the disk, names and all: they belong to what is recorded.
    async fn spool_message(&mut self, head: &Head, rest: usize) -> Result<Content, Ended> {
        let mut spool = Spool::begin(self.shared.journal.blobs().clone()).await;
        spool = spool.write(head.raw.get(HEADER_BYTES..).unwrap_or_default().to_vec()).await;
        let mut left = rest;
        while left > 0 {
            let piece = self.piece(left).await?;
            left -= piece.len();
            spool = spool.write(piece).await;
        }
        Ok(spool.finish(Vec::new()).await)
    }

    /// The next bytes of the frame, at most `left`.
    async fn piece(&mut self, left: usize) -> Result<Vec<u8>, Ended> {
        if self.buffer.filled().is_empty() {
            self.read().await?;
        }
        let here = self.buffer.filled();
        let piece = here.get(..left.min(here.len())).unwrap_or_default().to_vec();
        self.buffer.consume(piece.len());
        Ok(piece)
    }

    /// Takes the rest of a frame that does not go up off the client's bytes.
    async fn discard(&mut self, content: &Content, rest: usize) -> Result<(), Ended> {
        let mut left = if matches!(content, Content::ToCome) { rest } else { 0 };
        while left > 0 {
            left -= self.piece(left).await?.len();
        }
        Ok(())
    }

    async fn send_up(&mut self, head: Head, content: Content, rest: usize, flush: Flush) -> Result<(), Ended> {
        match content {
            Content::Refused => return Err(Ended::JournalStopped),
            Content::ToCome => {
                self.server.send(&head.raw).await?;
                let mut left = rest;
                while left > 0 {
                    let piece = self.piece(left).await?;
                    left -= piece.len();
                    self.server.send(&piece).await?;
                }
            }
            Content::Blob { spilled, after } => {
                self.server.send(head.before_blob()).await?;
                self.send_blob(&spilled).await?;
                self.server.send(&after).await?;
            }
        }
        if flush.0 {
            let mut bytes = Vec::new();
            encode::flush(&mut bytes);
            self.server.send(&bytes).await?;
        }
        self.server.flush().await
    }

    async fn send_blob(&mut self, spilled: &Spilled) -> Result<(), Ended> {
        let blobs = self.shared.journal.blobs().clone();
        let sha256 = spilled.sha256.0;
        let mut file = blocking(move || blobs.open(&sha256)).await.map_err(lost)?;
        let mut left = spilled.bytes;
        while left > 0 {
            let (piece, same_file) = blocking(move || read_piece(file)).await.map_err(lost)?;
            file = same_file;
            // INVARIANT: the header has promised exactly this many bytes; a blob of another length ends the session.
            let bytes = piece.len() as u64;
            if bytes == 0 || bytes > left {
                return Err(Ended::ServerLost("a blob has changed its length".to_owned()));
            }
            left -= bytes;
            self.server.send(&piece).await?;
        }
        Ok(())
    }
}

/// A content on its way to the disk. What the disk refuses is swallowed until the frame's end, and said there.
enum Spool {
    Open(BlobWriter),
    Failed(io::Error),
}

impl Spool {
    async fn begin(blobs: crate::trail::blob::BlobStore) -> Self {
        // A client may leave a frame unfinished for as long as it likes: that must not cost the trail its descriptors.
        blocking(move || descriptors::some_left().and_then(|()| blobs.begin()))
            .await
            .map_or_else(Self::Failed, Self::Open)
    }

    async fn write(self, piece: Vec<u8>) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error),
            Self::Open(mut writer) => {
                let written = blocking(move || writer.write(&piece).map(|()| writer)).await;
                written.map_or_else(Self::Failed, Self::Open)
            }
        }
    }

    async fn finish(self, after: Vec<u8>) -> Content {
        let finished = match self {
            Self::Failed(error) => Err(error),
            Self::Open(writer) => blocking(move || writer.finish()).await,
        };
        match finished {
            Ok((sha256, bytes)) => Content::Blob { spilled: Spilled { sha256: Hex(sha256), bytes }, after },
            Err(error) => {
                tracing::error!(%error, "a long statement could not be brought to the disk");
                Content::Refused
            }
        }
    }
}

/// Runs file work beside the session's thread, which has other sessions.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn read_piece(mut file: File) -> io::Result<(Vec<u8>, File)> {
    let mut piece = vec![0; PIECE_BYTES];
    let bytes = file.read(&mut piece)?;
    piece.truncate(bytes);
    Ok((piece, file))
}

/// Header and names, if they are all here.
fn read_head(tag: FrontendTag, here: &[u8]) -> Option<Head> {
    let body = here.get(HEADER_BYTES..)?;
    let name = |from: usize| {
        let rest = body.get(from..)?;
        let end = memchr::memchr(0, rest)?;
        Some((rest.get(..end)?.to_vec(), from + end + 1))
    };
    let (frame, bytes) = match tag {
        FrontendTag::Query => (Around::Query, 0),
        FrontendTag::Parse => {
            let (statement, end) = name(0)?;
            (Around::Parse(statement), end)
        }
        FrontendTag::Bind => {
            let (portal, end) = name(0)?;
            let (statement, end) = name(end)?;
            (Around::Bind(portal, statement), end)
        }
        FrontendTag::FunctionCall => (Around::Function(u32::from_be_bytes(*body.first_chunk()?)), 4),
        // No other message may be that large: its header was refused.
        _ => return None,
    };
    Some(Head { raw: here.get(..HEADER_BYTES + bytes)?.to_vec(), frame })
}

/// What is judged and recorded of a frame and its content.
fn described(frame: &Around, content: &Content, tag: FrontendTag) -> Result<LargeFrame, Ended> {
    let empty = Spilled { sha256: Hex(tlog::hash::Hash::default()), bytes: 0 };
    let (spilled, after) = match content {
        Content::Blob { spilled, after } => (Some(*spilled), after.as_slice()),
        Content::ToCome => (None, &[][..]),
        // It is judged all the same, so that its refusal takes its place in the order.
        Content::Refused => (Some(empty), &[][..]),
    };
    Ok(match frame {
        Around::Query if after.len() > 1 => return Err(malformed(tag)),
        Around::Query => LargeFrame::Query { text: spilled.unwrap_or(empty) },
        Around::Parse(name) => LargeFrame::Parse {
            name: name.clone(),
            text: spilled.unwrap_or(empty),
            types: if matches!(content, Content::Refused) { Vec::new() } else { types(after, tag)? },
        },
        Around::Bind(portal, statement) => {
            LargeFrame::Bind { portal: portal.clone(), statement: statement.clone(), message: spilled }
        }
        Around::Function(oid) => LargeFrame::Function { oid: *oid, message: spilled },
    })
}

/// The types at the end of a Parse: the NUL of its text, a count, and that many OIDs.
fn types(after: &[u8], tag: FrontendTag) -> Result<Vec<u32>, Ended> {
    let list = after.get(1..).and_then(|rest| rest.split_first_chunk::<2>());
    let (count, oids) = list.ok_or_else(|| malformed(tag))?;
    let (chunks, odd) = oids.as_chunks::<4>();
    if !odd.is_empty() || chunks.len() != usize::from(u16::from_be_bytes(*count)) {
        return Err(malformed(tag));
    }
    Ok(chunks.iter().map(|oid| u32::from_be_bytes(*oid)).collect())
}

fn malformed(tag: FrontendTag) -> Ended {
    Ended::Violation(Violation::Malformed(tag).to_string())
}
