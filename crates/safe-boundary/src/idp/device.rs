//! Signing in by device code (RFC 8628), from the request for a code to the verified identity.
//!
//! Promises: a login ends when its future is dropped: no task goes on polling. What people are shown is printable,
//! short and without tricks. PKCE (RFC 7636) always, so that a stolen device code alone is worth nothing. The device
//! code is never printed or logged.
//! Deliberately not here: who is told what, and comparing the login with the name that was asked for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::identity::claims::Claims;
use domain::identity::device_flow::{Answer, Polling, Step};
use domain::identity::verify::TokenError;
use domain::secret::Secret;
use reqwest::Url;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{Authentication, IdpClient, SignedIn, random_text};
use super::discovery::Metadata;
use super::error::{Endpoint, Error};
use super::http::{Reach, Reply, is_busy};
use super::presets;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How long it may take to get a code. A person hears within five seconds that there is none: recording that, and
/// telling her, takes time too.
const CODE_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest user code that people are shown, in bytes.
const USER_CODE_BYTES_MAX: usize = 64;

/// The longest address that people are shown, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;

/// The longest device code, in bytes.
const DEVICE_CODE_BYTES_MAX: usize = 8 * 1024;

/// No code lives longer, whatever the provider says.
const CODE_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a person is shown so that she can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The address to open.
    pub verification_uri: String,
    /// The address that already has the code in it; not every provider gives one.
    pub verification_uri_complete: Option<String>,
    /// The code to enter there.
    pub user_code: String,
    /// How long she has.
    pub expires_in: Duration,
}

/// A login that waits for its person.
pub struct DeviceLogin {
    client: IdpClient,
    metadata: Arc<Metadata>,
    authentication: Authentication,
    prompt: Prompt,
    device_code: Secret<String>,
    code_verifier: Secret<String>,
    polling: Polling,
    begun: Instant,
}

/// Why a login brought nobody.
#[derive(Debug, thiserror::Error)]
pub enum LoginFailure {
    /// Nobody signed in in time.
    #[error("the code expired before anyone signed in")]
    Expired,
    /// The person, or a rule of the provider, said no.
    #[error("the sign-in was refused at the identity provider")]
    Refused,
    /// The provider cannot be reached, or answers wrongly.
    #[error(transparent)]
    Idp(#[from] Error),
    /// The provider's token is not believed.
    #[error("the identity provider's token is not believed")]
    Token(#[from] TokenError),
}

/// What one request for the tokens brought.
enum Asked {
    Tokens(Claims),
    NotYet(Answer),
}

impl IdpClient {
    /// Asks the provider for a device code. Answers within five seconds, whatever the provider does.
    ///
    /// # Errors
    /// [`Error`] when there is no code to be had; nobody needs to be shown anything then.
    pub async fn begin_device(&self) -> Result<DeviceLogin, Error> {
        let slow = Error::Slow { endpoint: Endpoint::DeviceAuthorization, after: CODE_TIMEOUT };
        timeout(CODE_TIMEOUT, self.ask_for_code()).await.map_err(|_| slow)?
    }

    async fn ask_for_code(&self) -> Result<DeviceLogin, Error> {
        let metadata = self.metadata().await?;
        let config = self.config();
        let no_device_flow = || Error::NoDeviceFlow { remedy: presets::no_device_flow(config.preset) };
        let url = metadata.device_authorization_endpoint.as_ref().ok_or_else(no_device_flow)?;
        // Without keys nobody's token could be checked: better known now than after she has signed in.
        self.keys().await?;
        let authentication = self.authentication(&metadata).await?;
        let code_verifier = random_text()?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier.reveal()));
        let scopes = config.scopes.join(" ");
        let form = [("scope", scopes.as_str()), ("code_challenge", &challenge), ("code_challenge_method", "S256")];
        let reply = self.submit(Endpoint::DeviceAuthorization, url, &authentication, &form).await?;
        if matches!(reply.status, 404 | 405) {
            return Err(no_device_flow());
        }
        let mut answer = self.read(Endpoint::DeviceAuthorization, &reply)?;
        if reply.status != 200 {
            return Err(self.refusal(Endpoint::DeviceAuthorization, reply.status, &answer));
        }
        let (prompt, device_code, polling) = self.read_code(&mut answer)?;
        let begun = Instant::now();
        let client = self.clone();
        Ok(DeviceLogin { client, metadata, authentication, prompt, device_code, code_verifier, polling, begun })
    }

