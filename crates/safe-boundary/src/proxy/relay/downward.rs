//! From the server to the client: read, follow, pass on.
//!
//! Promises: rows pass without being held, whatever their size; a message is looked into only where it ends or changes
//! something; the records of outcomes are made after the client has its bytes.
//! Deliberately not here: waiting for the journal; nothing here does.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use domain::statement::conversation::Conversation;
use domain::statement::refusal;
use pgproto::backend::BackendTag;
use pgproto::frame::{self, HEADER_BYTES};
use pgproto::tracker::Refused;
use pgproto::tracker::answers::Reaction;
use tokio::io::AsyncWriteExt as _;

use super::buffer::Buffer;
use super::{Ended, Shared, stream};
use crate::clock::now;
use crate::metrics::METRICS;

/// Runs until the server's side ends, or until it is told to stop; then it stops between two messages.
pub(super) async fn run(
    shared: &Shared<'_>,
    server: &stream::Shared,
    mut client: &stream::Shared,
    leftover: Vec<u8>,
) -> Ended {
    let mut buffer = Buffer::new(leftover);
    let mut walk = Walk::default();
    loop {
        let dropped = walk.drop_from(buffer.filled().len());
        buffer.consume(dropped);
        let judged = walk.judge(&mut shared.conversation.borrow_mut(), buffer.filled());
        let (pass, then) = match judged {
            Ok(judged) => judged,
            Err(Lost { pass, why }) => {
                pass_at_once(shared, client, buffer.filled().get(..pass).unwrap_or_default()).await;
                return Ended::ServerLost(why);
            }
        };
        // Whoever stops in the middle of this write leaves the client in the middle of a message.
        shared.client_is_within.set(true);
        if pass > 0 && client.write_all(buffer.filled().get(..pass).unwrap_or_default()).await.is_err() {
            return Ended::ClientGone;
        }
        shared.client_is_within.set(walk.passing > 0);
        METRICS.relay().down(pass);
        buffer.consume(pass);
        let more = match then {
            Then::Read => true,
            Then::Replace { message_bytes, why } => {
                let mut notice = Vec::new();
                refusal::notice(why).encode(&mut notice);
                shared.client_is_within.set(true);
                if client.write_all(&notice).await.is_err() {
                    return Ended::ClientGone;
                }
                shared.client_is_within.set(false);
                walk.discard(message_bytes);
                false
            }
        };
        if !more {
            continue;
        }
        if client.flush().await.is_err() {
            return Ended::ClientGone;
        }
        tell(shared);
        if shared.is_ending.get() && walk.is_between_messages() && buffer.filled().is_empty() {
            return Ended::ServerClosed;
        }
        let read = tokio::select! {
            biased; // However much the server sends.
            () = shared.ending.notified(), if walk.is_between_messages() => return Ended::ServerClosed,
            read = buffer.read(server) => read,
        };
        match read {
            Ok(1..) => {}
            Ok(0) if !walk.is_between_messages() => {
                return Ended::ServerLost("it closed in the middle of a message".to_owned());
            }
            Ok(0) if walk.last_is_error => return Ended::ServerClosed,
            Ok(0) => return Ended::ServerLost("it closed without a word".to_owned()),
            Err(error) => return Ended::ServerLost(error.to_string()),
        }
    }
}

/// What was judged before all is lost is on record as done: the client has it too, if it takes it without being waited for.
///
/// INVARIANT: nothing is awaited, so that no frame of the client is judged by what is known to be wrong.
async fn pass_at_once(shared: &Shared<'_>, mut client: &stream::Shared, raw: &[u8]) {
    let mut passing = pin!(async {
        client.write_all(raw).await?;
        client.flush().await
    });
    let passed = poll_fn(|context| Poll::Ready(passing.as_mut().poll(context))).await;
    shared.client_is_within.set(!matches!(passed, Poll::Ready(Ok(()))));
}

/// What ended is recorded, and who waits for it is woken.
fn tell(shared: &Shared<'_>) {
    let mut conversation = shared.conversation.borrow_mut();
    conversation.outcomes(now(), |batch| shared.journal.note(batch));
    if conversation.is_quiet() {
        shared.is_quiet.notify_one();
    }
    if shared.is_waiting.replace(false) {
        shared.progress.notify_one();
    }
}

/// Where in the server's stream of messages we are.
#[derive(Debug, Default)]
struct Walk {
    /// What is left of a message that passes unread.
    passing: usize,
    /// What is left of a message that is dropped.
    dropping: usize,
    /// The position in the stream.
    at: u64,
    /// The last message was an error: before a server closes, that is why.
    last_is_error: bool,
}

enum Then {
    /// Get more bytes.
    Read,
    /// Tell something else in the place of the next message, of that many bytes.
    Replace { message_bytes: usize, why: Refused },
}

/// Nobody knows what a message means, nor those that follow.
struct Lost {
    /// How many bytes before it may go to the client.
    pass: usize,
    why: String,
}

impl Walk {
    const fn is_between_messages(&self) -> bool {
        self.passing == 0 && self.dropping == 0
    }

    /// How many of the bytes at the front belong to a message that is dropped.
    fn drop_from(&mut self, here: usize) -> usize {
        let piece = self.dropping.min(here);
        self.dropping -= piece;
        piece
    }

    fn discard(&mut self, message_bytes: usize) {
        self.dropping = message_bytes;
    }

    /// How many bytes from the front may go to the client, and what comes then.
    fn judge(&mut self, conversation: &mut Conversation, raw: &[u8]) -> Result<(usize, Then), Lost> {
        let mut pass = 0;
        if self.dropping > 0 {
            return Ok((0, Then::Read));
        }
        loop {
            let rest = raw.get(pass..).unwrap_or_default();
            if self.passing > 0 {
                let piece = self.passing.min(rest.len());
                self.passing -= piece;
                pass += piece;
                if self.passing > 0 {
                    return Ok((pass, Then::Read));
                }
                continue;
            }
            let (tag, header) = match frame::backend_header(rest) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok((pass, Then::Read)),
                Err(error) => return Err(Lost { pass, why: error.to_string() }),
            };
            let end = self.at + header.frame_bytes() as u64;
            self.last_is_error = tag == BackendTag::ErrorResponse;
            if let Some(needed) = Conversation::reads(tag, header.body_bytes) {
                let Some(body) = rest.get(HEADER_BYTES..HEADER_BYTES + needed) else { return Ok((pass, Then::Read)) };
                match conversation.answer(tag, body, end) {
                    Ok(Reaction::Pass) => {}
                    Ok(Reaction::Refusal(why)) => {
                        self.at = end;
                        return Ok((pass, Then::Replace { message_bytes: header.frame_bytes(), why }));
                    }
                    Err(confusion) => return Err(Lost { pass, why: confusion.to_string() }),
                }
            }
            self.at = end;
            self.passing = header.frame_bytes();
        }
    }
}
