//! What `init` needs to know, from flags or by asking.
//!
//! Promises: a flag is never asked again; an end of the input is an error, never a default.
//! Deliberately not here: whether the answers are right; the configuration's own checks say so.

use std::io::{BufRead, Write};

use clap::ValueEnum;

use super::{Error, InitArgs, PresetName};
use crate::config::Preset;

/// All that the first configuration says.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) preset: Preset,
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_secret_env: Option<String>,
    pub(super) database: String,
    pub(super) upstream_host: String,
    pub(super) upstream_sslmode: String,
    pub(super) role: String,
    pub(super) group: String,
    pub(super) password_env: String,
    pub(super) listen: String,
    pub(super) default_domain: Option<String>,
    pub(super) tls_cert: String,
    pub(super) tls_key: String,
    pub(super) self_signed: bool,
    pub(super) audit_dir: String,
}

const LISTEN: &str = "0.0.0.0:6432";
const SSLMODE: &str = "verify-full";
const TLS_CERT: &str = "server.crt";
const TLS_KEY: &str = "server.key";
const AUDIT_DIR: &str = "audit";

impl Answers {
    /// From the flags alone; what can have a default has one.
    pub(super) fn of_flags(args: &InitArgs) -> Result<Self, Error> {
        let mut missing = Vec::new();
        let mut needed = |flag: &str, value: &Option<String>| {
            value.clone().unwrap_or_else(|| {
                missing.push(format!("`--{flag}`"));
                String::new()
            })
        };
        let issuer = needed("issuer", &args.issuer);
        let client_id = needed("client-id", &args.client_id);
        let database = needed("database", &args.database);
        let upstream_host = needed("upstream-host", &args.upstream_host);
        let role = needed("role", &args.role);
        let group = needed("group", &args.group);
        if !missing.is_empty() {
            return Err(Error::Missing { flags: missing });
        }
        let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        Ok(Self {
            preset: args.preset.map_or(Preset::Generic, |preset| preset.0),
            password_env: or(&args.password_env, &variable(&role)),
            listen: or(&args.listen, LISTEN),
            upstream_sslmode: or(&args.upstream_sslmode, SSLMODE),
            tls_cert: or(&args.tls_cert, TLS_CERT),
            tls_key: or(&args.tls_key, TLS_KEY),
            audit_dir: or(&args.audit_dir, AUDIT_DIR),
            client_secret_env: args.client_secret_env.clone(),
            default_domain: args.default_domain.clone(),
            self_signed: args.self_signed,
            issuer,
            client_id,
            database,
            upstream_host,
            role,
            group,
        })
    }
}

/// The environment variable for a role's password: `payments_ro` gives `PAYMENTS_RO_PASSWORD`.
fn variable(role: &str) -> String {
    let letters = role.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    letters.chain("_PASSWORD".chars()).collect()
}

/// Asks, one line a question.
pub(super) struct Questions<'a> {
    answers: &'a mut dyn BufRead,
    questions: &'a mut dyn Write,
}

impl<'a> Questions<'a> {
    pub(super) fn new(answers: &'a mut dyn BufRead, questions: &'a mut dyn Write) -> Self {
        Self { answers, questions }
    }

