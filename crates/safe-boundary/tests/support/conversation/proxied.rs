//! One connection to the server, with the conversation in between or without.
//!
//! Promises: does what the two halves of the relay do, step by step, with other things happening between the steps.
//! Deliberately not here: TLS, the journal, large frames.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::audit::pending::{Position, Receipt};
use domain::audit::record::{Batch, Parameters};
use domain::statement::conversation::{Conversation, Forward, Next};
use domain::statement::ink::Ink;
use domain::statement::refusal::{self, Refused};
use jiff::Timestamp;
use pgproto::frame::{self, HEADER_BYTES};
use pgproto::frontend::encode;
use pgproto::startup::ProtocolVersion;
use pgproto::tracker::answers::Reaction;
use serde_json::Value;

use super::script::Dice;

/// How long a pipeline may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(20);

/// A connection that has said ReadyForQuery.
pub(crate) fn open(port: u16) -> TcpStream {
    open_with_key(port).0
}

/// The same with its process id and its secret. One that ended just now may still count: then it is tried again.
fn open_with_key(port: u16) -> (TcpStream, (u32, [u8; 4])) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut out = Vec::new();
        let parameters: [(&[u8], &[u8]); 2] = [(b"user", b"trusted"), (b"database", b"shop")];
        encode::startup(&mut out, ProtocolVersion { major: 3, minor: 0 }, &parameters).unwrap();
        stream.write_all(&out).unwrap();
        let mut key = None;
        let refusal = loop {
            match message(&mut stream) {
                (b'E', refusal) => break String::from_utf8_lossy(&refusal).into_owned(),
                (b'K', raw) => {
                    let pid = u32::from_be_bytes(raw[..4].try_into().unwrap());
                    key = Some((pid, raw[4..].try_into().unwrap()));
                }
                (b'Z', _) => return (stream, key.unwrap()),
                _ => {}
            }
        };
        // After a crash of its own it starts again at once.
        let is_short = ["53300", "57P03"].iter().any(|code| refusal.contains(code));
        assert!(is_short && Instant::now() < deadline, "{refusal}");
    }
}

/// Says goodbye and waits until the server has gone too, so that connections do not pile up there.
fn close(mut stream: TcpStream) {
    let mut goodbye = Vec::new();
    encode::terminate(&mut goodbye);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(&goodbye).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// The next message of the server: tag and body.
pub(crate) fn message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 5];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(header[1..].try_into().unwrap())).unwrap() - 4];
    stream.read_exact(&mut body).unwrap();
    (header[0], body)
}

/// What the server says to these bytes when nobody stands between, up to the end of the script.
pub(crate) fn directly(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = open(port);
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    let mut ended = false;
    loop {
        let (tag, body) = message(&mut stream);
        all.push(tag);
        all.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        all.extend(&body);
        ended |= tag == b'D' && body.ends_with(b"the end");
        if ended && tag == b'Z' {
            close(stream);
            return all;
        }
    }
}

/// What came of a script.
#[derive(Default)]
pub(crate) struct Result {
    /// What the server said.
    pub(crate) server: Vec<u8>,
    /// What the client got.
    pub(crate) client: Vec<u8>,
    /// All records, in the order of their writing.
    pub(crate) records: Vec<Value>,
    /// How many batches were refused.
    pub(crate) refused: usize,
    /// How many cancel requests were sent.
    pub(crate) cancels: usize,
    /// The server's process.
    pub(crate) pid: u32,
}

/// What goes wrong besides the client's own mistakes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// The journal is full now and then.
    pub(crate) refuses: bool,
    /// Cancel requests come at any moment.
    pub(crate) cancels: bool,
}

/// The upward half, between two steps.
enum Upward {
    Judge,
    /// The journal writes, for so many steps.
    Append {
        steps: usize,
        forward: Option<Forward>,
        raw: usize,
        refused: Refused,
        next: Next,
    },
    More,
    Wait,
}

pub(crate) struct Proxied {
    conversation: Conversation,
    stream: TcpStream,
    dice: Dice,
    /// Client bytes that have come, and that have not.
    here: Vec<u8>,
    to_come: Vec<u8>,
    upward: Upward,
    is_waiting: bool,
    progress: bool,
    came: bool,
    /// Server bytes that have come and are not yet passed on.
    down: Vec<u8>,
    passing: usize,
    dropping: usize,
    at: u64,
    trouble: Trouble,
    port: u16,
    secret: [u8; 4],
    out: Result,
}

