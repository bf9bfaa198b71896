//! `safe-boundary test login`: signs one person in, step by step, and says what she could reach.
//!
//! Promises: each step is printed when it happens, to stdout; with `--json` one object a line. It opens no database
//! connection and records nothing. No token is printed, only what it says.
//! Deliberately not here: whether databases and roles work; `check` tries those.

use std::error::Error as StdError;
use std::io::{self, Write};

use domain::identity::login::Login;
use domain::identity::verify::Identity;
use domain::policy::decide::{Decision, Resource, decide};
use domain::text::is_hidden;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use crate::causes;
use crate::config::{Config, Database};
use crate::idp::{IdpClient, SignedIn};

/// Arguments of `test login`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The login the person would connect with; tells whether the identity provider calls her so
    pub login: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Signs one person in and prints each step.
///
/// # Errors
/// [`Failure::Usage`] when the login cannot be one, [`Failure::Running`] when this machine is at fault or the output
/// cannot be written. What is wrong with the identity provider or the person are findings.
pub async fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    run_into(config, args, io::stdout()).await
}

/// The same, printing elsewhere.
///
/// # Errors
/// As [`run`].
pub async fn run_into(config: &Config, args: &Args, out: impl Write) -> Result<Exit, Failure> {
    let login = args.login.as_deref().map(|name| Login::parse(name, config.server.default_domain.as_deref()));
    let login = login.transpose().map_err(|error| Failure::Usage(error.into()))?;
    let client = IdpClient::new(&config.idp).map_err(|error| Failure::Running(error.into()))?;
    let mut report = Report { out, json: args.json, found: false };
    report.sign_in(config, &client, login.as_ref()).await.map_err(|error| Failure::Running(error.into()))?;
    Ok(if report.found { Exit::Findings } else { Exit::Fine })
}

/// Prints steps, and remembers whether one of them failed.
struct Report<W> {
    out: W,
    json: bool,
    found: bool,
}

impl<W: Write> Report<W> {
    async fn sign_in(&mut self, config: &Config, client: &IdpClient, login: Option<&Login>) -> io::Result<()> {
        let Some(signed_in) = self.identify(config, client).await? else { return Ok(()) };
        let identity = &signed_in.identity;
        self.describe(&signed_in)?;
        if let Some(login) = login {
            let details = json!({ "asked": login.as_str(), "found": identity.login() });
            let text = format!("signed in as {:?}, asked for {:?}", identity.login(), login.as_str());
            self.outcome(login.is(identity.login()), "login", &text, &details)?;
        }
        let mut roles = 0_usize;
        for database in &config.databases {
            roles += usize::from(self.database(config, database, identity)?);
        }
        let text = format!("{roles} of {} databases open for {}", config.databases.len(), identity.login());
        self.outcome(roles > 0 && !self.found, "decision", &text, &json!({ "databases": roles }))
    }

    /// Everything up to the verified token; nothing when a step failed, and was printed.
    async fn identify(&mut self, config: &Config, client: &IdpClient) -> io::Result<Option<SignedIn>> {
        let issuer = &config.idp.issuer;
        match client.metadata().await {
            Ok(metadata) => {
                let device = metadata.device_authorization_endpoint.as_ref().map(|url| url.as_str());
                let details = json!({ "issuer": issuer, "device_authorization_endpoint": device,
                    "token_endpoint": metadata.token_endpoint.as_str(), "jwks_uri": metadata.jwks_uri.as_str() });
                let text = format!("{issuer}, device codes at {}", device.unwrap_or("none"));
                self.ok("discovery", &text, &details)?;
            }
            Err(error) => return self.failed("discovery", &error).map(|()| None),
        }
        match client.keys().await {
            Ok(keys) => self.ok("keys", &format!("{} public keys", keys.len()), &json!({ "keys": keys.len() }))?,
            Err(error) => return self.failed("keys", &error).map(|()| None),
        }
        let login = match client.begin_device().await {
            Ok(login) => login,
            Err(error) => return self.failed("prompt", &error).map(|()| None),
        };
        let prompt = login.prompt();
        let seconds = prompt.expires_in.as_secs();
        let details = json!({ "verification_uri": prompt.verification_uri, "user_code": prompt.user_code,
            "verification_uri_complete": prompt.verification_uri_complete, "expires_in": seconds });
        let text = format!("open {} and enter {} within {seconds} s", prompt.verification_uri, prompt.user_code);
        self.ok("prompt", &text, &details)?;
        self.ok("polling", "waiting for the sign-in", &json!({}))?;
        match login.wait().await {
            Ok(signed_in) => Ok(Some(signed_in)),
            Err(failure) => self.failed("token", &failure).map(|()| None),
        }
    }

