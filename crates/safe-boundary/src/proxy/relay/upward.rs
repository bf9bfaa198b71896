//! From the client to the server: **frame -> classify -> record -> forward**.
//!
//! Promises: bytes go up only out of an effect that the journal has opened; all frames that came together are recorded
//! with one append and forwarded with one write.
//! Deliberately not here: the judgement itself (`domain::statement::intake`).

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use domain::statement::conversation::{Forward, Next};
use pgproto::frame::HEADER_BYTES;
use pgproto::frontend::{FrontendTag, encode};
use pgproto::tracker::Step;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use super::buffer::Buffer;
use super::{Ended, Shared, stream};
use crate::clock::now;
use crate::metrics::METRICS;
use crate::trail::journal::AppendError;

/// How often to see whether the client is still there while nothing can be read of it.
const LOOK: Duration = Duration::from_secs(5);

/// How long a server takes at most to be ready after an error of which it is not known whether it is ready then. Whoever sends
/// something meanwhile would otherwise wait for ever.
const DOUBT: Duration = Duration::from_secs(5);

/// How many looks at what the client has sent before all else has its turn.
const ROUNDS: usize = 16;

/// Runs until the client's side ends.
pub(super) async fn run(shared: &Shared<'_>, client: &stream::Shared, server: &stream::Shared) -> Ended {
    let server = Server { stream: server, client, is_within: &shared.server_is_within };
    let mut upward = Upward { shared, client, server, buffer: Buffer::new(Vec::new()) };
    loop {
        for _ in 0..ROUNDS {
            if let Err(ended) = upward.round().await {
                return ended;
            }
        }
        // A client that sends faster than it can be heard never waits, and would leave no turn to what else there is.
        tokio::task::yield_now().await;
    }
}

/// The client's side of a relay.
pub(super) struct Upward<'a, 'j> {
    pub(super) shared: &'a Shared<'j>,
    client: &'a stream::Shared,
    pub(super) server: Server<'a>,
    pub(super) buffer: Buffer,
}

/// Where frames go up.
pub(super) struct Server<'a> {
    stream: &'a stream::Shared,
    client: &'a stream::Shared,
    is_within: &'a Cell<bool>,
}

impl Server<'_> {
    /// Sends bytes; a client that goes away while the server does not take them ends it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.is_within.set(true);
        METRICS.relay().up(bytes.len());
        while_there(self.client, self.stream.write_all(bytes)).await?.map_err(lost)
    }

    /// What was sent are whole frames: they go out.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        while_there(self.client, self.stream.flush()).await?.map_err(lost)?;
        self.is_within.set(false);
        Ok(())
    }
}

/// Waits for something during which the client is not read, as long as it is there.
async fn while_there<T>(client: &stream::Shared, work: impl Future<Output = T>) -> Result<T, Ended> {
    let mut work = pin!(work);
    // Nearly always there is nothing to wait for, and then no time is asked for.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return Ok(done);
    }
    loop {
        match timeout(LOOK, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) if client.has_hung_up() => return Err(Ended::ClientGone),
            Err(_) => {}
        }
    }
}

impl Upward<'_, '_> {
    /// Judges what is here, sends up what may go, and gets more.
    async fn round(&mut self) -> Result<(), Ended> {
        let intake = self.shared.conversation.borrow_mut().intake(self.buffer.filled(), now());
        let (taken, refused) = (intake.taken, intake.refused());
        let statements = intake.effect.batch().statements();
        if taken > 0 {
            match self.shared.open(intake.effect).await {
                Ok(forward) => self.forward(forward).await?,
                Err(AppendError::Stopped) => return Err(Ended::JournalStopped),
                Err(AppendError::Full) => {
                    METRICS.relay().refused(statements);
                    let raw = self.buffer.filled().get(..taken).unwrap_or_default();
                    let instead = self.shared.conversation.borrow_mut().refuse(&refused, raw);
                    self.server.send(&instead).await?;
                    self.server.flush().await?;
                }
            }
            self.buffer.consume(taken);
        }
        match intake.next {
            Next::More => self.more().await,
            Next::Wait => self.wait().await,
            Next::Skip(bytes) => {
                self.buffer.consume(bytes);
                Ok(())
            }
            Next::Large(FrontendTag::CopyData, bytes) => self.copy_data(bytes).await,
            // Boxed: each session would keep room for what few ever do.
            Next::Large(tag, bytes) => Box::pin(self.large(tag, bytes)).await,
            Next::Terminate => Err(Ended::Goodbye),
            Next::Violation(violation) => Err(Ended::Violation(violation.to_string())),
        }
    }

