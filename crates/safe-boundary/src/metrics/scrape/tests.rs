//! The page as those see it who read it: Prometheus, and people with `docs/metrics.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::config::Config;
use crate::metrics::{CancelOutcome, ConnectionEnd, IdpOutcome, METRICS, Refused, SessionEnd, UpstreamFailure};

const MOMENT: Moment = Moment { journal: Status::Full, queued: 3, is_ready: false };

/// A family, as the page has it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The process's own numbers, with something counted in each family that has samples only then.
fn prepared() -> String {
    let dir = tempfile::tempdir().unwrap();
    let text = include_str!("../../config/minimal.toml");
    for file in ["server.crt", "server.key"] {
        std::fs::write(dir.path().join(file), rcgen_pem()).unwrap();
    }
    let config = Config::check(&dir.path().join("boundary.toml"), text).unwrap();
    METRICS.prepare(&config, Timestamp::UNIX_EPOCH);
    METRICS.serves_certificate(&config.server.tls_cert);
    METRICS.idp.keys_came(Timestamp::from_second(1_700_000_000).unwrap());
    METRICS.page(Format::Prometheus, MOMENT)
}

fn rcgen_pem() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
}

fn families(page: &str) -> Vec<Seen> {
    let mut families: Vec<Seen> = Vec::new();
    for line in page.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => families.push(Seen {
                name: (*name).to_owned(),
                kind: String::new(),
                help: (*help).to_owned(),
                labels: BTreeSet::new(),
            }),
            ["#", "TYPE", name, kind] => {
                let family = families.last_mut().unwrap();
                assert_eq!(family.name, *name);
                family.kind = (*kind).to_owned();
            }
            _ => {
                let family = families.last_mut().unwrap();
                assert!(line.starts_with(&family.name), "{line} stands under {}", family.name);
                let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
                let names =
                    labels.into_iter().flat_map(|(labels, _)| labels.split(',')).map(|pair| pair.split('=').next());
                family.labels.extend(names.flatten().filter(|name| *name != "le").map(str::to_owned));
            }
        }
    }
    families
}

fn documentation() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md")).unwrap()
}

#[test]
fn the_documentation_explains_each_value_of_each_label() {
    let docs = documentation();
    let check = |heading: &str, values: &[&[&str]]| {
        let (_, section) = docs.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n#").next().unwrap();
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), values.len(), "{heading}: {rows:#?}");
        for (row, values) in rows.iter().zip(values) {
            let cells = format!("| `{}` | ", values.join("` | `"));
            assert!(row.starts_with(&cells), "{heading}: {cells} is not {row}");
        }
    };
    check("`outcome` of `safe_boundary_connections_closed_total`", ConnectionEnd::VALUES);
    check("`reason` and `sqlstate` of `safe_boundary_refusals_total`", Refused::VALUES);
    check("`outcome` of `safe_boundary_cancels_total`", CancelOutcome::VALUES);
    check("`outcome` of `safe_boundary_logins_total`", LoginOutcome::VALUES);
    check("`reason` of `safe_boundary_sessions_ended_total`", SessionEnd::VALUES);
    check("`reason` of `safe_boundary_upstream_failures_total`", UpstreamFailure::VALUES);
    check("`endpoint` of `safe_boundary_idp_requests_total`", Endpoint::VALUES);
    check("`outcome` of `safe_boundary_idp_requests_total`", IdpOutcome::VALUES);
    let certificates: &[&[&str]] = &[&["server"], &["upstream_root"], &["upstream_client"], &["idp_root"]];
    check("`used_as` of `safe_boundary_certificate_end_timestamp_seconds`", certificates);
    // What has no type of its own stands on the page.
    let page = prepared();
    for (label, name) in [
        ("of", "safe_boundary_limit"),
        ("direction", "safe_boundary_relayed_bytes_total"),
        ("status", "safe_boundary_journal_status"),
    ] {
        let samples = page.lines().filter_map(|line| line.strip_prefix(&format!("{name}{{{label}=\"")));
        let values: Vec<_> = samples.map(|rest| [rest.split('"').next().unwrap()]).collect();
        let values: Vec<&[&str]> = values.iter().map(<[&str; 1]>::as_slice).collect();
        check(&format!("`{label}` of `{name}`"), &values);
    }
}

