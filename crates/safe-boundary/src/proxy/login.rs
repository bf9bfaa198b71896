//! Signing a person in on a bare connection: her own code, shown here, and released by its own approval alone.
//!
//! Promises: no upstream is touched; a client that goes away ends its polling; each step is recorded before the next;
//! whoever else waits under the same name is named to her by address, for it may be somebody who hopes for her click.
//! Deliberately not here: talking to the IdP (`idp`), and what a token must be (`domain::identity`).

use domain::session::{AnotherPerson, Identified, LoginStep, Session, Startup};
use pgproto::notice::{Notice, Severity};
use pgproto::sqlstate::SqlState;
use tokio::sync::watch;

use super::front::{Front, Interruption};
use super::network::Network;
use super::refusal::Refusal;
use super::relay::Drain;
use super::sign_ins::{Places, SignIn};
use crate::causes;
use crate::clock::now;
use crate::idp::{self, DeviceLogin, IdpClient, LoginFailure, Prompt};
use crate::trail::journal::Journal;

/// How many other addresses a prompt names.
const OTHERS_NAMED_MAX: usize = 4;

/// How a sign-in comes to nothing.
#[derive(Debug)]
pub enum Stop {
    /// The client is told why.
    Refused(Refusal),
    /// The client is not there any more.
    Gone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Signs the person in who this client says it is, while `others` wait under the same name. Whatever ends this before the
/// provider has said something about the person, `sign_in` goes with it unanswered.
///
/// # Errors
/// [`Stop`]: nobody was signed in, or somebody else.
pub async fn sign_in(
    mut session: Session<Startup>,
    front: &mut Front,
    idp: &IdpClient,
    journal: &Journal,
    drain: watch::Receiver<Drain>,
    others: &[Network],
    sign_in: SignIn,
) -> Result<Session<Identified>, Stop> {
    let begun = tokio::select! {
        begun = idp.begin_device() => begun,
        interruption = front.interrupted() => return Err(interrupted(&interruption)),
    };
    let device = match begun {
        Ok(device) => device,
        Err(error) => return Err(failed(&mut session, journal, &error).await),
    };
    let prompted = session.step(LoginStep::Prompted, None, (), now());
    journal.append(prompted).await.map_err(|_| Refusal::Journal)?;
    if front.tell(&prompt(device.prompt(), &session, others)).await.is_err() {
        return Err(abandoned(&mut session, journal, None, Stop::Gone).await);
    }
    let (answer, _under_way) = answer(&mut session, front, device, journal, drain, sign_in).await?;
    let identified = session.identify(answer.identity, "code", now());
    match journal.append(identified).await.map_err(|_| Refusal::Journal)? {
        Ok(session) => Ok(session),
        Err(AnotherPerson { signed_in_as, asked_for }) => {
            Err(Refusal::AnotherPerson { signed_in_as, asked_for }.into())
        }
    }
}

/// Waits for the person; a client that goes away or speaks ends it, and so does a proxy that shuts down.
async fn answer(
    session: &mut Session<Startup>,
    front: &mut Front,
    device: DeviceLogin,
    journal: &Journal,
    mut drain: watch::Receiver<Drain>,
    sign_in: SignIn,
) -> Result<(idp::SignedIn, Option<Places>), Stop> {
    let waited = tokio::select! {
        waited = device.wait() => waited,
        interruption = front.interrupted() => {
            return Err(abandoned(session, journal, None, interrupted(&interruption)).await);
        }
        _ = drain.wait_for(|drain| *drain != Drain::No) => {
            let stop = Stop::Refused(Refusal::Ended(Drain::REASON));
            return Err(abandoned(session, journal, Some(Drain::REASON), stop).await);
        }
    };
    let reason = waited.as_ref().err().map(|failure| causes::line(failure));
    let (step, refusal) = match waited {
        Ok(signed_in) => return Ok((signed_in, sign_in.answered())),
        Err(LoginFailure::Expired) => (LoginStep::Expired, Refusal::SignInExpired),
        Err(LoginFailure::Refused) => (LoginStep::Denied, Refusal::SignInRefused),
        Err(LoginFailure::Idp(error)) => return Err(failed(session, journal, &error).await),
        Err(LoginFailure::Token(error)) => {
            tracing::warn!(login = %session.login(), %error, "a token was refused");
            (LoginStep::Failed, Refusal::IdpUnfit(error.to_string()))
        }
    };
    let _under_way = sign_in.answered();
    let recorded = session.step(step, reason.as_deref(), Stop::Refused(refusal), now());
    Err(journal.append(recorded).await.unwrap_or(Stop::Refused(Refusal::Journal)))
}

/// A code was shown, and nobody will hear the answer.
async fn abandoned(session: &mut Session<Startup>, journal: &Journal, why: Option<&str>, stop: Stop) -> Stop {
    let abandoned = session.step(LoginStep::Abandoned, why, stop, now());
    journal.append(abandoned).await.unwrap_or(Stop::Gone)
}

async fn failed(session: &mut Session<Startup>, journal: &Journal, error: &idp::Error) -> Stop {
    tracing::warn!(login = %session.login(), error = %causes::line(error), "the identity provider failed");
    let refusal = if error.is_unreachable() {
        Refusal::IdpUnreachable
    } else {
        Refusal::IdpUnfit("the identity provider does not serve this proxy as it should".to_owned())
    };
    let recorded = session.step(LoginStep::Failed, Some(&causes::line(error)), Stop::Refused(refusal), now());
    journal.append(recorded).await.unwrap_or(Stop::Refused(Refusal::Journal))
}

/// How a client ends that did something while nothing was expected of it.
pub const fn interrupted(interruption: &Interruption) -> Stop {
    match interruption {
        Interruption::Gone => Stop::Gone,
        Interruption::Spoke => Stop::Refused(Refusal::Spoke),
    }
}

/// The prompt: what to open and the code in the message, the rest in two more lines.
fn prompt(prompt: &Prompt, session: &Session<Startup>, others: &[Network]) -> Notice {
    let (uri, code) = (&prompt.verification_uri, &prompt.user_code);
    let minutes = prompt.expires_in.as_secs().div_ceil(60);
    let notice = Notice::new(
        Severity::Notice,
        SqlState::SUCCESSFUL_COMPLETION,
        format!("sign in to continue: open {uri} and enter {code}"),
    );
    let plural = if minutes == 1 { "" } else { "s" };
    let whom = session.login();
    let notice = notice.detail(format!(
        "The code is for {whom}, database {}, and lasts {minutes} minute{plural}. Enter it only if you started this yourself.{}",
        session.database(),
        warning(others),
    ));
    match &prompt.verification_uri_complete {
        Some(complete) => notice.hint(format!("Or open {complete}")),
        None => notice,
    }
}

/// Who else waits under her name: her own other terminals, she will know, or somebody who hopes for the wrong code.
fn warning(others: &[Network]) -> String {
    let named: Vec<_> = others.iter().take(OTHERS_NAMED_MAX).map(ToString::to_string).collect();
    match others.len().saturating_sub(named.len()) {
        _ if named.is_empty() => String::new(),
        0 => format!(" Others wait under the same name: {}.", named.join(", ")),
        more => format!(" Others wait under the same name: {} and {more} more.", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b20b_a_few_others_are_named_and_the_rest_counted() {
        let others: Vec<_> = (1..=6).map(|last| Network::of([10, 0, 0, last].into())).collect();
        let check = |count: usize, expected: &str| assert_eq!(warning(&others[..count]), expected);
        check(0, "");
        check(1, " Others wait under the same name: 10.0.0.1.");
        check(4, " Others wait under the same name: 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4.");
        check(6, " Others wait under the same name: 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 2 more.");
    }
}
