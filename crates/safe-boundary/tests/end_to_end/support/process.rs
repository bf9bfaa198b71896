//! Child processes, and the lines they say.
//!
//! Promises: a child ends with its handle, and with the test even when that is killed; waiting for a line ends with
//! an error after a minute, with what was said last.
//! Deliberately not here: what the lines mean.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The longest anything in a test may take to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `program` as a command that dies with the thread that starts it.
pub(crate) fn mortal(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}; run ./test: it installs what is needed")),
        )
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success(), "no signal could be sent to process {}", self.0.id());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a stream has said so far, line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads `stream` to its end, in a thread of its own.
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                writer.change(|said| said.lines.push(text));
                line.clear();
            }
            writer.change(|said| said.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// What `find` makes of the first line it knows, as soon as there is one; none when the stream ends before.
    pub(crate) fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.find_within(PATIENCE, find)
    }

    fn find_within<T>(&self, patience: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (said, changed) = &*self.0;
        let deadline = Instant::now() + patience;
        let mut said = said.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some(found) = said.lines[seen..].iter().find_map(|line| find(line)) {
                return Some(found);
            }
            seen = said.lines.len();
            if said.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "nothing of the kind was said in {patience:?}, at last:\n{}",
                last_of(&said.lines)
            );
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Waits until all lines so far are what `is_enough` wants; gives up after a minute in which no line comes.
    pub(crate) fn wait_until(&self, is_enough: impl Fn(&[String]) -> bool) {
        let (said, changed) = &*self.0;
        let mut said = said.lock().unwrap();
        while !is_enough(&said.lines) {
            assert!(!said.ended, "the stream ended, with:\n{}", last_of(&said.lines));
            let (next, waited) = changed.wait_timeout(said, PATIENCE).unwrap();
            assert!(!waited.timed_out(), "nothing more was said, at last:\n{}", last_of(&next.lines));
            said = next;
        }
    }

    /// As [`Lines::find`], but the stream must not end before.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.find(find)
            .unwrap_or_else(|| panic!("the stream ended before that was said, with:\n{}", last_of(&self.all())))
    }

    /// All lines until the stream ends.
    pub(crate) fn to_end(&self) -> Vec<String> {
        self.to_end_within(PATIENCE)
    }

    /// As [`Lines::to_end`], of what may take its time.
    pub(crate) fn to_end_within(&self, patience: Duration) -> Vec<String> {
        self.find_within(patience, |_| None::<()>);
        self.all()
    }

    /// The lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }
}

/// The last lines, for a message that people read.
fn last_of(lines: &[String]) -> String {
    const LINES: usize = 12;
    const CHARS: usize = 400;
    let short = lines[lines.len().saturating_sub(LINES)..].iter().map(|line| line.chars().take(CHARS).collect());
    short.collect::<Vec<String>>().join("\n")
}
