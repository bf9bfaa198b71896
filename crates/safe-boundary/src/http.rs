//! A small HTTP/1.1 server for ports of ours that speak it.
//!
//! Promises: at most [`CONNECTIONS_MAX`] connections, each for one request and at most [`CONNECTION_TIME`], headers of at
//! most [`HEAD_BYTES_MAX`]; when all places are taken the oldest connection goes, so that whoever holds connections open
//! keeps nobody else out; bodies of requests are not read.
//! Deliberately not here: what is answered, and TLS.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::descriptors;

/// How many connections there are at the same time.
pub const CONNECTIONS_MAX: usize = 64;

/// How long one may last, from accepting to the last byte of the answer.
pub const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// The longest request line and headers; hyper has no smaller buffer.
pub const HEAD_BYTES_MAX: usize = 8192;

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the future is dropped; then all connections end.
pub async fn serve<S>(listener: &TcpListener, service: S)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<String>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // One that has got a descriptor of the reserve is let go: who watches asks again.
        let accepted =
            listener.accept().await.and_then(|(stream, _)| descriptors::leave_some(&stream).map(|()| stream));
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections of HTTP");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS_MAX
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let served = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service.clone());
        oldest_first.push_back(connections.spawn(async move {
            // What goes wrong here is the other side's; there is nothing to tell anybody.
            let _ = tokio::time::timeout(CONNECTION_TIME, served).await;
        }));
    }
}
