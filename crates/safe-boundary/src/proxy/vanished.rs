//! Clients that are gone without a word, while something for them is still on its way.
//!
//! TCP asks a silent peer whether it is there (keepalive) only when nothing is in flight. What was sent to a client that
//! has lost its network is repeated for a quarter of an hour instead, and all that time its statement runs and its locks
//! hold. `TCP_USER_TIMEOUT` would end that, but it also ends who merely reads slowly: Linux counts a closed window against
//! it although the peer answers each probe (tried on 6.18). So the kernel is asked what it repeats, and for how long.
//!
//! Promises: who has acknowledged nothing for [`SILENCE`] is told of, within a second more; who reads slowly, or not at
//! all, and answers, is not; when the kernel does not answer, it is asked again.
//! Deliberately not here: silence while nothing is in flight (keepalive, `listen.rs`), and what ends with the client.
//!
//! Source: sock_diag(7).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Notify;

/// How long a client may acknowledge nothing of what is sent to it again and again.
pub const SILENCE: Duration = Duration::from_secs(8);

/// How often the kernel is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How many questions into a closed window may stay without an answer: a live peer does not answer each.
const PROBES: u8 = 3;

/// Both ends of a connection, ours first.
type Ends = (SocketAddr, SocketAddr);

/// The connections that are watched.
#[derive(Clone, Debug, Default)]
pub struct Vanished(Arc<Mutex<HashMap<Ends, Arc<Notify>>>>);

/// A connection that is watched until this goes away.
#[derive(Debug)]
pub struct Watched {
    vanished: Vanished,
    ends: Ends,
    /// Told when the client has vanished, and again each second that it stays so.
    notice: Arc<Notify>,
}

impl Watched {
    /// Tells from now on: a silence that was over before this is no reason, and one that lasts is told again within a second.
    #[must_use]
    pub fn from_now(&self) -> Arc<Notify> {
        // What was told while nobody listened waits for the first who does.
        pin!(self.notice.notified()).as_mut().enable();
        Arc::clone(&self.notice)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A client that has come again from the same port may stand there by now.
        if let Entry::Occupied(entry) = self.vanished.lock().entry(self.ends)
            && Arc::ptr_eq(entry.get(), &self.notice)
        {
            entry.remove();
        }
    }
}

impl Vanished {
    /// Watches a connection.
    #[must_use]
    pub fn watch(&self, ours: SocketAddr, theirs: SocketAddr) -> Watched {
        let (ends, notice) = ((plain(ours), plain(theirs)), Arc::new(Notify::new()));
        self.lock().insert(ends, Arc::clone(&notice));
        Watched { vanished: self.clone(), ends, notice }
    }