impl Proxied {
    /// A conversation over a new connection.
    pub(crate) fn new(port: u16, seed: u64, bytes: &[u8], trouble: Trouble) -> Self {
        let (stream, (pid, secret)) = open_with_key(port);
        stream.set_nonblocking(true).unwrap();
        let ink = Ink::new(Arc::from("node"), [1; 6], Timestamp::UNIX_EPOCH);
        Self {
            conversation: Conversation::new(ink, Parameters::Full),
            stream,
            dice: Dice::new(seed ^ 0x5eed),
            here: Vec::new(),
            to_come: bytes.to_vec(),
            upward: Upward::Judge,
            is_waiting: false,
            progress: false,
            came: false,
            down: Vec::new(),
            passing: 0,
            dropping: 0,
            at: 0,
            trouble,
            port,
            secret,
            out: Result { pid, ..Result::default() },
        }
    }

    /// Runs until the server has answered everything, or says why it does not get there.
    pub(crate) fn run(mut self) -> std::result::Result<Result, String> {
        let deadline = Instant::now() + DEADLINE;
        let mut now = Timestamp::UNIX_EPOCH;
        loop {
            now += Duration::from_micros(100);
            let mut moved = false;
            if self.dice.one_in(2) {
                moved |= self.client_sends();
            }
            if self.dice.one_in(2) {
                moved |= self.step_up(now)?;
            }
            if self.dice.one_in(3) {
                moved |= self.step_down(now)?;
            }
            if self.trouble.cancels && self.dice.one_in(40) && !self.conversation.is_quiet() {
                self.cancel();
            }
            let is_over = self.to_come.is_empty() && self.here.is_empty() && matches!(self.upward, Upward::More);
            if is_over && self.conversation.is_quiet() && self.down.is_empty() {
                let mut records = Vec::new();
                self.conversation.end("over", now, |batch| records.push(batch));
                records.iter().for_each(|batch| self.keep(batch));
                close(self.stream);
                return Ok(self.out);
            }
            if Instant::now() > deadline {
                return Err(format!("it hangs; waits for the server: {}", matches!(self.upward, Upward::Wait)));
            }
            if !moved && self.dice.one_in(16) {
                // Nothing to do until the server says something.
                std::thread::yield_now();
            }
        }
    }

    /// Asks to cancel whatever runs; the server closes once it has passed that on, or when it crashes.
    fn cancel(&mut self) {
        let mut request = Vec::new();
        encode::cancel_request(&mut request, self.out.pid.cast_signed(), &self.secret).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        if stream.write_all(&request).and_then(|()| stream.read_to_end(&mut Vec::new())).is_ok() {
            self.out.cancels += 1;
        }
    }

    fn keep(&mut self, batch: &Batch) {
        self.out.records.extend(batch.entries().map(|entry| serde_json::from_slice::<Value>(entry).unwrap()));
    }

    fn tell(&mut self, now: Timestamp) {
        let mut records = Vec::new();
        self.conversation.outcomes(now, |batch| records.push(batch));
        records.iter().for_each(|batch| self.keep(batch));
    }

    fn client_sends(&mut self) -> bool {
        if self.to_come.is_empty() {
            return false;
        }
        let most = if self.dice.one_in(3) { 9 } else { 400 };
        let piece = (1 + self.dice.below(most)).min(self.to_come.len());
        self.here.extend(self.to_come.drain(..piece));
        self.came = true;
        true
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(false).unwrap();
        self.stream.write_all(bytes).unwrap();
        self.stream.set_nonblocking(true).unwrap();
    }

    fn send_owed_sync(&mut self) {
        if self.conversation.owes_sync() {
            let mut sync = Vec::new();
            encode::sync(&mut sync);
            self.write(&sync);
        }
    }

