//! The matrix as people read it, in `docs/clients.md`.
//!
//! Promises: the page says what the tables in code say.
//! Deliberately not here: whether that is true; running the matrix shows it.

use std::fmt::Write as _;
use std::fs;

use super::checks::CHECKS;
use super::clients::{CLIENTS, Client};
use super::support::root;

const BEGIN: &str = "<!-- Made by: scripts/write-matrix -->\n";
const END: &str = "<!-- End of what is made. -->\n";

/// Check by client, and under it why a client cannot do a thing, or how it does it.
pub(crate) fn table(clients: &[&Client]) -> String {
    let mut table = String::from("|");
    let mut notes: Vec<&'static str> = Vec::new();
    let mut row = |cells: &mut dyn Iterator<Item = String>| {
        for cell in cells {
            let _infallible = write!(table, " {cell} |");
        }
        table.push_str("\n|");
    };
    row(&mut ["".to_owned()].into_iter().chain(clients.iter().map(|client| client.name.to_owned())));
    row(&mut std::iter::repeat_n("---".to_owned(), clients.len() + 1));
    row(&mut ["servers".to_owned()].into_iter().chain(clients.iter().map(|client| servers(client))));
    for check in CHECKS {
        let cells = clients.iter().map(|client| cell(client, check.name, &mut notes));
        row(&mut [check.means.to_owned()].into_iter().chain(cells));
    }
    table.pop();
    table.push('\n');
    for (at, note) in notes.iter().enumerate() {
        let _infallible = writeln!(table, "{}. {note}", at + 1);
    }
    table
}

fn servers(client: &Client) -> String {
    let versions = client.servers.iter().map(|server| server.name().trim_start_matches("PostgreSQL "));
    versions.collect::<Vec<_>>().join(", ")
}

/// `yes` or `no`, with the number of the note that says more.
fn cell(client: &Client, check: &str, notes: &mut Vec<&'static str>) -> String {
    let noted = |list: &[(&str, &'static str)]| list.iter().find(|(name, _)| *name == check).map(|(_, note)| *note);
    let (answer, note) = match (noted(client.cannot), noted(client.otherwise)) {
        (Some(reason), _) => ("no", reason),
        (None, Some(way)) => ("yes", way),
        (None, None) => return "yes".to_owned(),
    };
    let at = notes.iter().position(|one| *one == note).unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    });
    format!("{answer} ({})", at + 1)
}

/// Written anew by `scripts/write-matrix`, which sets `SB_WRITE_MATRIX`.
#[test]
fn the_page_says_what_the_tables_say() {
    let path = root().join("docs/clients.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the matrix");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let all: Vec<_> = CLIENTS.iter().collect();
    let made = format!("{before}{BEGIN}\n{}\n{END}{after}", table(&all));
    if std::env::var_os("SB_WRITE_MATRIX").is_some() {
        fs::write(path, made).unwrap();
    } else {
        assert!(page == made, "docs/clients.md is not what the tables say: run scripts/write-matrix");
    }
}
