//! Listeners, and the threads that carry the sessions.
//!
//! Promises: both sockets of a session stay on one thread; a panic ends one session; when descriptors run out, accepting
//! pauses and goes on; sessions wait for one newcomer at a time, however many come.
//! Deliberately not here: what a connection does (`serve.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::LocalSet;

use crate::descriptors;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How many accepted connections may wait for one thread. Beyond that they wait with the system, which has its own bound.
const WAITING_MAX: usize = 1024;

/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// When to ask a silent client whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// How long to wait for each answer.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(3);

/// After how many unanswered questions it is gone: 10 s in all. This is for when nothing is in flight; `vanished.rs` has
/// the rest.
const KEEPALIVE_RETRIES: u32 = 2;

/// One address that clients connect to, and the databases that are reached through it.
#[derive(Debug)]
pub struct Port {
    /// The address as configured.
    pub address: SocketAddr,
    /// The indexes of its databases in the configuration.
    pub databases: Vec<usize>,
}

/// A client that has just connected.
#[derive(Debug)]
pub struct Arrival {
    /// Its connection; not registered with any thread yet.
    stream: std::net::TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came in.
    pub port: Arc<Port>,
}

impl Arrival {
    /// The connection, on the thread that carries it from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn into_stream(self) -> io::Result<(TcpStream, SocketAddr, Arc<Port>)> {
        Ok((TcpStream::from_std(self.stream)?, self.peer, self.port))
    }
}

/// Opens a listener.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the future is dropped, and hands each connection to a worker in turn.
pub async fn accept(listener: &TcpListener, port: &Arc<Port>, workers: &Workers) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let tuned = tune(&stream).and_then(|()| stream.into_std());
        match tuned {
            Ok(stream) => {
                let stream = when_there_is_room(stream).await;
                workers.give(Arrival { stream, peer, port: Arc::clone(port) }).await;
            }
            Err(error) => tracing::debug!(%error, %peer, "a connection broke at once"),
        }
    }
}

/// Waits, and so lets all others wait too, while only descriptors are left that connections may not have.
async fn when_there_is_room(mut stream: std::net::TcpStream) -> std::net::TcpStream {
    while let Err(error) = descriptors::leave_some(&stream) {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
        // The copy gets the lowest number that is free by now.
        if let Ok(again) = stream.try_clone() {
            stream = again;
        }
    }
    stream
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_ANSWER).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// The threads that carry sessions: one runtime each, one thread each.
#[derive(Debug)]
pub struct Workers {
    senders: Vec<mpsc::Sender<Arrival>>,
    next: std::sync::atomic::AtomicUsize,
}

impl Workers {
    /// Starts threads; each runs `serve` for every connection it is given.
    ///
    /// # Errors
    /// When the system has no threads.
    pub fn start<F, S>(count: usize, serve: S) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
        S: Fn(Arrival) -> F + Clone + Send + 'static,
    {
        let mut senders = Vec::new();
        for number in 0..count.max(1) {
            let (sender, mut arrivals) = mpsc::channel(WAITING_MAX);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let serve = serve.clone();
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let local = LocalSet::new();
                local.spawn_local(async move {
                    while let Some(arrival) = arrivals.recv().await {
                        tokio::task::spawn_local(serve(arrival));
                        // What the sessions were waiting for comes before the next one.
                        tokio::task::yield_now().await;
                    }
                });
                runtime.block_on(local);
            })?;
            senders.push(sender);
        }
        Ok(Self { senders, next: std::sync::atomic::AtomicUsize::new(0) })
    }

    /// To the workers in turn; past those that have no room while another has.
    async fn give(&self, arrival: Arrival) {
        let first = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % self.senders.len().max(1);
        let mut arrival = arrival;
        for sender in self.senders.iter().cycle().skip(first).take(self.senders.len()) {
            arrival = match sender.try_send(arrival) {
                Ok(()) => return,
                Err(TrySendError::Full(arrival) | TrySendError::Closed(arrival)) => arrival,
            };
        }
        // All are full; accepting waits.
        if let Some(sender) = self.senders.get(first) {
            // A worker lives as long as the process.
            let _ = sender.send(arrival).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn arrival(listener: &TcpListener) -> Arrival {
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        Arrival { stream, peer, port: Arc::new(Port { address: peer, databases: Vec::new() }) }
    }

    #[tokio::test]
    async fn a_full_worker_holds_up_nobody_while_another_has_room() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (full, _kept) = mpsc::channel(1);
        let (free, mut arrivals) = mpsc::channel(2);
        let workers = Workers { senders: vec![full, free], next: std::sync::atomic::AtomicUsize::new(0) };
        for _ in 0..3 {
            let given = workers.give(arrival(&listener).await);
            tokio::time::timeout(Duration::from_secs(10), given).await.unwrap();
        }
        // One each in turn, and the third past the one that is full.
        assert!(arrivals.recv().await.is_some() && arrivals.recv().await.is_some());
        assert!(arrivals.is_empty());
    }
}