    /// Asks what the flags do not say.
    pub(super) fn ask(mut self, args: &InitArgs) -> Result<Answers, Error> {
        let preset = self.preset(args)?;
        let issuer = match &args.issuer {
            Some(issuer) => issuer.clone(),
            None => self.required(&format!("issuer, such as {}", example_issuer(preset)))?,
        };
        let client_id = self.or_required(&args.client_id, "client id")?;
        let client_secret_env = match &args.client_secret_env {
            Some(name) => Some(name.clone()),
            None => self.optional("environment variable with the client's secret (empty: it has none)")?,
        };
        let database = self.or_required(&args.database, "name of the first database")?;
        let upstream_host = self.or_required(&args.upstream_host, "host of its PostgreSQL server")?;
        let upstream_sslmode = match &args.upstream_sslmode {
            Some(mode) => mode.clone(),
            None => self.defaulted("how its certificate is verified (sslmode)", SSLMODE)?,
        };
        let role = self.or_required(&args.role, "PostgreSQL role that people get")?;
        let group = self.or_required(&args.group, "group, as the identity provider calls it, that gives this role")?;
        let password_env = match &args.password_env {
            Some(name) => name.clone(),
            None => self.defaulted("environment variable with the role's password", &variable(&role))?,
        };
        let listen = match &args.listen {
            Some(listen) => listen.clone(),
            None => self.defaulted("address where clients connect", LISTEN)?,
        };
        let default_domain = match &args.default_domain {
            Some(domain) => Some(domain.clone()),
            None => self.optional("domain that completes a login without one (empty: none)")?,
        };
        let self_signed = args.self_signed
            || (args.tls_cert.is_none() && self.is_yes("make a self-signed certificate for first steps")?);
        let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        let (tls_cert, tls_key) = match (self_signed, &args.tls_cert, &args.tls_key) {
            (false, None, None) => (
                self.defaulted("certificate shown to clients (PEM)", TLS_CERT)?,
                self.defaulted("its private key (PEM)", TLS_KEY)?,
            ),
            (_, cert, key) => (or(cert, TLS_CERT), or(key, TLS_KEY)),
        };
        let audit_dir = match &args.audit_dir {
            Some(dir) => dir.clone(),
            None => self.defaulted("folder of the audit trail", AUDIT_DIR)?,
        };
        Ok(Answers {
            preset,
            issuer,
            client_id,
            client_secret_env,
            database,
            upstream_host,
            upstream_sslmode,
            role,
            group,
            password_env,
            listen,
            default_domain,
            tls_cert,
            tls_key,
            self_signed,
            audit_dir,
        })
    }

    fn preset(&mut self, args: &InitArgs) -> Result<Preset, Error> {
        if let Some(preset) = args.preset {
            return Ok(preset.0);
        }
        let names = Preset::ALL.map(Preset::name).join(", ");
        loop {
            let answer = self.defaulted(&format!("identity provider ({names})"), Preset::Generic.name())?;
            if let Ok(preset) = PresetName::from_str(&answer, true) {
                return Ok(preset.0);
            }
        }
    }

    fn or_required(&mut self, flag: &Option<String>, question: &str) -> Result<String, Error> {
        match flag {
            Some(value) => Ok(value.clone()),
            None => self.required(question),
        }
    }

    fn required(&mut self, question: &str) -> Result<String, Error> {
        loop {
            let answer = self.line(&format!("{question}: "))?;
            if !answer.is_empty() {
                return Ok(answer);
            }
        }
    }

    fn optional(&mut self, question: &str) -> Result<Option<String>, Error> {
        let answer = self.line(&format!("{question}: "))?;
        Ok((!answer.is_empty()).then_some(answer))
    }

    fn defaulted(&mut self, question: &str, default: &str) -> Result<String, Error> {
        let answer = self.line(&format!("{question} [{default}]: "))?;
        Ok(if answer.is_empty() { default.to_owned() } else { answer })
    }

    fn is_yes(&mut self, question: &str) -> Result<bool, Error> {
        loop {
            match self.line(&format!("{question} [y/n]: "))?.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
    }

    fn line(&mut self, question: &str) -> Result<String, Error> {
        let _shown_or_not = self.questions.write_all(question.as_bytes()).and_then(|()| self.questions.flush());
        let mut answer = String::new();
        match self.answers.read_line(&mut answer) {
            Ok(bytes) if bytes > 0 => Ok(answer.trim().to_owned()),
            _ => Err(Error::NoAnswer),
        }
    }
}

const fn example_issuer(preset: Preset) -> &'static str {
    match preset {
        Preset::Okta => "https://example.okta.com",
        Preset::Entra => "https://login.microsoftonline.com/TENANT-ID/v2.0",
        Preset::Google => "https://accounts.google.com",
        Preset::Auth0 => "https://example.eu.auth0.com/",
        Preset::Keycloak => "https://keycloak.example.com/realms/REALM",
        Preset::Generic => "https://idp.example.com",
    }
}
