//! The client's end of a connection before its session is bound: what may be said, and how a refusal is told.
//!
//! Promises: on TLS a refusal is AuthenticationOk, then FATAL, so that no client tries again in plaintext; on plaintext
//! it is FATAL alone (`docs/clients.md` tells which client needs what). What is told stays within its lines: characters that
//! hide, break a line or command a terminal are spelled out, whoever wrote them.
//! Deliberately not here: what is refused, and why.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use domain::session::ToClient;
use domain::text::{self, is_hidden};
use pgproto::backend::encode;
use pgproto::notice::{Notice, Severity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stream::Stream;

/// How long a client may take to read its refusal.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client may take to read anything else that is told before its session.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client that is not connected to anything yet.
#[derive(Debug)]
pub struct Front {
    stream: Stream,
    peer: SocketAddr,
    /// AuthenticationOk was said.
    is_greeted: bool,
}

/// What a client did while nothing was expected of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It went away.
    Gone,
    /// It sent something.
    Spoke,
}

impl Interruption {
    /// What it did, for the record.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "the client went away",
            Self::Spoke => "the client spoke before its session began",
        }
    }
}

impl Front {
    /// A client whose start-up packet has been read.
    #[must_use]
    pub const fn new(stream: Stream, peer: SocketAddr) -> Self {
        Self { stream, peer, is_greeted: false }
    }

    /// Where it connects from.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The TLS version, none on plaintext.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.stream.tls_version()
    }

    /// Says something that is not a refusal; AuthenticationOk goes first, for no client shows a notice before it.
    ///
    /// # Errors
    /// When the client does not take it.
    pub async fn tell(&mut self, notice: &Notice) -> io::Result<()> {
        let mut bytes = self.greeting();
        spelled_out(notice.clone()).encode(&mut bytes);
        self.send(&bytes).await
    }

    /// Sends bytes as they are, after AuthenticationOk.
    ///
    /// # Errors
    /// When the client does not take them.
    pub async fn say(&mut self, message_bytes: &[u8]) -> io::Result<()> {
        let mut bytes = self.greeting();
        bytes.extend_from_slice(message_bytes);
        self.send(&bytes).await
    }

    /// Sends bytes that go before authentication.
    ///
    /// # Errors
    /// When the client does not take them, or not in time.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = tokio::time::timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Refuses, and closes.
    pub async fn refuse(mut self, refusal: &(dyn ToClient + Sync)) {
        let mut notice = spelled_out(refusal.to_client());
        notice.severity = Severity::Fatal;
        let mut bytes = if self.stream.is_tls() { self.greeting() } else { Vec::new() };
        notice.encode(&mut bytes);
        // A client that does not read its refusal is let go.
        let _ = tokio::time::timeout(FAREWELL, async {
            self.send(&bytes).await?;
            self.stream.shutdown().await
        })
        .await;
    }

    /// Waits until the client does something; while a person is asked, nothing is expected.
    pub async fn interrupted(&mut self) -> Interruption {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte).await {
            Ok(1..) => Interruption::Spoke,
            Ok(0) | Err(_) => Interruption::Gone,
        }
    }

    /// The bare stream, for the relay.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    fn greeting(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !std::mem::replace(&mut self.is_greeted, true) {
            encode::authentication_ok(&mut bytes);
        }
        bytes
    }
}

/// The notice with names in it that may come out of somebody else's connection string: what they hide, everybody sees.
fn spelled_out(mut notice: Notice) -> Notice {
    for text in [Some(&mut notice.message), notice.detail.as_mut(), notice.hint.as_mut()].into_iter().flatten() {
        if text.contains(is_hidden) {
            *text = text::spelled_out(text);
        }
    }
    notice
}

#[cfg(test)]
mod tests {
    use pgproto::sqlstate::SqlState;

    use super::*;

    #[test]
    fn nothing_that_is_told_leaves_its_line() {
        let notice = Notice::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "a\nb\r\u{1b}[2J")
            .detail("\u{202e}x\u{200b}\0")
            .hint("zwölf \\ \"✓\"");
        let plain = spelled_out(notice);
        assert_eq!(plain.message, "a\\nb\\r\\u{1b}[2J");
        assert_eq!(plain.detail.as_deref(), Some("\\u{202e}x\\u{200b}\\u{0}"));
        assert_eq!(plain.hint.as_deref(), Some("zwölf \\ \"✓\""));
    }
}