    /// Looks for ever.
    pub async fn run(self) {
        let mut silences = Silences::default();
        loop {
            tokio::time::sleep(LOOK).await;
            if self.lock().is_empty() {
                silences.since.clear();
                continue;
            }
            let answer =
                tokio::task::spawn_blocking(unanswered).await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let vanished = silences.look(answer, Instant::now());
            let watched = self.lock();
            vanished.iter().filter_map(|ends| watched.get(ends)).for_each(|notice| notice.notify_one());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Ends, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when each connection is silent, by what the kernel has said so far.
#[derive(Debug, Default)]
struct Silences {
    since: HashMap<Ends, Instant>,
    /// Whether the last question got no answer.
    is_blind: bool,
}

impl Silences {
    /// Takes what the kernel says now; gives who has been silent for too long.
    fn look(&mut self, answer: io::Result<Vec<Ends>>, now: Instant) -> Vec<Ends> {
        let was_blind = std::mem::replace(&mut self.is_blind, answer.is_err());
        let repeated = match answer {
            Ok(repeated) => repeated,
            Err(error) => {
                if !was_blind {
                    tracing::warn!(%error, "the system does not say which clients are silent: until it does, one that vanishes may take a quarter of an hour to be noticed");
                }
                // They may have answered since.
                self.since.clear();
                return Vec::new();
            }
        };
        if was_blind {
            tracing::info!("the system says again which clients are silent");
        }
        let since = |ends| (ends, self.since.get(&ends).copied().unwrap_or(now));
        self.since = repeated.into_iter().map(since).collect();
        let is_long = |since: &Instant| now.duration_since(*since) >= SILENCE;
        self.since.iter().filter(|(_, since)| is_long(since)).map(|(ends, _)| *ends).collect()
    }
}

/// An IPv4 address as such, also where an IPv6 socket has it.
const fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = 56;
const FAMILIES: [u8; 2] = [2, 10];
const IPPROTO_TCP: u8 = 6;
/// One bit for `TCP_ESTABLISHED`, one for `TCP_CLOSE_WAIT`: the other side has closed its half, and may still read.
const STATES: u32 = 1 << 1 | 1 << 8;

/// The connections of this machine on which the other end owes us an acknowledgement.
fn unanswered() -> io::Result<Vec<Ends>> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(&request(family))?;
        let mut answer = vec![0; 64 * 1024];
        loop {
            let read = (&socket).read(&mut answer)?;
            if !messages(answer.get(..read).unwrap_or_default(), &mut found)? {
                break;
            }
        }
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all TCP sockets of a family.
fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    let length = u32::try_from(HEADER_BYTES + REQUEST_BYTES).unwrap_or_default();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    bytes.resize(HEADER_BYTES + REQUEST_BYTES, 0);
    bytes
}

/// Reads the messages of one datagram; whether more will come.
fn messages(mut raw: &[u8], found: &mut Vec<Ends>) -> io::Result<bool> {
    while let Some((head, _)) = raw.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, low, high, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(0);
        let body = raw.get(HEADER_BYTES..length).ok_or(io::ErrorKind::InvalidData)?;
        match u16::from_ne_bytes([low, high]) {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let code = body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => found.extend(silent(body)),
        }
        raw = raw.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// The ends of a connection, from a `struct inet_diag_msg`, if the other one owes us something.
fn silent(body: &[u8]) -> Option<Ends> {
    let [family, _, timer, unanswered, our_high, our_low, their_high, their_low, ..] = *body.first_chunk::<8>()?;
    // 1: something is sent again; 4: the peer's window is closed, and it is asked.
    let is_silent = matches!((timer, unanswered), (1, 1..) | (4, PROBES..));
    let (ours, rest) = body.get(8..)?.split_first_chunk::<16>()?;
    let theirs = rest.first_chunk::<16>()?;
    let address = |raw: &[u8; 16]| match (family, raw) {
        (2, [a, b, c, d, ..]) => IpAddr::from([*a, *b, *c, *d]),
        _ => IpAddr::from(*raw).to_canonical(),
    };
    let ours = SocketAddr::new(address(ours), u16::from_be_bytes([our_high, our_low]));
    let theirs = SocketAddr::new(address(theirs), u16::from_be_bytes([their_high, their_low]));
    is_silent.then_some((ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    fn socket(family: u8, timer: u8, unanswered: u8) -> Vec<u8> {
        let (mut ours, mut theirs) = ([0; 16], [0; 16]);
        ours[..4].copy_from_slice(&[127, 0, 0, 1]);
        theirs[..4].copy_from_slice(&[192, 0, 2, 7]);
        [&[family, 1, timer, unanswered, 0x15, 0x38, 0xc3, 0x50][..], &ours, &theirs, &[0; 32]].concat()
    }

    #[test]
    fn a_silence_that_was_over_before_anybody_listened_is_not_told() {
        let vanished = Vanished::default();
        let watched = vanished.watch("127.0.0.1:5432".parse().unwrap(), "192.0.2.7:50000".parse().unwrap());
        let is_told = |notice: &Notify| pin!(notice.notified()).as_mut().enable();
        watched.notice.notify_one();
        let notice = watched.from_now();
        assert!(!is_told(&notice));
        watched.notice.notify_one();
        assert!(is_told(&notice));
    }

    #[test]
    fn an_old_connection_leaves_the_watch_over_a_new_one_from_its_port() {
        let vanished = Vanished::default();
        let (ours, theirs) = ("127.0.0.1:5432".parse().unwrap(), "192.0.2.7:50000".parse().unwrap());
        let (old, new) = (vanished.watch(ours, theirs), vanished.watch(ours, theirs));
        drop(old);
        assert!(vanished.lock().values().any(|notice| Arc::ptr_eq(notice, &new.notice)));
        drop(new);
        assert!(vanished.lock().is_empty());
    }

    #[test]
    fn whoever_owes_an_answer_is_silent() {
        let ends = ("127.0.0.1:5432".parse().unwrap(), "192.0.2.7:50000".parse().unwrap());
        let cases = [
            (0, 0, None),
            (2, 3, None),
            (1, 0, None),
            (1, 1, Some(ends)),
            (1, 9, Some(ends)),
            (4, 0, None),
            (4, 2, None),
            (4, 3, Some(ends)),
        ];
        for (timer, unanswered, expected) in cases {
            assert_eq!(silent(&socket(2, timer, unanswered)), expected, "{timer} {unanswered}");
        }
        assert_eq!(silent(&socket(2, 1, 1)[..30]), None);
        let mapped = [&[10, 1, 1, 1, 0, 1, 0, 2][..], &[0; 10], &[255, 255, 127, 0, 0, 1], &[0; 16]].concat();
        assert_eq!(silent(&mapped).unwrap().0.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let mut found = Vec::new();
        let two =
            [message(20, &socket(2, 1, 1)), message(20, &socket(2, 0, 0)), message(20, &socket(2, 4, 5))].concat();
        assert!(messages(&two, &mut found).unwrap());
        assert_eq!(found.len(), 2);
        assert!(!messages(&[two.clone(), message(NLMSG_DONE, &[0; 4])].concat(), &mut found).unwrap());
        let denied = message(NLMSG_ERROR, &(-1_i32).to_ne_bytes());
        assert_eq!(messages(&denied, &mut found).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(messages(&two[..120], &mut found).is_err(), "a message that is cut off");
        assert!(messages(&message(20, b"")[..15], &mut Vec::new()).unwrap());
        assert!(messages(&[0; 16], &mut Vec::new()).is_err(), "a length of nothing would be read for ever");
    }

    #[test]
    fn only_unbroken_silence_counts_and_an_error_ends_nothing() {
        let (begun, mut silences) = (Instant::now(), Silences::default());
        let ends = |port| (SocketAddr::from(([127, 0, 0, 1], 5432)), SocketAddr::from(([192, 0, 2, 7], port)));
        let (gone, slow) = (ends(1), ends(2));
        let mut look = |answer, second| silences.look(answer, begun + Duration::from_secs(second));
        assert_eq!(look(Ok(vec![gone, slow]), 0), []);
        assert_eq!(look(Ok(vec![gone]), 4), []);
        assert_eq!(look(Ok(vec![gone, slow]), 7), []);
        assert_eq!(look(Ok(vec![gone, slow]), 8), [gone], "the other one has answered in between");
        // No descriptor at that instant: what was known may have changed unseen, and is counted anew.
        assert_eq!(look(Err(rustix::io::Errno::MFILE.into()), 9), []);
        assert_eq!(look(Err(io::ErrorKind::TimedOut.into()), 10), []);
        assert_eq!(look(Ok(vec![gone]), 11), []);
        assert_eq!(look(Ok(vec![gone]), 18), []);
        assert_eq!(look(Ok(vec![gone]), 19), [gone]);
    }

    #[test]
    fn the_system_answers() {
        unanswered().unwrap();
    }
}
