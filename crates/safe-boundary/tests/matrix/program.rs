//! A client program that runs.
//!
//! The contract of such a program (they stand in `scripts/clients/`): it is told in its environment where to connect
//! (`SB_HOST`, `SB_PORT`, `SB_DATABASE`), as whom (`SB_LOGIN`), by which authority the server's certificate is signed
//! (`SB_CA`, to be verified in full), its `application_name` (`SB_PROGRAM`; without it, what the library sends by
//! itself) and the size of what is large (`SB_LARGE`, bytes). It does all checks that it can, and prints as its last
//! line one JSON object: the value of each check under its name. If it is not let in, the object has `refused`, the
//! server's message, and `sqlstate` where the library tells it.
//!
//! Promises: what it says comes back as that object.
//! Deliberately not here: which programs there are (`clients.rs`), what they must see (`checks.rs`).

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::clients::Client;
use super::support::Stage;
use super::support::process::{Lines, Process, mortal};

/// The longest that a client may take for everything.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a client says it saw, by name of check; `Err` when it ended otherwise.
pub(crate) fn run(
    stage: &Stage,
    client: &Client,
    login: &str,
    program: Option<&str>,
    large: usize,
) -> Result<Value, String> {
    let words = (client.command)();
    let mut command = mortal(&words[0]);
    command.args(&words[1..]);
    command.env("SB_HOST", "localhost").env("SB_PORT", stage.proxy.address.port().to_string());
    command.env("SB_DATABASE", "payments").env("SB_LOGIN", login).env("SB_CA", stage.folder().join("ca.crt"));
    command.env("SB_LARGE", large.to_string()).envs(program.map(|program| ("SB_PROGRAM", program)));
    // One zone, so that every client and the server write a moment in the same way.
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env_remove("PGAPPNAME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut command);
    let out = Lines::of(process.child().stdout.take().unwrap());
    let err = Lines::of(process.child().stderr.take().unwrap());
    let (out, err) = (out.to_end_within(PATIENCE), err.to_end_within(PATIENCE).join("\n"));
    let status = process.wait();
    let last = out.last().map_or("", String::as_str);
    serde_json::from_str(last).map_err(|error| format!("{error}: {status}, said {last:?}, {err}"))
}
