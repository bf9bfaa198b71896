//! A database that lets everybody in, answers each query with `1`, and notes who connects as what.
//!
//! Promises: a connection counts from its first moment, whatever it says.
//! Deliberately not here: SQL. What a real one does is tried in `end_to_end`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The process id that it gives to every session.
const PID: [u8; 4] = [0, 0, 0, 7];

/// The running database.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    /// The start-up packet of each connection, empty until it came.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = {
                    let mut seen = shared.lock().unwrap();
                    seen.push(String::new());
                    seen.len() - 1
                };
                let seen = Arc::clone(&shared);
                // A connection that breaks is over: the client is what tests look at.
                thread::spawn(move || serve(stream.unwrap(), |packet| seen.lock().unwrap()[number] = packet));
            }
        });
        Self { port, seen }
    }

    /// How many connections there were so far.
    pub(crate) fn connects(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What each connection asked to be, with commas between.
    pub(crate) fn start_ups(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, note: impl FnOnce(String)) -> Option<()> {
    let packet = read_body(&mut stream)?;
    note(String::from_utf8_lossy(&packet[4..]).trim_end_matches('\0').replace('\0', ","));
    let mut hello = frame(b'R', &[0; 4]);
    hello.extend(frame(b'S', b"server_version\x0015.0\0"));
    hello.extend(frame(b'K', &[&PID[..], &[1; 4]].concat()));
    hello.extend(frame(b'Z', b"I"));
    stream.write_all(&hello).ok()?;
    let mut tag = [0];
    loop {
        stream.read_exact(&mut tag).ok()?;
        let body = read_body(&mut stream)?;
        if tag != *b"Q" {
            return None;
        }
        let value = if String::from_utf8_lossy(&body).contains("pg_backend_pid") { "7" } else { "1" };
        let mut answer = frame(b'T', b"\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
        answer.extend(frame(b'D', &[&[0, 1, 0, 0, 0, 1], value.as_bytes()].concat()));
        answer.extend(frame(b'C', b"SELECT 1\0"));
        answer.extend(frame(b'Z', b"I"));
        stream.write_all(&answer).ok()?;
    }
}

fn read_body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}
