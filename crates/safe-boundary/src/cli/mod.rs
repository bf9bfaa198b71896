//! The command line: arguments, exit codes, one file per verb.
//!
//! Promises: results on stdout, logs on stderr, exit codes as documented.
//! Deliberately not here: the work itself.

use std::error::Error;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::causes;
use crate::config::Config;
use exit::{Exit, Failure};

pub mod audit;
pub mod check;
pub mod completions;
pub mod config_schema;
pub mod exit;
pub mod init;
pub mod logging;
pub mod man;
pub mod test_login;

/// A PostgreSQL proxy that knows who is connected, and writes down every statement before it runs.
///
/// Start with `safe-boundary init`, look at what `safe-boundary check` says, then run `safe-boundary serve`.
#[derive(Debug, Parser)]
#[command(version = crate::version::VERSION, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 fine, 1 failed while running, 2 findings, 64 usage or configuration.")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What holds for every verb.
    #[command(flatten)]
    pub common: Common,
}

/// Options that every verb has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "SAFE_BOUNDARY_CONFIG", hide_env_values = true)]
    #[arg(default_value = "safe-boundary.toml")]
    pub config: PathBuf,
    /// When to use colour.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
    /// How much to log: to stderr, for people on a terminal, as JSON elsewhere.
    #[arg(long, global = true, value_name = "LEVEL", value_enum, default_value_t)]
    pub log_level: logging::Level,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// Whether to colour what goes to `stream`.
    #[must_use]
    pub fn is_on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            // https://no-color.org
            Self::Auto => stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the proxy.
    Serve,
    /// Write a first configuration: asks, or takes everything from its flags with `--yes`.
    Init(Box<init::InitArgs>),
    /// Look at everything the proxy depends on, and say what to do about what is wrong.
    Check(check::CheckArgs),
    /// Try something out.
    #[command(subcommand)]
    Test(TestVerb),
    /// Read and check the audit trail.
    Audit(Box<audit::AuditArgs>),
    /// Describe the configuration file.
    #[command(subcommand)]
    Config(config_schema::ConfigCommand),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for each verb.
    Man(man::ManArgs),
}

/// What to try out.
#[derive(Debug, Subcommand)]
pub enum TestVerb {
    /// Sign in once, and show each step, the claims, the groups, the role.
    Login(test_login::Args),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // First of all: TLS without a provider would panic. An error means that there is one already.
    let _installed_already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
            let _nobody_to_tell = error.print();
            return code;
        }
    };
    logging::start(&arguments.common);
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _nobody_to_tell = writeln!(io::stderr(), "{}", causes::line(&failure));
            ExitCode::from(&failure)
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let common = arguments.common;
    match arguments.verb {
        Verb::Serve => crate::serve::run(load(&common.config)?),
        Verb::Init(args) => init::run(&args, &common),
        Verb::Check(args) => wait_for(check::run(&args, &common)),
        Verb::Test(TestVerb::Login(args)) => {
            let config = load(&common.config)?;
            wait_for(test_login::run(&config, &args))
        }
        Verb::Audit(args) => {
            let dir = match args.dir().map_err(usage)? {
                Some(dir) => dir.to_owned(),
                None => load(&common.config)?.audit.dir,
            };
            audit::run(&dir, &args.command, &mut io::stdout())
        }
        Verb::Config(command) => config_schema::run(&command),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    }
}

/// The command line as clap sees it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The configuration, or the failure that says what is wrong in it.
fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(usage)
}

/// Runs a verb that waits for the network.
fn wait_for(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(running)?;
    runtime.block_on(verb)
}

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(running(error)),
        _ => Ok(()),
    }
}

fn usage(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Usage(Box::new(error))
}

fn running(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Running(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_documentation_names_each_verb_and_each_option() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command-line.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut missing = Vec::new();
        let mut open = vec![(String::new(), command())];
        while let Some((verb, command)) = open.pop() {
            let options = command.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}"));
            let named = command.get_subcommands().next().is_none().then(|| verb.trim_start().to_owned());
            let words = options.chain(named);
            missing.extend(words.filter(|word| [' ', '`'].iter().all(|end| !page.contains(&format!("`{word}{end}")))));
            open.extend(command.get_subcommands().map(|next| (format!("{verb} {}", next.get_name()), next.clone())));
        }
        assert!(missing.is_empty(), "docs/command-line.md does not say what these are: {missing:?}");
    }
}