    fn step_up(&mut self, now: Timestamp) -> std::result::Result<bool, String> {
        match std::mem::replace(&mut self.upward, Upward::Judge) {
            Upward::Judge => self.judge(now),
            Upward::Append { steps: 0, forward, raw, refused, next } => {
                if let Some(forward) = forward {
                    self.conversation.settled();
                    self.tell(now);
                    let mut bytes = forward.instead.unwrap_or_else(|| self.here[..forward.bytes].to_vec());
                    if forward.flush {
                        encode::flush(&mut bytes);
                    }
                    self.write(&bytes);
                } else {
                    self.out.refused += 1;
                    let instead = self.conversation.refuse(&refused, &self.here[..raw]);
                    self.write(&instead);
                }
                self.here.drain(..raw);
                self.then(next)?;
                Ok(true)
            }
            Upward::Append { steps, forward, raw, refused, next } => {
                self.upward = Upward::Append { steps: steps - 1, forward, raw, refused, next };
                Ok(true)
            }
            Upward::More => {
                if self.progress {
                    self.progress = false;
                    self.send_owed_sync();
                    Ok(true)
                } else if self.came {
                    self.came = false;
                    Ok(true)
                } else {
                    self.upward = Upward::More;
                    Ok(false)
                }
            }
            Upward::Wait => {
                if self.progress {
                    self.progress = false;
                    self.send_owed_sync();
                    Ok(true)
                } else if self.came {
                    self.came = false;
                    Ok(true)
                } else {
                    self.upward = Upward::Wait;
                    Ok(false)
                }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this stands in for the journal")]
    fn judge(&mut self, now: Timestamp) -> std::result::Result<bool, String> {
        self.came = false;
        let intake = self.conversation.intake(&self.here, now);
        let (raw, refused, next) = (intake.taken, intake.refused(), intake.next);
        if raw == 0 {
            self.then(next)?;
            return Ok(true);
        }
        let forward = match intake.effect.unsealed() {
            Ok(forward) => Some(forward),
            Err(_) if self.trouble.refuses && self.dice.one_in(6) => None,
            Err(sealed) => {
                let mut batch = Batch::default();
                let position = Position::new(1, 1);
                let pending = sealed.append(|records| {
                    batch = records;
                    Ok::<_, String>(position)
                })?;
                self.keep(&batch);
                Some(pending.open(Receipt::mint(position)).map_err(|_| "a receipt does not open")?)
            }
        };
        self.upward = Upward::Append { steps: self.dice.below(6), forward, raw, refused, next };
        Ok(true)
    }

    fn then(&mut self, next: Next) -> std::result::Result<(), String> {
        self.upward = match next {
            Next::More => {
                self.send_owed_sync();
                self.is_waiting = self.conversation.is_copying_in();
                Upward::More
            }
            Next::Wait => {
                self.send_owed_sync();
                self.is_waiting = true;
                Upward::Wait
            }
            Next::Skip(bytes) => {
                self.here.drain(..bytes);
                Upward::Judge
            }
            other => return Err(format!("the client is told {other:?}")),
        };
        Ok(())
    }

    fn step_down(&mut self, now: Timestamp) -> std::result::Result<bool, String> {
        let mut piece = vec![0; if self.dice.one_in(3) { 1 + self.dice.below(9) } else { 4096 }];
        match self.stream.read(&mut piece) {
            Ok(0) => return Err("the server closed".to_owned()),
            Ok(read) => {
                self.out.server.extend(&piece[..read]);
                self.down.extend(&piece[..read]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
        self.walk()?;
        self.tell(now);
        if std::mem::take(&mut self.is_waiting) {
            self.progress = true;
        }
        Ok(true)
    }

    fn walk(&mut self) -> std::result::Result<(), String> {
        loop {
            let dropped = self.dropping.min(self.down.len());
            self.down.drain(..dropped);
            self.dropping -= dropped;
            let passed = self.passing.min(self.down.len());
            self.out.client.extend(self.down.drain(..passed));
            self.passing -= passed;
            if self.dropping > 0 || self.passing > 0 {
                return Ok(());
            }
            let Some((tag, header)) = frame::backend_header(&self.down).map_err(|error| error.to_string())? else {
                return Ok(());
            };
            let end = self.at + header.frame_bytes() as u64;
            let mut reaction = Reaction::Pass;
            if let Some(needed) = Conversation::reads(tag, header.body_bytes) {
                let Some(body) = self.down.get(HEADER_BYTES..HEADER_BYTES + needed) else { return Ok(()) };
                reaction = self.conversation.answer(tag, body, end).map_err(|error| error.to_string())?;
            }
            self.at = end;
            match reaction {
                Reaction::Pass => self.passing = header.frame_bytes(),
                Reaction::Refusal(why) => {
                    refusal::notice(why).encode(&mut self.out.client);
                    self.dropping = header.frame_bytes();
                }
            }
        }
    }
}
