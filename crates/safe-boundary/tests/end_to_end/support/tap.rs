//! A pipe between the proxy and its server that keeps every byte that goes up.
//!
//! Promises: it changes nothing, and ends each direction when its sender does.
//! Deliberately not here: what may go up.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use super::process::PATIENCE;

/// A pipe for any number of connections.
pub(crate) struct Tap {
    pub(crate) port: u16,
    connections: Receiver<JoinHandle<Vec<u8>>>,
}

impl Tap {
    /// A pipe to `server`, a port of this machine. It takes connections until the test's process ends.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, connections) = mpsc::channel();
        thread::spawn(move || {
            for proxy in listener.incoming().map(Result::unwrap) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
                for stream in [&proxy, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from, to) = (server.try_clone().unwrap(), proxy.try_clone().unwrap());
                thread::spawn(move || pump(&from, &to));
                if told.send(thread::spawn(move || pump(&proxy, &server))).is_err() {
                    return;
                }
            }
        });
        Self { port, connections }
    }

    /// The next connection; joined, when it has ended, it gives what went up.
    pub(crate) fn next(&self) -> JoinHandle<Vec<u8>> {
        self.connections.recv_timeout(PATIENCE).expect("a connection")
    }
}

/// Everything from one end to the other; what it was.
fn pump(mut from: &TcpStream, mut to: &TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = from.read(&mut piece) {
        all.extend_from_slice(&piece[..read]);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    all
}