    /// Sends a form, with the client's name and proof.
    async fn submit(
        &self,
        endpoint: Endpoint,
        url: &Url,
        authentication: &Authentication,
        form: &[(&str, &str)],
    ) -> Result<Reply, Error> {
        let client_id = self.config().client_id.as_str();
        let mut fields = vec![("client_id", client_id)];
        fields.extend(authentication.field().map(|secret| ("client_secret", secret)));
        fields.extend_from_slice(form);
        let mut request = self.http().post(url, &fields);
        if let Some(header) = authentication.header(client_id) {
            request = request.header("authorization", header.as_str());
        }
        self.http().send(endpoint, request).await
    }

    fn read(&self, endpoint: Endpoint, reply: &Reply) -> Result<Claims, Error> {
        match Claims::parse(&reply.body) {
            Ok(answer) => Ok(answer),
            Err(_) if is_busy(reply.status) => Err(Error::Busy { endpoint, status: reply.status }),
            Err(source) if reply.status == 200 => Err(Error::Malformed { endpoint, source }),
            Err(_) => Err(Error::Status { endpoint, status: reply.status }),
        }
    }

    /// What an error answer (RFC 6749 §5.2) means for the operator.
    fn refusal(&self, endpoint: Endpoint, status: u16, answer: &Claims) -> Error {
        match error_code(answer) {
            Some(_) if is_busy(status) => Error::Busy { endpoint, status },
            Some("temporarily_unavailable" | "server_error") => Error::Busy { endpoint, status },
            Some(code) => {
                let entra = aadsts(answer);
                let remedy = presets::refused(self.config().preset, code, entra);
                let code = entra.map_or_else(|| code.to_owned(), |number| format!("{code}, AADSTS{number}"));
                Error::Client { endpoint, code, remedy }
            }
            None if is_busy(status) => Error::Busy { endpoint, status },
            None => Error::Status { endpoint, status },
        }
    }

    fn read_code(&self, answer: &mut Claims) -> Result<(Prompt, Secret<String>, Polling), Error> {
        let endpoint = Endpoint::DeviceAuthorization;
        let malformed = |source| Error::Malformed { endpoint, source };
        let unusable = |member| Error::Unusable { endpoint, member };
        let reach = self.http().reach();
        let mut take = |name: &str| answer.take_text(name).map_err(malformed);
        let device_code = take("device_code")?.map(Secret::new).ok_or(unusable("device_code"))?;
        if !is_printable(device_code.reveal(), DEVICE_CODE_BYTES_MAX) {
            return Err(unusable("device_code"));
        }
        let user_code = take("user_code")?.ok_or(unusable("user_code"))?;
        if !is_printable(&user_code, USER_CODE_BYTES_MAX) {
            return Err(unusable("user_code"));
        }
        // Google's name for it is older than the RFC.
        let address = take("verification_uri")?.or(take("verification_url")?).ok_or(unusable("verification_uri"))?;
        if !is_page(&address, reach) {
            return Err(unusable("verification_uri"));
        }
        let complete = take("verification_uri_complete")?.filter(|address| is_page(address, reach));
        let seconds = |name: &str| answer.find(name).and_then(whole_seconds);
        let life = seconds("expires_in").filter(|life| !life.is_zero()).ok_or(unusable("expires_in"))?;
        let polling = Polling::new(seconds("interval"), life.min(CODE_LIFE_MAX), self.config().login_timeout);
        let expires_in = polling.deadline();
        let prompt = Prompt { verification_uri: address, verification_uri_complete: complete, user_code, expires_in };
        Ok((prompt, device_code, polling))
    }
}

impl DeviceLogin {
    /// What the person must be shown.
    #[must_use]
    pub const fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// Waits until the person has signed in. Dropping the future ends the login.
    ///
    /// # Errors
    /// [`LoginFailure`] when she did not, in time, or when her token is not believed.
    pub async fn wait(mut self) -> Result<SignedIn, LoginFailure> {
        let mut step = self.polling.first();
        loop {
            step = match step {
                Step::Ask(at) => {
                    self.sleep_until(at).await;
                    match self.ask().await? {
                        Asked::Tokens(answer) => return self.client.identify(answer).await,
                        Asked::NotYet(answer) => self.polling.after(answer, self.begun.elapsed()),
                    }
                }
                Step::GiveUp(at) => {
                    self.sleep_until(at).await;
                    return Err(LoginFailure::Expired);
                }
                Step::Expired => return Err(LoginFailure::Expired),
                Step::Refused => return Err(LoginFailure::Refused),
                Step::Unknown => {
                    let remedy = presets::refused(self.client.config().preset, "invalid_grant", None);
                    let code = "invalid_grant".to_owned();
                    return Err(Error::Client { endpoint: Endpoint::Token, code, remedy }.into());
                }
            };
        }
    }