    fn describe(&mut self, signed_in: &SignedIn) -> io::Result<()> {
        let identity = &signed_in.identity;
        let claims: Value = serde_json::from_str(&identity.claims_json()).unwrap_or_default();
        let refresh = signed_in.tokens.refresh.is_some();
        let expires_at = identity.expires_at().to_string();
        let text = format!(
            "verified, expires at {expires_at}, {} a refresh token\n{claims:#}",
            if refresh { "with" } else { "without" },
        );
        self.ok("token", &text, &json!({ "expires_at": expires_at, "refresh_token": refresh, "claims": claims }))?;
        let text = format!("{} (subject {} of {})", identity.login(), identity.subject(), identity.issuer());
        let details = json!({ "login": identity.login(), "subject": identity.subject(), "issuer": identity.issuer(),
            "acr": identity.acr(), "amr": identity.amr() });
        self.ok("identity", &text, &details)?;
        let text = match (identity.groups(), identity.groups_were_said()) {
            ([], true) => "none".to_owned(),
            ([], false) => {
                "none: the provider does not say any; look at the claims above: if they have groups, `groups_claim` must name \
                 them; if not, the provider may want a scope for them in `scopes`, or a claim set up"
                    .to_owned()
            }
            (groups, _) => groups.join(", "),
        };
        self.ok("groups", &text, &json!({ "groups": identity.groups() }))
    }

    /// Which role a database gives her, as the proxy decides it.
    fn database(&mut self, config: &Config, database: &Database, identity: &Identity) -> io::Result<bool> {
        let mappings = config.mappings(database);
        let step = format!("database {}", database.name);
        if let Decision::Permit(permit) =
            decide(identity, &Resource { name: &database.name, mappings: &mappings }, None)
        {
            let matching = mappings.get(permit.mapping()).and_then(|mapping| mapping.matching(identity.groups()));
            let (role, group) = (permit.role(), readable(config, matching.unwrap_or_default()));
            let details = json!({ "database": database.name, "role": role, "group": group });
            self.ok(&step, &format!("role {role} by group {group}"), &details)?;
            return Ok(true);
        }
        let wanted: Vec<_> = mappings.iter().flat_map(|mapping| &mapping.group_names).map(String::as_str).collect();
        let text = format!("no role: she would need one of the groups {}", wanted.join(", "));
        let details = json!({ "database": database.name, "role": null, "needs": wanted });
        self.line("-", &step, &text, &details)?;
        Ok(false)
    }

    fn ok(&mut self, step: &str, text: &str, details: &Value) -> io::Result<()> {
        self.line("ok", step, text, details)
    }

    fn outcome(&mut self, fine: bool, step: &str, text: &str, details: &Value) -> io::Result<()> {
        self.found |= !fine;
        self.line(if fine { "ok" } else { "fail" }, step, text, details)
    }

    fn failed(&mut self, step: &str, error: &(dyn StdError + 'static)) -> io::Result<()> {
        let text = causes::line(error);
        self.outcome(false, step, &text, &json!({ "error": text }))
    }

    fn line(&mut self, outcome: &str, step: &str, text: &str, details: &Value) -> io::Result<()> {
        if self.json {
            let mut object = json!({ "step": step, "outcome": outcome });
            if let (Some(object), Some(details)) = (object.as_object_mut(), details.as_object()) {
                object.extend(details.clone());
            }
            writeln!(self.out, "{object}")?;
        } else {
            // Names come from elsewhere: nothing in them may move the cursor.
            let text: String = text.chars().map(|c| if is_hidden(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
            writeln!(self.out, "{outcome:<4}  {step:<18}  {}", text.replace('\n', "\n                          "))?;
        }
        self.out.flush()
    }
}

/// The name of a group in `[groups]`, or what the provider calls it.
fn readable<'a>(config: &'a Config, group: &'a str) -> &'a str {
    config.groups.iter().find(|(_, called)| called == group).map_or(group, |(name, _)| name)
}
