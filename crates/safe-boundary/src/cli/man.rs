//! `man`: the manual pages.
//!
//! Promises: made from the command line itself; what `--help` says and what they say is the same.
//! Deliberately not here: installing them.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{command, print, running};

/// Options of `man`.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each verb into this folder, instead of printing the main one.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints or writes.
pub(super) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).map_err(running)?;
        clap_mangen::generate_to(command(), dir).map_err(running)?;
        return Ok(Exit::Fine);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).map_err(running)?;
    print(&String::from_utf8(page).map_err(running)?)?;
    Ok(Exit::Fine)
}
