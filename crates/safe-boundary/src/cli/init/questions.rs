//! What `init` needs to know, from flags or by asking.
//!
//! Promises: a flag is never asked again; an answer that makes no configuration is asked again, and why is said; an end of
//! the input is an error, never a default.
//! Deliberately not here: what is right; the configuration's own checks say so.

use std::io::{BufRead, Write};
use std::path::Path;

use clap::ValueEnum;

use super::{Error, InitArgs, PresetName, template};
use crate::config::{self, Config, Preset};

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
        let needed = [
            ("issuer", &args.issuer),
            ("client-id", &args.client_id),
            ("database", &args.database),
            ("upstream-host", &args.upstream_host),
            ("role", &args.role),
            ("group", &args.group),
        ];
        let missing = needed.into_iter().filter(|(_, value)| value.is_none());
        let flags: Vec<_> = missing.map(|(flag, _)| format!("`--{flag}`")).collect();
        if !flags.is_empty() {
            return Err(Error::Missing { flags });
        }
        let preset = args.preset.map_or(Preset::Generic, |preset| preset.0);
        Ok(Self::to_begin_with(args, preset))
    }

    /// What the flags say, and for the rest something that is right, so that each answer can be tried when it is given.
    fn to_begin_with(args: &InitArgs, preset: Preset) -> Self {
        let or = |value: &Option<String>, standing_in: &str| value.clone().unwrap_or_else(|| standing_in.to_owned());
        let role = or(&args.role, "role");
        Self {
            preset,
            issuer: or(&args.issuer, "https://example.com"),
            client_id: or(&args.client_id, "client"),
            client_secret_env: args.client_secret_env.clone(),
            database: or(&args.database, "database"),
            upstream_host: or(&args.upstream_host, "localhost"),
            upstream_sslmode: or(&args.upstream_sslmode, SSLMODE),
            group: or(&args.group, "group"),
            password_env: or(&args.password_env, &variable(&role)),
            role,
            listen: or(&args.listen, LISTEN),
            default_domain: args.default_domain.clone(),
            tls_cert: or(&args.tls_cert, TLS_CERT),
            tls_key: or(&args.tls_key, TLS_KEY),
            self_signed: args.self_signed,
            audit_dir: or(&args.audit_dir, AUDIT_DIR),
        }
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
    /// Where the configuration will lie.
    path: &'a Path,
}

impl<'a> Questions<'a> {
    pub(super) fn new(answers: &'a mut dyn BufRead, questions: &'a mut dyn Write, path: &'a Path) -> Self {
        Self { answers, questions, path }
    }

    /// Asks what the flags do not say, and again what makes no configuration.
    pub(super) fn ask(mut self, args: &InitArgs) -> Result<Answers, Error> {
        let mut so_far = Answers::to_begin_with(args, self.preset(args)?);
        self.tried(&so_far).map_err(Error::Wrong)?;
        let question = format!("issuer, such as {}", example_issuer(so_far.preset));
        self.settle(&args.issuer, &mut so_far, |it| &mut it.issuer, |this| this.required(&question))?;
        self.settle(&args.client_id, &mut so_far, |it| &mut it.client_id, |this| this.required("client id"))?;
        let question = "environment variable with the client's secret (empty: it has none)";
        self.settle(
            &args.client_secret_env,
            &mut so_far,
            |it| &mut it.client_secret_env,
            |this| this.optional(question),
        )?;
        self.ask_database(args, &mut so_far)?;
        let question = "address where clients connect";
        self.settle(&args.listen, &mut so_far, |it| &mut it.listen, |this| this.defaulted(question, LISTEN))?;
        let question = "domain that completes a login without one (empty: none)";
        self.settle(&args.default_domain, &mut so_far, |it| &mut it.default_domain, |this| this.optional(question))?;
        so_far.self_signed = args.self_signed
            || (args.tls_cert.is_none() && self.is_yes("make a self-signed certificate for first steps")?);
        if !so_far.self_signed && args.tls_cert.is_none() && args.tls_key.is_none() {
            so_far.tls_cert = self.defaulted("certificate shown to clients (PEM)", TLS_CERT)?;
            so_far.tls_key = self.defaulted("its private key (PEM)", TLS_KEY)?;
        }
        if args.audit_dir.is_none() {
            so_far.audit_dir = self.defaulted("folder of the audit trail", AUDIT_DIR)?;
        }
        Ok(so_far)
    }

    fn ask_database(&mut self, args: &InitArgs, so_far: &mut Answers) -> Result<(), Error> {
        self.settle(&args.database, so_far, |it| &mut it.database, |this| this.required("name of the first database"))?;
        let question = "host of its PostgreSQL server";
        self.settle(&args.upstream_host, so_far, |it| &mut it.upstream_host, |this| this.required(question))?;
        let question = "how its certificate is verified (sslmode)";
        self.settle(
            &args.upstream_sslmode,
            so_far,
            |it| &mut it.upstream_sslmode,
            |this| this.defaulted(question, SSLMODE),
        )?;
        self.settle(&args.role, so_far, |it| &mut it.role, |this| this.required("PostgreSQL role that people get"))?;
        let question = "group, as the identity provider calls it, that gives this role";
        self.settle(&args.group, so_far, |it| &mut it.group, |this| this.required(question))?;
        let (question, default) = ("environment variable with the role's password", variable(&so_far.role));
        let ask = |this: &mut Self| this.defaulted(question, &default);
        self.settle(&args.password_env, so_far, |it| &mut it.password_env, ask)
    }

    /// Unless a flag says it, puts an answer in its place, and asks again while there can be no configuration with it.
    fn settle<T>(
        &mut self,
        flag: &Option<String>,
        so_far: &mut Answers,
        place: impl Fn(&mut Answers) -> &mut T,
        ask: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<(), Error> {
        if flag.is_some() {
            return Ok(());
        }
        loop {
            *place(so_far) = ask(self)?;
            let Err(error) = self.tried(so_far) else { return Ok(()) };
            // Its place is in a file that is not there.
            let told = match error {
                config::Error::Wrong { problems } => problems.into_iter().map(|problem| problem.message).collect(),
                error => vec![error.to_string()],
            };
            for line in told {
                let _shown_or_not = writeln!(self.questions, "{line}");
            }
        }
    }

    /// Whether the answers make a configuration, but for certificate and key, which may have to be made.
    fn tried(&self, so_far: &Answers) -> Result<(), config::Error> {
        let anything = || "/dev/null".to_owned();
        let tried = Answers { tls_cert: anything(), tls_key: anything(), ..so_far.clone() };
        Config::check(self.path, &template::text(&tried)).map(|_config| ())
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
