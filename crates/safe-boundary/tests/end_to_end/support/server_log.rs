//! What PostgreSQL logged, entry by entry: the other witness beside the audit trail.
//!
//! Promises: a text comes back as the server got it, line breaks included.
//! Deliberately not here: comparing it with anything.

/// Marks the start of an entry; a client's text cannot forge it, for the server indents every further line of a text.
pub(crate) const PREFIX: &str = "\u{1e}%p|%e|";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The server process, which is the session.
    pub(crate) pid: u32,
    /// `00000` where nothing is wrong.
    pub(crate) sqlstate: String,
    /// `LOG`, `ERROR`, `STATEMENT`, `DETAIL`, …
    pub(crate) severity: String,
    pub(crate) text: String,
}

/// Puts entries together from lines; what the server says before its settings are read is left out.
pub(crate) fn entries(lines: &[String]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in lines {
        match (line.strip_prefix('\u{1e}'), line.strip_prefix('\t'), entries.last_mut()) {
            (Some(start), _, _) => entries.extend(entry(start)),
            (None, Some(more), Some(last)) => {
                last.text.push('\n');
                last.text.push_str(more);
            }
            (None, _, _) => {}
        }
    }
    entries
}

fn entry(line: &str) -> Option<Entry> {
    let (pid, rest) = line.split_once('|')?;
    let (sqlstate, rest) = rest.split_once('|')?;
    let (severity, text) = rest.split_once(":  ")?;
    let [sqlstate, severity, text] = [sqlstate, severity, text].map(str::to_owned);
    Some(Entry { pid: pid.parse().ok()?, sqlstate, severity, text })
}

/// The text of a statement that the server was about to run, and whether it came by the extended protocol.
pub(crate) fn statement(entry: &Entry) -> Option<(&str, bool)> {
    if entry.severity != "LOG" {
        return None;
    }
    if let Some(text) = entry.text.strip_prefix("statement: ") {
        return Some((text, false));
    }
    let named = entry.text.strip_prefix("execute ")?;
    let named = named.strip_prefix("fetch from ").unwrap_or(named);
    named.split_once(": ").map(|(_, text)| (text, true))
}

#[test]
fn a_text_of_several_lines_is_one_entry() {
    let lines = [
        "starting",
        "\u{1e}7|00000|LOG:  statement: select 1,",
        "\t\t2",
        "\u{1e}8|22012|ERROR:  no",
        "\u{1e}8|00000|LOG:  execute a/b: select 3",
    ];
    let entries = entries(&lines.map(str::to_owned));
    let statements: Vec<_> = entries.iter().filter_map(|entry| Some((entry.pid, statement(entry)?))).collect();
    assert_eq!(statements, [(7, ("select 1,\n\t2", false)), (8, ("select 3", true))]);
}
