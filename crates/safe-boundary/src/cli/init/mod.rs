//! `init`: writes a first configuration.
//!
//! Promises: what it writes loads; a file that exists is never overwritten without `--force`; when something is wrong,
//! nothing is left behind.
//! Deliberately not here: trying out what was answered; that is `check`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::exit::{Exit, Failure};
use super::{Common, print, running, usage};
use crate::config::{self, Config};

mod certificate;
mod files;
mod questions;
mod template;

use files::Written;
use questions::{Answers, Questions};

/// Options of `init`. Without `--yes`, what is not given is asked; with it, the issuer, the client, the database, its host,
/// role and group are needed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InitArgs {
    /// Ask nothing: take everything from the flags.
    #[arg(long)]
    pub yes: bool,
    /// Replace files that exist.
    #[arg(long)]
    pub force: bool,
    /// The identity provider's product [default: generic].
    #[arg(long, value_enum)]
    pub preset: Option<PresetName>,
    /// The issuer identifier of the identity provider.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The client that the identity provider knows this proxy as.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The environment variable with the client's secret, if it has one.
    #[arg(long, value_name = "NAME")]
    pub client_secret_env: Option<String>,
    /// The first database, by the name that people will use.
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// The host of its server, with `:PORT` where that is not 5432.
    #[arg(long, value_name = "HOST")]
    pub upstream_host: Option<String>,
    /// How the server's certificate is verified; libpq's `sslmode` [default: verify-full].
    #[arg(long, value_name = "MODE")]
    pub upstream_sslmode: Option<String>,
    /// The PostgreSQL role that people get.
    #[arg(long)]
    pub role: Option<String>,
    /// The group that gives it.
    #[arg(long)]
    pub group: Option<String>,
    /// The environment variable with the role's password [default: from the role, as PAYMENTS_RO_PASSWORD].
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
    /// Where clients connect [default: 0.0.0.0:6432].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The domain that completes a login without one.
    #[arg(long, value_name = "DOMAIN")]
    pub default_domain: Option<String>,
    /// The certificate shown to clients [default: server.crt].
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Its private key [default: server.key].
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Make that certificate and key, for first steps: it vouches for itself, for this machine's name and localhost.
    #[arg(long)]
    pub self_signed: bool,
    /// The folder of the audit trail [default: audit].
    #[arg(long, value_name = "DIR")]
    pub audit_dir: Option<String>,
}

/// [`config::Preset`] as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetName(pub config::Preset);

impl ValueEnum for PresetName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [PresetName; 6] = {
            let [a, b, c, d, e, f] = config::Preset::ALL;
            [PresetName(a), PresetName(b), PresetName(c), PresetName(d), PresetName(e), PresetName(f)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody can be asked.
    #[error("expected a terminal to ask on, found none: give `--yes` and the flags, see `safe-boundary init --help`")]
    NobodyToAsk,
    /// Nobody answered.
    #[error("expected an answer, found the end of the input")]
    NoAnswer,
    /// Flags that `--yes` cannot do without.
    #[error("expected {} with `--yes`, found none", .flags.join(", "))]
    Missing {
        /// Their names.
        flags: Vec<String>,
    },
    /// An answer that can stand in no file.
    #[error("expected a file for `--tls-cert` and `--tls-key`, found none at `{}`: name yours, or give `--self-signed`", path.display())]
    NoCertificate {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Certificate and key would overwrite each other.
    #[error("expected two files for `--tls-cert` and `--tls-key`, found one: `{}`", path.display())]
    OneFile {
        /// The file.
        path: PathBuf,
    },
    /// It exists.
    #[error("expected no file at `{}`, found one: give `--force` to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The answers make no configuration.
    #[error("these answers make no configuration; nothing was written\n{0}")]
    Wrong(#[source] config::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unwritable { .. } | Error::Certificate(_) => running(error),
            _ => usage(error),
        }
    }
}

/// Asks, writes, and names the next step.
pub(super) fn run(args: &InitArgs, common: &Common) -> Result<Exit, Failure> {
    let stdin = io::stdin();
    if !args.yes && !stdin.is_terminal() {
        return Err(Error::NobodyToAsk.into());
    }
    let text = init(args, &common.config, &mut stdin.lock(), &mut io::stderr())?;
    print(&text)?;
    Ok(Exit::Fine)
}

/// The verb, with what it asks and hears as arguments; returns what to tell at the end.
fn init(args: &InitArgs, path: &Path, answers: &mut dyn BufRead, questions: &mut dyn Write) -> Result<String, Error> {
    if path.exists() && !args.force {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let answers =
        if args.yes { Answers::of_flags(args)? } else { Questions::new(answers, questions, path).ask(args)? };
    let base = path.parent().unwrap_or(Path::new(""));
    let mut written = Written::new(args.force);
    if !base.as_os_str().is_empty() {
        written.folder(base, 0o755)?;
    }
    certificates(&answers, base, &mut written)?;
    written.folder(&base.join(&answers.audit_dir), 0o700)?;
    let text = template::text(&answers);
    Config::check(path, &text).map_err(Error::Wrong)?;
    written.file(path, text.as_bytes(), 0o644)?;
    written.keep();
    Ok(next_steps(&answers, path))
}

fn certificates(answers: &Answers, base: &Path, written: &mut Written) -> Result<(), Error> {
    let (cert, key) = (base.join(&answers.tls_cert), base.join(&answers.tls_key));
    if answers.self_signed && cert == key {
        return Err(Error::OneFile { path: cert });
    }
    if answers.self_signed {
        let made = certificate::make(&answers.database, crate::clock::now())?;
        written.file(&key, made.key.reveal().as_bytes(), 0o600)?;
        return written.file(&cert, made.cert.as_bytes(), 0o644);
    }
    match [cert, key].into_iter().find(|path| !path.is_file()) {
        Some(path) => Err(Error::NoCertificate { path }),
        None => Ok(()),
    }
}

fn next_steps(answers: &Answers, path: &Path) -> String {
    let mut text = format!("wrote {}\n", path.display());
    if answers.self_signed {
        let cert = &answers.tls_cert;
        text += &format!(
            "made a certificate that vouches for itself: clients verify it with `sslrootcert={cert}`; replace it before people depend on it\n"
        );
    }
    let secrets: Vec<&str> =
        [answers.client_secret_env.as_deref(), Some(answers.password_env.as_str())].into_iter().flatten().collect();
    text += &format!("set {} in the environment of the proxy\n", secrets.join(" and "));
    let flag =
        if path == Path::new("safe-boundary.toml") { String::new() } else { format!(" --config {}", path.display()) };
    text + &format!("next: safe-boundary check{flag}\n")
}

#[cfg(test)]
mod tests;
