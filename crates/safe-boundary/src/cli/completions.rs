//! `completions`: a script that lets a shell complete our command line.
//!
//! Promises: made from the command line itself.
//! Deliberately not here: installing it.

use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::{command, print, running};

/// Options of `completions`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "safe-boundary", &mut script);
    let mut script = String::from_utf8(script).map_err(running)?;
    if args.shell == Shell::Bash {
        // clap_complete up to 4.6 names the states of a program with a hyphen in two ways, so that nothing is completed
        // after the first verb (clap issue 6421). Once that is mended, this finds nothing to replace.
        script = script.replace("safe__subcmd__boundary", "safe__boundary");
    }
    print(&script)?;
    Ok(Exit::Fine)
}
