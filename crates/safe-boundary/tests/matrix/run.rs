//! All clients of one server at once, on one stage.
//!
//! Promises: one look at a failure shows everything that was wrong with every client.
//! Deliberately not here: what is expected (`checks.rs`), and what the trail must say (`completeness`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use super::checks::CHECKS;
use super::clients::{CLIENTS, Client};
use super::servers::Server;
use super::support::proxy::Settings;
use super::support::trail::Record;
use super::support::{ALICE, Stage};
use super::{completeness, page, pipelines, program};

/// How many rows a client takes at a time in `cursor`.
const PORTION: u64 = 10;
/// How many clients run at the same time.
const LANES: usize = 4;

/// Runs every client of `server`, compares what each saw, and then the server's log with the trail.
pub(crate) fn all_clients(server: Server, large: usize) {
    let clients: Vec<_> = CLIENTS.iter().filter(|client| client.servers.contains(&server)).collect();
    let names = clients.iter().map(|client| client.name.to_owned());
    let stage = Stage::with(&Settings {
        prompting_programs: names.chain([pipelines::NAME.to_owned()]).collect(),
        postgres: server.programs(),
        ..Settings::default()
    });
    stage.idp.approve_everything(ALICE);
    let saw = in_lanes(&clients, |client| program::run(&stage, client, ALICE, Some(client.name), large));
    pipelines::run(&stage);
    let mut findings: Vec<_> = clients.iter().flat_map(|client| findings(client, &saw[client.name], large)).collect();
    println!("{}:\n\n{}", server.name(), page::table(&clients));
    findings.extend(completeness::compare(&stage, server));
    let trail = stage.trail();
    findings.extend(clients.iter().filter_map(|client| limits(client, &trail)));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    stage.verify_trail();
}

/// Runs every client that shows no prompt by itself, under the name that it has by itself: none is let in, or asked.
pub(crate) fn all_are_refused() {
    let stage = Stage::start();
    let clients: Vec<_> = CLIENTS.iter().filter(|client| !client.prompts).collect();
    for (name, saw) in in_lanes(&clients, |client| program::run(&stage, client, ALICE, None, 1)) {
        let saw = saw.unwrap_or_else(|error| panic!("{name}: {error}"));
        let refused = saw["refused"].as_str().unwrap_or_default();
        assert!(refused.contains("this program cannot show a sign-in prompt"), "{name}: {saw}");
        assert!(refused.contains("https://boundary.example.com/me"), "{name}: {saw}");
        // libpq does not say the SQLSTATE of a refused connection.
        assert!(matches!(saw["sqlstate"].as_str(), None | Some("28000")), "{name}: {saw}");
    }
    assert_eq!(stage.idp.codes_made(), 0);
}

/// Does the same with each client, a few at a time; gives the results by name.
fn in_lanes<T: Send>(clients: &[&'static Client], work: impl Fn(&Client) -> T + Sync) -> BTreeMap<&'static str, T> {
    let waiting = Mutex::new(clients.iter());
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..LANES.min(clients.len()) {
            scope.spawn(|| {
                while let Some(client) = next(&waiting) {
                    let result = work(client);
                    done.lock().unwrap().insert(client.name, result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn next<'a>(waiting: &Mutex<impl Iterator<Item = &'a &'static Client>>) -> Option<&'static Client> {
    waiting.lock().unwrap().next().copied()
}

/// A client that does `cursor` in no other way has sent an Execute with the limit of that check.
fn limits(client: &Client, trail: &[Record]) -> Option<String> {
    let has_limit =
        |record: &Record| record.0["client"]["program"] == client.name && record.0["statement"]["limit"] == PORTION;
    let is_noted = client.otherwise.iter().chain(client.cannot).any(|(name, _)| *name == "cursor");
    (is_noted == trail.iter().any(has_limit)).then(|| {
        let (what, says) = if is_noted { ("an", "does it otherwise") } else { ("no", "limits rows") };
        format!("{}: cursor: {what} Execute with a limit is on record, but the table says that it {says}", client.name)
    })
}

/// What a client saw that it should not have, and what it did not see.
fn findings(client: &Client, saw: &Result<Value, String>, large: usize) -> Vec<String> {
    let saw = match saw {
        Ok(saw) => saw,
        Err(error) => return vec![format!("{}: {error}", client.name)],
    };
    let mut findings = Vec::new();
    let mut finding = |what: &str, is: Option<&Value>, expected: &dyn std::fmt::Display| {
        let is = is.map_or("nothing".to_owned(), Value::to_string);
        findings.push(format!("{}: {what}: {is}, expected {expected}", client.name));
    };
    for check in CHECKS {
        let (expected, is) = ((check.expected)(large), saw.get(check.name));
        match client.cannot.iter().find(|(name, _)| *name == check.name) {
            Some((_, reason)) if is.is_some() => finding(check.name, is, &format!("nothing, for {reason}")),
            None if is != Some(&expected) => finding(check.name, is, &expected),
            Some(_) | None => {}
        }
    }
    let known = |name: &str| CHECKS.iter().any(|check| check.name == name);
    for (name, is) in saw.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
        finding(name, Some(is), &"no such check");
    }
    findings
}

#[test]
fn a_missing_a_wrong_and_a_surplus_value_are_found() {
    let client = Client { cannot: &[("pipeline", "it has none")], ..a_client() };
    let right: serde_json::Map<String, Value> = CHECKS
        .iter()
        .filter(|check| check.name != "pipeline")
        .map(|check| (check.name.to_owned(), (check.expected)(7)))
        .collect();
    let check = |change: &dyn Fn(&mut serde_json::Map<String, Value>), expected: &[&str]| {
        let mut saw = right.clone();
        change(&mut saw);
        assert_eq!(findings(&client, &Ok(saw.into()), 7), expected);
    };
    check(&|_| {}, &[]);
    check(&|saw| drop(saw.remove("simple")), &["a client: simple: nothing, expected 42"]);
    check(&|saw| drop(saw.insert("simple".into(), 41.into())), &["a client: simple: 41, expected 42"]);
    check(
        &|saw| drop(saw.insert("pipeline".into(), 1.into())),
        &["a client: pipeline: 1, expected nothing, for it has none"],
    );
    check(
        &|saw| drop(saw.insert("refused".into(), "no".into())),
        &["a client: refused: \"no\", expected no such check"],
    );
    assert_eq!(findings(&client, &Err("gone".into()), 7), ["a client: gone"]);
}

#[cfg(test)]
fn a_client() -> Client {
    Client { name: "a client", command: Vec::new, servers: &[], prompts: false, otherwise: &[], cannot: &[] }
}