    async fn forward(&mut self, forward: Forward) -> Result<(), Ended> {
        let taken = self.buffer.filled().get(..forward.bytes).unwrap_or_default();
        let raw = forward.instead.as_deref().unwrap_or(taken);
        self.server.send(raw).await?;
        if forward.flush {
            let mut flush = Vec::new();
            encode::flush(&mut flush);
            self.server.send(&flush).await?;
        }
        self.server.flush().await
    }

    /// Reads; an answer of the server may mean that a Sync is owed.
    async fn more(&mut self) -> Result<(), Ended> {
        if self.send_owed_sync().await? {
            return Ok(());
        }
        self.shared.is_waiting.set(self.shared.conversation.borrow().is_copying_in());
        tokio::select! {
            biased; // In any order: this asks for no random number.
            read = self.buffer.read(self.client) => came(read),
            () = self.shared.progress.notified() => Ok(()),
        }
    }

    /// Waits for an answer of the server, and still sees the client go away.
    ///
    /// INVARIANT: nothing was awaited since the judgement that said to wait, so no answer can have been missed.
    pub(super) async fn wait(&mut self) -> Result<(), Ended> {
        if self.send_owed_sync().await? {
            return Ok(());
        }
        self.shared.is_waiting.set(true);
        let is_full = self.buffer.is_full();
        let is_in_doubt = self.shared.conversation.borrow().is_in_doubt();
        tokio::select! {
            () = self.shared.progress.notified() => Ok(()),
            () = sleep(DOUBT), if is_in_doubt => {
                Err(Ended::ServerLost("an error came, and then not that the server is ready".to_owned()))
            }
            gone = while_there(self.client, pending::<()>()), if is_full => gone,
            read = self.buffer.read(self.client), if !is_full => came(read),
        }
    }

    /// Reads once, whatever the server does.
    pub(super) async fn read(&mut self) -> Result<(), Ended> {
        came(self.buffer.read(self.client).await)
    }

    /// Sends the Sync that a failed COPY left owing; says whether there was one.
    async fn send_owed_sync(&mut self) -> Result<bool, Ended> {
        if !self.shared.conversation.borrow_mut().owes_sync() {
            return Ok(false);
        }
        let mut sync = Vec::new();
        encode::sync(&mut sync);
        self.server.send(&sync).await?;
        self.server.flush().await?;
        Ok(true)
    }

    /// COPY data larger than a buffer: it is counted and hashed as it passes.
    async fn copy_data(&mut self, bytes: usize) -> Result<(), Ended> {
        let step = self.shared.conversation.borrow().copy_data();
        let passes = match step {
            Step::Wait => return self.wait().await,
            Step::Pass(()) => true,
            Step::Drop => false,
        };
        let mut left = bytes;
        let mut head = HEADER_BYTES;
        while left > 0 {
            if self.buffer.filled().is_empty() {
                self.read().await?;
            }
            let here = self.buffer.filled();
            let piece = here.get(..left.min(here.len())).unwrap_or_default();
            if passes {
                let data = piece.get(head.min(piece.len())..).unwrap_or_default();
                self.shared.conversation.borrow_mut().copied(data);
                self.server.send(piece).await?;
            }
            let taken = piece.len();
            head = head.saturating_sub(taken);
            left -= taken;
            self.buffer.consume(taken);
        }
        self.server.flush().await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what a read gives")]
fn came(read: io::Result<usize>) -> Result<(), Ended> {
    match read {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Ended::ClientGone),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(super) fn lost(error: io::Error) -> Ended {
    Ended::ServerLost(error.to_string())
}
