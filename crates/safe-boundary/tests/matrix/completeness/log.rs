//! The stories that PostgreSQL's log tells.
//!
//! Promises: a session is known by the program in its upstream `application_name`; parameters come back as values.
//! Deliberately not here: which text is an entry (`server_log.rs`).

use std::collections::BTreeMap;

use super::super::support::ALICE;
use super::super::support::server_log::{self, Entry};
use super::difference::{Step, Story};

/// A parameter as the server prints it; NULL is none.
pub(super) type Logged = Option<String>;

/// What the proxy itself asks a new upstream session, before any client is let through to it.
const OWN_QUESTION: &str = "SELECT pg_catalog.pg_backend_pid() /* safe-boundary: is this a pooler? */";

/// What every session was about to run, in order.
pub(super) fn statements(entries: &[Entry]) -> Vec<Story<Logged>> {
    let mut stories = Stories::of(entries);
    for entry in entries {
        let Some(story) = stories.of_entry(entry) else { continue };
        let what = match server_log::statement(entry) {
            Some((OWN_QUESTION, false)) if story.steps.is_empty() => continue,
            Some((text, extended)) => format!("{}: {text}", if extended { "execute" } else { "simple" }),
            None => match function(entry) {
                Some(oid) => format!("function: {oid}"),
                None => {
                    // Follows the execution that it belongs to; newer servers begin it with a capital.
                    let told = ["parameters: ", "Parameters: "].iter().find_map(|start| entry.text.strip_prefix(start));
                    let params = told.filter(|_| entry.severity == "DETAIL");
                    if let (Some(params), Some(last)) = (params, story.steps.last_mut()) {
                        last.params = parameters(params);
                    }
                    continue;
                }
            },
        };
        story.steps.push(Step { what, params: Vec::new() });
    }
    stories.told()
}

/// What failed in every session, in order; with each the parameters that the server tells.
pub(super) fn errors(entries: &[Entry]) -> Vec<Story<Vec<Told>>> {
    let mut stories = Stories::of(entries);
    for entry in entries {
        let Some(story) = stories.of_entry(entry) else { continue };
        match (entry.severity.as_str(), story.steps.last_mut()) {
            ("ERROR", _) => {
                // Where in the text is a field of its own to a client.
                let place = entry.text.rsplit_once(" at character ").filter(|(_, at)| at.parse::<u32>().is_ok());
                let what = format!("{}: {}", entry.sqlstate, place.map_or(&*entry.text, |(message, _)| message));
                story.steps.push(Step { what, params: vec![Vec::new()] });
            }
            ("CONTEXT", Some(last)) => last.params = vec![told(&entry.text)],
            ("STATEMENT", Some(last)) => last.what = format!("{}: {}", last.what, entry.text),
            _ => {}
        }
    }
    stories.told()
}

/// A parameter that is told of an error, with its place from 0.
pub(super) type Told = (usize, Logged);

/// `unnamed portal with parameters: $1 = '0', $2 = NULL`, or `portal "a" parameter $2 = 'no number'` of the one that
/// could not be read; behind whatever the error went through inside the server.
fn told(context: &str) -> Vec<Told> {
    let starts = ["unnamed portal ", "portal \"", "extended query "];
    let lines = context.match_indices('\n').map(|(at, _)| at + 1);
    let mut rests = [0].into_iter().chain(lines).map(|at| &context[at..]);
    let Some(portal) = rests.find(|rest| starts.iter().any(|start| rest.starts_with(start))) else {
        return Vec::new();
    };
    if let Some((_, all)) = portal.split_once("with parameters: ") {
        return parameters(all).into_iter().enumerate().collect();
    }
    let Some((_, one)) = portal.split_once("parameter $") else { return Vec::new() };
    let place = one.split_once(" = ").and_then(|(place, _)| place.parse::<usize>().ok());
    place.into_iter().flat_map(|place| parameters(one).into_iter().map(move |value| (place - 1, value))).collect()
}

/// `fastpath function call: "lo_open" (OID 952)`
fn function(entry: &Entry) -> Option<&str> {
    let (_, oid) = entry.text.strip_prefix("fastpath function call: ")?.rsplit_once("(OID ")?;
    Some(oid.trim_end_matches(')'))
}

struct Stories<P>(BTreeMap<u32, Story<P>>);

impl<P> Stories<P> {
    /// One for each session that was let in for somebody; it has not begun.
    fn of(entries: &[Entry]) -> Self {
        // connection authorized: user=… database=… application_name=alice@example.com psql SSL enabled (…)
        let program = |entry: &Entry| {
            let (_, rest) = entry.text.strip_prefix("connection authorized: ")?.split_once(" application_name=")?;
            let (label, _) = rest.split_once(" SSL enabled")?;
            label.strip_prefix(ALICE).map(|program| program.trim_start().to_owned())
        };
        let story = |program| Story { program, steps: Vec::new() };
        Self(entries.iter().filter_map(|entry| Some((entry.pid, story(program(entry)?)))).collect())
    }

    fn of_entry(&mut self, entry: &Entry) -> Option<&mut Story<P>> {
        self.0.get_mut(&entry.pid)
    }

    fn told(self) -> Vec<Story<P>> {
        self.0.into_values().filter(|story| !story.steps.is_empty()).collect()
    }
}

/// `$1 = '42', $2 = NULL, $3 = 'it''s'`
fn parameters(text: &str) -> Vec<Logged> {
    let mut params = Vec::new();
    let mut rest = text;
    while let Some((_, value)) = rest.split_once(" = ") {
        let Some(quoted) = value.strip_prefix('\'') else {
            params.push(None);
            rest = value.strip_prefix("NULL").expect("NULL or a quoted value");
            continue;
        };
        // The end is the first quote that is not one of two.
        let mut from = 0;
        let end = loop {
            let at = from + quoted[from..].find('\'').expect("a closing quote");
            if !quoted[at + 1..].starts_with('\'') {
                break at;
            }
            from = at + 2;
        };
        params.push(Some(quoted[..end].replace("''", "'")));
        rest = &quoted[end + 1..];
    }
    params
}

#[test]
fn parameters_are_taken_apart() {
    let check = |text: &str, expected: &[Option<&str>]| {
        let expected: Vec<_> = expected.iter().map(|value| value.map(str::to_owned)).collect();
        assert_eq!(parameters(text), expected, "{text}");
    };
    check("$1 = '42'", &[Some("42")]);
    check("$1 = NULL, $2 = '', $3 = 'it''s'", &[None, Some(""), Some("it's")]);
    check("$1 = ', $2 = ''NULL''', $2 = NULL", &[Some(", $2 = 'NULL'"), None]);
    check("$1 = '''', $2 = 'a\nb'", &[Some("'"), Some("a\nb")]);
}

#[test]
fn the_parameters_of_an_error_are_told() {
    let check = |context: &str, expected: &[(usize, Option<&str>)]| {
        let expected: Vec<_> = expected.iter().map(|(at, value)| (*at, value.map(str::to_owned))).collect();
        assert_eq!(told(context), expected, "{context}");
    };
    check("COPY failed, line 2", &[]);
    check("unnamed portal with parameters: $1 = '0', $2 = NULL", &[(0, Some("0")), (1, None)]);
    check("PL/pgSQL function a()\nportal \"b\" with parameters: $1 = '1'", &[(0, Some("1"))]);
    check("unnamed portal parameter $2 = 'no number'", &[(1, Some("no number"))]);
    check("unnamed portal parameter $2", &[]);
}