    async fn sleep_until(&self, at: Duration) {
        // A time too far to be represented cannot come: steps lie before the deadline, which is a day away at most.
        sleep_until(self.begun.checked_add(at).unwrap_or(self.begun)).await;
    }

    async fn ask(&self) -> Result<Asked, Error> {
        let form = [
            ("grant_type", DEVICE_GRANT),
            ("device_code", self.device_code.reveal().as_str()),
            ("code_verifier", self.code_verifier.reveal().as_str()),
        ];
        let url = &self.metadata.token_endpoint;
        let reply = match self.client.submit(Endpoint::Token, url, &self.authentication, &form).await {
            Ok(reply) => reply,
            Err(error) if error.is_unreachable() => return Ok(silent(&error, None)),
            Err(error) => return Err(error),
        };
        let answer = match self.client.read(Endpoint::Token, &reply) {
            Ok(answer) => answer,
            Err(error) if error.is_unreachable() => return Ok(silent(&error, reply.retry_after)),
            Err(error) => return Err(error),
        };
        if reply.status == 200 {
            return Ok(Asked::Tokens(answer));
        }
        let refusal = self.client.refusal(Endpoint::Token, reply.status, &answer);
        match meaning(&answer) {
            Some(Answer::Silent(_)) => Ok(silent(&refusal, reply.retry_after)),
            Some(Answer::Denied) => {
                tracing::info!(error = %refusal, "a sign-in was refused at the identity provider");
                Ok(Asked::NotYet(Answer::Denied))
            }
            Some(known) => Ok(Asked::NotYet(known)),
            None if refusal.is_unreachable() => Ok(silent(&refusal, reply.retry_after)),
            None => Err(refusal),
        }
    }
}

fn silent(error: &Error, retry_after: Option<Duration>) -> Asked {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "the identity provider did not answer; asking again later"
    );
    Asked::NotYet(Answer::Silent(retry_after))
}

/// What an error of the token endpoint means while a person signs in (RFC 8628 §3.5, and who says it otherwise).
fn meaning(answer: &Claims) -> Option<Answer> {
    match (error_code(answer)?, aadsts(answer)) {
        ("authorization_pending", _) => Some(Answer::Pending),
        ("slow_down", _) => Some(Answer::SlowDown),
        // Google's quota, and Entra's, which comes as any code at all.
        ("rate_limit_exceeded", _) | (_, Some(50196)) => Some(Answer::Silent(None)),
        ("expired_token", _) | (_, Some(70019)) => Some(Answer::Expired),
        // Entra's older word for it, and what it says when one of its policies refuses the person.
        ("access_denied" | "authorization_declined" | "interaction_required", _) => Some(Answer::Denied),
        ("invalid_grant", None) => Some(Answer::UnknownCode),
        _ => None,
    }
}

/// The code of an error answer, if it is one of those that may be shown.
fn error_code(answer: &Claims) -> Option<&str> {
    let plain =
        |code: &&str| code.len() <= 64 && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'_'));
    answer.find("error").and_then(Value::as_str).filter(plain)
}

/// The number of Entra's error. Its description is not kept: it names people and addresses.
fn aadsts(answer: &Claims) -> Option<u32> {
    let first = answer.find("error_codes").and_then(Value::as_array).and_then(|codes| codes.first());
    let listed = first.and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
    listed.or_else(|| {
        let (_, rest) = answer.find("error_description")?.as_str()?.split_once("AADSTS")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

fn is_printable(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a person may be sent there: a plain web address, as a browser would open it.
fn is_page(address: &str, reach: Reach) -> bool {
    let plain = is_printable(address, ADDRESS_BYTES_MAX) && !address.contains(['"', '\'', '`', '<', '>', '\\']);
    plain && reach.is_page(address)
}

/// A number of seconds; some providers send it as text.
fn whole_seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}
