//! The least that an audited proxy can do: a pipe to a server that makes a block durable before what a client sent goes on.
//!
//! `cargo run --profile dist --example flushing_pipe PORT DIR`: carries connections to that port of loopback, and prints
//! `{"port": …}` when it takes them. `./bench` holds the proxy against it: what this costs, every proxy costs here that has
//! the promise to keep, and neither knows who is connected nor what a statement says.
//!
//! Promises: the journal's way of writing (one thread, whole blocks past the page cache, all that waits in one flush), and
//! results that no flush holds back.
//! Deliberately not here: records, names, limits, whatever can go wrong.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::OFlags;

/// A block of the file, and a record of the usual length with the record of its outcome.
const BLOCK_BYTES: usize = 4096;
const RECORDS_BYTES: usize = 1200;

/// The file is filled with zeros beforehand, and written in a circle.
const FILE_BYTES: usize = 16 << 20;

const PIECE_BYTES: usize = 8 * 1024;
const EVENTS: usize = 64;

/// What epoll says of the listener and of the flush; sessions come before them, two for each.
const LISTENER: u64 = u64::MAX;
const FLUSHED: u64 = u64::MAX - 1;

struct Session {
    client: TcpStream,
    server: TcpStream,
    /// What the client sent and no flush was asked for yet.
    held: Vec<u8>,
    /// What the flush under way makes durable.
    sealed: Vec<u8>,
}

/// What became of bytes that had come.
enum Passed {
    Held,
    On,
    Ended,
}

impl Session {
    /// Reads once: results go on, what the client sent waits.
    fn pass(&mut self, from_client: bool, piece: &mut [u8]) -> Passed {
        let read = if from_client { self.client.read(piece) } else { self.server.read(piece) };
        let read = match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Passed::On,
            Ok(0) | Err(_) => return Passed::Ended,
            Ok(read) => piece.get(..read).unwrap_or_default(),
        };
        if from_client {
            self.held.extend_from_slice(read);
            return Passed::Held;
        }
        self.client.write_all(read).map_or(Passed::Ended, |()| Passed::On)
    }
}

/// How many sessions' statements wait for the next flush, and who does it.
#[derive(Default)]
struct Flusher {
    statements: Mutex<usize>,
    asked: Condvar,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().context("expected PORT DIR")?.parse()?;
    let dir = PathBuf::from(arguments.next().context("expected PORT DIR")?);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let flusher = Arc::new(Flusher::default());
    let (flushed, tell) = std::os::unix::net::UnixStream::pair()?;
    let file = prepared(&dir)?;
    let asked = Arc::clone(&flusher);
    std::thread::spawn(move || flush(&asked, &file, tell));
    println!("{{\"port\": {}}}", listener.local_addr()?.port());
    carry(&listener, port, &flusher, &flushed)
}

fn prepared(dir: &std::path::Path) -> anyhow::Result<File> {
    let path = dir.join("flushing_pipe");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let flags = i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits())?;
    let file = File::options().write(true).custom_flags(flags).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// The thread that writes.
fn flush(flusher: &Flusher, file: &File, mut tell: std::os::unix::net::UnixStream) -> std::io::Result<()> {
    let memory = vec![7; FILE_BYTES / 16 + BLOCK_BYTES];
    let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
    let mut at = 0;
    loop {
        let mut statements = flusher.statements.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while *statements == 0 {
            statements = flusher.asked.wait(statements).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let bytes =
            (std::mem::take(&mut *statements) * RECORDS_BYTES).next_multiple_of(BLOCK_BYTES).min(FILE_BYTES / 16);
        drop(statements);
        if at + bytes > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(memory.get(aligned..aligned + bytes).unwrap_or_default(), at as u64)?;
        at += bytes;
        tell.write_all(b"!")?;
    }
}

/// The thread that relays.
fn carry(
    listener: &TcpListener,
    port: u16,
    flusher: &Flusher,
    mut flushed: &std::os::unix::net::UnixStream,
) -> anyhow::Result<()> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |fd: std::os::fd::BorrowedFd<'_>, key| {
        epoll::add(&queue, fd, epoll::EventData::new_u64(key), epoll::EventFlags::IN)
    };
    watch(listener.as_fd(), LISTENER)?;
    watch(flushed.as_fd(), FLUSHED)?;
    let mut sessions: Vec<Option<Session>> = Vec::new();
    // Who waits for the next flush, and for the one that is under way.
    let (mut next, mut underway): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut events = Vec::with_capacity(EVENTS);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        events.clear();
        epoll::wait(&queue, spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    let (client, server) = (listener.accept()?.0, TcpStream::connect(("127.0.0.1", port))?);
                    for (end, key) in [(&client, 0), (&server, 1)] {
                        end.set_nodelay(true)?;
                        watch(end.as_fd(), sessions.len() as u64 * 2 + key)?;
                    }
                    sessions.push(Some(Session { client, server, held: Vec::new(), sealed: Vec::new() }));
                }
                FLUSHED => {
                    flushed.read_exact(&mut [0])?;
                    for at in underway.drain(..) {
                        if let Some(Some(session)) = sessions.get_mut(at) {
                            let _ = session.server.write_all(&session.sealed);
                            session.sealed.clear();
                        }
                    }
                }
                key => {
                    let at = usize::try_from(key / 2)?;
                    let Some(place) = sessions.get_mut(at) else { continue };
                    match place.as_mut().map(|session| session.pass(key % 2 == 0, &mut piece)) {
                        Some(Passed::Held) => next.push(at),
                        Some(Passed::On) | None => {}
                        Some(Passed::Ended) => *place = None,
                    }
                }
            }
        }
        if underway.is_empty() && !next.is_empty() {
            std::mem::swap(&mut next, &mut underway);
            for at in &underway {
                if let Some(Some(session)) = sessions.get_mut(*at) {
                    std::mem::swap(&mut session.held, &mut session.sealed);
                }
            }
            *flusher.statements.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = underway.len();
            flusher.asked.notify_one();
        }
    }
}
