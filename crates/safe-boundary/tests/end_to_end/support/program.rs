//! Clients that hide prompts (psycopg, asyncpg, pgjdbc), run by the programs in `scripts/clients/`.
//!
//! Promises: what they say about the database comes back as one JSON object.
//! Deliberately not here: what they do (their programs say it).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::process::{Lines, Process, mortal};
use super::{Stage, root};

/// A client library and the program that drives it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    Psycopg,
    Asyncpg,
    Pgjdbc,
}

impl Library {
    pub(crate) const ALL: [Self; 3] = [Self::Psycopg, Self::Asyncpg, Self::Pgjdbc];

    fn command(self) -> Command {
        let clients = root().join("scripts/clients");
        let python = root().join(".work/venv/bin/python");
        let (runtime, arguments): (PathBuf, Vec<PathBuf>) = match self {
            Self::Psycopg => (python, vec![clients.join("with_psycopg.py")]),
            Self::Asyncpg => (python, vec![clients.join("with_asyncpg.py")]),
            Self::Pgjdbc => {
                let driver = "/usr/share/java/postgresql.jar".into();
                ("java".into(), vec!["-cp".into(), driver, clients.join("WithPgjdbc.java")])
            }
        };
        let mut command = mortal(runtime);
        command.args(arguments);
        command
    }
}

/// A client program that runs.
pub(crate) struct Client {
    process: Process,
    out: Lines,
    err: Lines,
}

impl Stage {
    /// Starts a client; its `application_name` is what the library sends by itself unless `program` names one.
    pub(crate) fn client(&self, library: Library, login: &str, program: Option<&str>) -> Client {
        let mut command = library.command();
        command.env("SB_PORT", self.proxy.address.port().to_string()).env("SB_LOGIN", login);
        command.env("SB_CA", self.folder().join("ca.crt")).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(program) = program {
            command.env("SB_PROGRAM", program);
        }
        let mut process = Process::start(&mut command);
        let out = Lines::of(process.child().stdout.take().unwrap());
        let err = Lines::of(process.child().stderr.take().unwrap());
        Client { process, out, err }
    }

    /// Starts a client and signs in for it: it hides the prompt, so the person learns the code from the provider.
    pub(crate) fn run_client(&self, library: Library, login: &str, program: &str) -> Value {
        let client = self.client(library, login, Some(program));
        self.idp.approve(&self.idp.next_code(&[]), login);
        client.finish()
    }
}

impl Client {
    /// Waits for the end and gives what it says it saw.
    pub(crate) fn finish(mut self) -> Value {
        let out = self.out.to_end();
        let err = self.err.to_end().join("\n");
        let status = self.process.wait();
        let last = out.last().unwrap_or_else(|| panic!("{status}, nothing was said: {err}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {status}: {out:?} {err}"))
    }
}
