//! The real psql, and the person who reads its prompt.
//!
//! Promises: a prompt is answered at the provider's pages from what psql itself showed, never from inside knowledge.
//! Deliberately not here: other clients (`program.rs`).

use std::cell::Cell;
use std::io::Write as _;
use std::process::Stdio;

use super::Stage;
use super::idp::Idp;
use super::process::{Lines, Process, mortal};

/// What the person does with the prompt.
#[derive(Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// Signs in as this login.
    As(&'a str),
    /// Refuses at the provider.
    Refuse(&'a str),
    /// Looks away.
    Nothing,
}

/// A psql that is to be started.
pub(crate) struct Psql<'a> {
    stage: &'a Stage,
    conninfo: String,
    answer: Answer<'a>,
    arguments: Vec<String>,
}

/// What an ended psql left.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Spoken {
    /// The lines of its result; it must have ended well.
    pub(crate) fn lines(&self) -> Vec<&str> {
        assert_eq!(self.status, 0, "{self:?}");
        self.out.lines().collect()
    }
}

impl Stage {
    /// psql as `login`, who approves her own prompt.
    pub(crate) fn psql<'a>(&'a self, login: &'a str) -> Psql<'a> {
        Psql {
            stage: self,
            conninfo: self.conninfo(login),
            answer: Answer::As(login),
            arguments: ["-X", "-w", "-A", "-t", "-q", "-v", "VERBOSITY=verbose"].map(str::to_owned).into(),
        }
    }
}

impl<'a> Psql<'a> {
    pub(crate) fn answered(mut self, answer: Answer<'a>) -> Self {
        self.answer = answer;
        self
    }

    /// Connects elsewhere than to the proxy itself.
    #[allow(dead_code, reason = "not every binary of tests needs it")]
    pub(crate) fn to(mut self, conninfo: String) -> Self {
        self.conninfo = conninfo;
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs commands, each as a `-c` of its own, and waits for the end.
    pub(crate) fn run(mut self, commands: &[&str]) -> Spoken {
        self.arguments.extend(commands.iter().flat_map(|command| ["-c".to_owned(), (*command).to_owned()]));
        self.start().finish()
    }

    /// Runs a script from its standard input and waits for the end.
    pub(crate) fn script(self, script: &str) -> Spoken {
        self.start_script(script).finish()
    }

    /// Starts it with a script on its standard input.
    pub(crate) fn start_script(self, script: &str) -> Running<'a> {
        let mut running = self.start();
        let mut stdin = running.process.child().stdin.take().unwrap();
        let script = script.to_owned();
        std::thread::spawn(move || stdin.write_all(script.as_bytes()).ok());
        running
    }

    /// Starts it; its prompt is answered when it comes.
    pub(crate) fn start(self) -> Running<'a> {
        let mut command = mortal("psql");
        command.args(&self.arguments).arg(&self.conninfo).env_remove("PGAPPNAME");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let out = Lines::of(process.child().stdout.take().unwrap());
        let err = Lines::of(process.child().stderr.take().unwrap());
        Running { process, out, err, idp: &self.stage.idp, answer: Cell::new(self.answer) }
    }
}

/// A psql that runs.
pub(crate) struct Running<'a> {
    pub(crate) process: Process,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
    idp: &'a Idp,
    answer: Cell<Answer<'a>>,
}

impl Running<'_> {
    /// The code of the prompt, when there is one before psql ends.
    pub(crate) fn code(&self) -> Option<String> {
        self.err.find(code_in)
    }

    /// Answers the prompt as the person was told to, once, if one comes.
    pub(crate) fn answer(&self) {
        let answer = self.answer.replace(Answer::Nothing);
        if let Answer::Nothing = answer {
            return;
        }
        let Some(code) = self.code() else { return };
        match answer {
            Answer::As(login) => self.idp.approve(&code, login),
            Answer::Refuse(login) => self.idp.refuse(&code, login),
            Answer::Nothing => {}
        }
    }

    /// Answers the prompt, closes the input and waits for the end.
    pub(crate) fn finish(mut self) -> Spoken {
        drop(self.process.child().stdin.take());
        self.answer();
        let (out, err) = (self.out.to_end().join("\n"), self.err.to_end().join("\n"));
        let status = self.process.wait().code().unwrap_or(-1);
        Spoken { status, out, err }
    }
}

/// The code in a line of prompt: `… sign in to continue: open URL and enter CODE …`.
pub(crate) fn code_in(line: &str) -> Option<String> {
    let (_, prompt) = line.split_once("sign in to continue: open ")?;
    let (_, code) = prompt.split_once(" and enter ")?;
    let end = code.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(code.len());
    Some(code[..end].to_owned())
}
