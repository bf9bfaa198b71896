//! `config schema`: what may stand in the configuration file.
//!
//! Promises: the schema that the loader itself checks against, and the reference made from it.
//! Deliberately not here: the words.

use super::exit::{Exit, Failure};
use super::print;
use crate::config::reference;

/// What to say of the configuration file.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of the configuration file, or the reference.
    Schema(SchemaArgs),
}

/// Options of `config schema`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SchemaArgs {
    /// Print the reference for people instead.
    #[arg(long)]
    pub markdown: bool,
}

/// Prints.
pub(super) fn run(command: &ConfigCommand) -> Result<Exit, Failure> {
    let ConfigCommand::Schema(args) = command;
    print(&if args.markdown { reference::markdown() } else { reference::json_schema() })?;
    Ok(Exit::Fine)
}