#[test]
fn the_documentation_says_what_the_page_says() {
    let mut table = String::new();
    for Seen { name, kind, help, labels } in families(&prepared()) {
        let labels: Vec<_> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    let docs = documentation();
    let rows: Vec<_> =
        docs.lines().filter(|line| line.starts_with("| `safe_") || line.starts_with("| `process_")).collect();
    assert_eq!(rows.join("\n"), table.trim_end(), "docs/metrics.md must have this table:\n{table}");
}

#[test]
fn names_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for family in families(&prepared()) {
        let name = &family.name;
        assert!(name.starts_with("safe_boundary_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name} is a {}", family.kind);
        assert!(matches!(family.kind.as_str(), "counter" | "gauge" | "histogram"), "{name}");
        assert!(family.help.ends_with('.') && !family.help.contains('|'), "{name}: {}", family.help);
        assert!(seen.insert(name.clone()), "{name} stands there twice");
        let milliseconds = name.contains("milli") || name.contains("_ms");
        assert!(!milliseconds, "{name}: seconds and bytes are the units");
    }
}

/// What counts cannot be told apart from what a client sends: so no value of a label may come from one.
#[test]
fn values_of_labels_are_known_beforehand() {
    let page = prepared();
    let mut allowed: BTreeSet<String> = BTreeSet::new();
    let mut allow =
        |values: &[&[&str]]| allowed.extend(values.iter().flat_map(|pair| pair.iter().map(ToString::to_string)));
    allow(SessionEnd::VALUES);
    allow(LoginOutcome::VALUES);
    allow(CancelOutcome::VALUES);
    allow(IdpOutcome::VALUES);
    allow(Endpoint::VALUES);
    allow(ConnectionEnd::VALUES);
    allow(Refused::VALUES);
    allow(UpstreamFailure::VALUES);
    allow(&[&["working", "full", "stopped", "to_server", "to_client", "server", "1", "", "payments"]]);
    allow(&[&["connections", "connections_per_address", "sessions_per_person", "pending_logins"]]);
    allow(&[&[env!("CARGO_PKG_VERSION")]]);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = line.split_once('{') else { continue };
        let (labels, _) = labels.split_once('}').unwrap();
        for (key, value) in labels.split(',').map(|pair| pair.split_once('=').unwrap()) {
            assert!(key == "le" || allowed.contains(value.trim_matches('"')), "{line}");
        }
    }
}

#[test]
fn the_page_says_what_was_counted() {
    prepared();
    METRICS.relay().up(100);
    std::thread::spawn(|| METRICS.relay().up(11)).join().unwrap();
    METRICS.relay().recorded(2);
    METRICS.journal.synced(5, std::time::Duration::from_micros(150));
    let session = METRICS.database(0).sessions.begin();
    METRICS.database(0).sessions.begin().end(SessionEnd::Goodbye);
    METRICS.database(7).sessions.begin().end(SessionEnd::Goodbye);
    let page = METRICS.page(Format::Prometheus, MOMENT);
    drop(session);
    for line in [
        "safe_boundary_relayed_bytes_total{direction=\"to_server\"} 111",
        "safe_boundary_statements_recorded_total 2",
        "safe_boundary_journal_sync_seconds_bucket{le=\"0.0001\"} 0",
        "safe_boundary_journal_sync_seconds_bucket{le=\"0.0002\"} 1",
        "safe_boundary_journal_sync_seconds_sum 0.00015",
        "safe_boundary_journal_batch_records_bucket{le=\"4.0\"} 0",
        "safe_boundary_journal_batch_records_bucket{le=\"8.0\"} 1",
        "safe_boundary_journal_status{status=\"full\"} 1",
        "safe_boundary_journal_status{status=\"working\"} 0",
        "safe_boundary_journal_queue_batches 3",
        "safe_boundary_ready 0",
        "safe_boundary_sessions{database=\"payments\"} 1",
        "safe_boundary_sessions_opened_total{database=\"payments\"} 2",
        "safe_boundary_sessions_ended_total{database=\"payments\",reason=\"client_closed\"} 1",
        "safe_boundary_sessions_ended_total{database=\"payments\",reason=\"draining\"} 0",
        "safe_boundary_limit{of=\"connections\"} 10000",
        "safe_boundary_idp_keys_fetched_timestamp_seconds 1700000000",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[test]
fn a_ratio_is_between_nothing_and_all() {
    for (used, free, expected) in [(0, 0, 0.0), (1, 3, 0.25), (3, 0, 1.0), (u64::MAX, u64::MAX, 1.0), (80, 20, 0.8)] {
        assert!((ratio(used, free) - expected).abs() < 1e-9, "{used} {free}");
    }
}
