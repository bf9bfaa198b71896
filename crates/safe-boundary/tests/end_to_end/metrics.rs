//! The port for machines that watch, on the whole proxy.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::support::process::PATIENCE;
use super::support::proxy::{METRICS_PORT, Settings};
use super::support::psql::Answer;
use super::support::wire::{Wire, results, values};
use super::support::{ALICE, BOB, MALLORY, Stage, http};

/// Samples by name and labels, as they stand on the page.
pub(crate) type Scrape = BTreeMap<String, f64>;

fn stage() -> Stage {
    Stage::with(&Settings { server: METRICS_PORT, ..Settings::default() })
}

fn scrape(stage: &Stage) -> Scrape {
    let (status, page) = stage.proxy.get("/metrics");
    assert_eq!(status, 200, "{page}");
    let sample = |line: &str| line.rsplit_once(' ').map(|(name, number)| (name.to_owned(), number.parse().unwrap()));
    page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// Scrapes until what is expected is there; what happens behind a client's back may take a moment.
fn scrape_until(stage: &Stage, expected: &[(&str, f64)]) -> Scrape {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = scrape(stage);
        let missing: Vec<_> = expected.iter().filter(|(name, number)| found.get(*name) != Some(number)).collect();
        if missing.is_empty() {
            return found;
        }
        let seen: Vec<_> = missing.iter().map(|(name, _)| (name, found.get(*name))).collect();
        assert!(Instant::now() < deadline, "expected {missing:?}, found {seen:?}");
    }
}

/// A run of everything that is counted, and then a look for everything that must not be told.
#[test]
fn a_run_is_in_the_numbers_and_nobody_is() {
    let mut stage = stage();
    stage.psql(ALICE).run(&["select 'needle in a statement'", "select 2"]).lines();
    stage.psql(MALLORY).run(&["select 1"]);
    stage.psql(BOB).answered(Answer::Refuse(BOB)).run(&["select 1"]);
    stage.psql(BOB).answered(Answer::As(ALICE)).run(&["select 1"]);
    let mut plain = Wire::plain(stage.proxy.address);
    plain.start(&[("user", ALICE), ("database", "payments"), ("application_name", "psql")]);
    plain.refused();
    let mut cancel = Wire::plain(stage.proxy.address);
    cancel.write(&[&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &[0; 8]].concat());
    assert!(cancel.try_message().is_none());
    let mut open = Wire::signed_in(&stage, ALICE);
    // Longer than a buffer: it is brought to the disk by itself.
    open.query(&format!("select length('{}')", "x".repeat(300 * 1024)));
    let found = scrape_until(
        &stage,
        &[
            ("safe_boundary_ready", 1.0),
            ("safe_boundary_sessions{database=\"payments\"}", 1.0),
            ("safe_boundary_sessions_opened_total{database=\"payments\"}", 2.0),
            ("safe_boundary_sessions_ended_total{database=\"payments\",reason=\"client_closed\"}", 1.0),
            ("safe_boundary_connections", 1.0),
            ("safe_boundary_pending_logins", 0.0),
            ("safe_boundary_logins_total{outcome=\"approved\"}", 3.0),
            ("safe_boundary_logins_total{outcome=\"denied\"}", 1.0),
            ("safe_boundary_logins_total{outcome=\"wrong_person\"}", 1.0),
            ("safe_boundary_login_wait_seconds_count{outcome=\"approved\"}", 3.0),
            ("safe_boundary_refusals_total{reason=\"denied\",sqlstate=\"42501\"}", 1.0),
            ("safe_boundary_refusals_total{reason=\"tls_required\",sqlstate=\"28000\"}", 1.0),
            ("safe_boundary_refusals_total{reason=\"another_person\",sqlstate=\"28000\"}", 1.0),
            ("safe_boundary_cancels_total{outcome=\"unknown_secret\"}", 1.0),
            ("safe_boundary_connections_closed_total{outcome=\"cancel\"}", 1.0),
            ("safe_boundary_connections_closed_total{outcome=\"session\"}", 1.0),
            ("safe_boundary_connections_closed_total{outcome=\"internal\"}", 0.0),
            ("safe_boundary_statements_recorded_total", 3.0),
            ("safe_boundary_upstream_connect_seconds_count{database=\"payments\"}", 2.0),
            ("safe_boundary_journal_status{status=\"working\"}", 1.0),
            ("safe_boundary_idp_requests_total{endpoint=\"device_authorization\",outcome=\"answered\"}", 5.0),
            ("safe_boundary_panics_total", 0.0),
        ],
    );
    let at_least = |name: &str, least: f64| assert!(found[name] >= least, "{name} is {}", found[name]);
    at_least("safe_boundary_journal_append_seconds_count", 10.0);
    at_least("safe_boundary_journal_sync_seconds_sum", 1e-6);
    at_least("safe_boundary_journal_written_bytes_total", 4096.0);
    at_least("safe_boundary_journal_disk_size_bytes", 1e6);
    at_least("safe_boundary_relayed_bytes_total{direction=\"to_server\"}", 40.0);
    at_least("safe_boundary_relayed_bytes_total{direction=\"to_client\"}", 40.0);
    at_least("safe_boundary_idp_keys_fetched_timestamp_seconds", 1.7e9);
    at_least("safe_boundary_certificate_end_timestamp_seconds{used_as=\"server\",database=\"\",number=\"1\"}", 1.7e9);
    let root =
        "safe_boundary_certificate_end_timestamp_seconds{used_as=\"upstream_root\",database=\"payments\",number=\"1\"}";
    at_least(root, 1.7e9);
    assert_eq!(found["safe_boundary_journal_batch_records_sum"], found["safe_boundary_journal_records_total"]);

    let (_, page) = stage.proxy.get("/metrics");
    for secret in ["alice", "bob", "mallory", "example.com", "needle", "127.0.0.1", "on-call", "payments_rw", "psql"] {
        assert!(!page.contains(secret), "{secret} is in the metrics");
    }
    drop(open);
    without_a_provider(&mut stage);
}

/// Nobody can sign in, and the proxy is as ready as it was: it is not what must be replaced.
fn without_a_provider(stage: &mut Stage) {
    stage.idp.stop();
    let spoken = stage.psql(ALICE).answered(Answer::Nothing).run(&["select 1"]);
    assert!(spoken.err.contains("the identity provider cannot be reached"), "{spoken:?}");
    scrape_until(
        stage,
        &[
            ("safe_boundary_logins_total{outcome=\"idp_unreachable\"}", 1.0),
            ("safe_boundary_refusals_total{reason=\"idp_unreachable\",sqlstate=\"08006\"}", 1.0),
            ("safe_boundary_idp_requests_total{endpoint=\"device_authorization\",outcome=\"unreachable\"}", 1.0),
        ],
    );
    assert_eq!(stage.proxy.get("/readyz"), (200, "ready\n".to_owned()));
}

#[test]
fn it_is_not_ready_while_it_drains() {
    let mut stage = Stage::with(&Settings { server: METRICS_PORT, drain: "60s", ..Settings::default() });
    assert_eq!(stage.proxy.get("/readyz"), (200, "ready\n".to_owned()));
    let mut wire = Wire::signed_in(&stage, ALICE);
    wire.query("begin");
    stage.proxy.begin_drain();
    let deadline = Instant::now() + PATIENCE;
    while stage.proxy.get("/readyz") != (503, "not ready: draining\n".to_owned()) {
        assert!(Instant::now() < deadline, "it is ready although it drains");
    }
    assert_eq!(stage.proxy.get("/healthz"), (200, "alive\n".to_owned()));
    scrape_until(&stage, &[("safe_boundary_ready", 0.0), ("safe_boundary_sessions{database=\"payments\"}", 1.0)]);
    assert_eq!(values(&wire.query("select 'in peace'")), ["in peace"]);
    wire.query("commit");
    wire.refused();
    assert_eq!(stage.proxy.end_of_drain(), 0);
}

#[test]
fn it_is_not_ready_when_the_journal_has_stopped() {
    let stage = stage();
    let mut wire = Wire::signed_in(&stage, ALICE);
    assert_eq!(results(&wire.query("select 1")), ["SELECT 1"]);
    stage.proxy.break_writes();
    wire.write(&super::support::wire::query("select 'unrecorded'"));
    let (error, _) = wire.refused();
    assert_eq!(error[&'C'], "58030", "{error:?}");
    let deadline = Instant::now() + PATIENCE;
    while stage.proxy.get("/readyz") != (503, "not ready: the audit log has stopped\n".to_owned()) {
        assert!(Instant::now() < deadline, "it is ready although nothing can be recorded");
    }
    assert_eq!(stage.proxy.get("/healthz"), (200, "alive\n".to_owned()));
    scrape_until(
        &stage,
        &[
            ("safe_boundary_ready", 0.0),
            ("safe_boundary_journal_status{status=\"working\"}", 0.0),
            ("safe_boundary_journal_status{status=\"stopped\"}", 1.0),
            ("safe_boundary_sessions_ended_total{database=\"payments\",reason=\"journal_stopped\"}", 1.0),
        ],
    );
}

/// What strangers to HTTP and to us get, and that they keep nobody else out.
#[test]
fn the_port_takes_little_and_says_little() {
    let stage = stage();
    let authority = stage.proxy.metrics_authority();
    let long = format!("x-long: {}\r\n", "x".repeat(20_000));
    for (method, path, headers, status) in [
        ("GET", "/metrics?x=1", "", 200),
        ("HEAD", "/metrics", "", 200),
        ("GET", "/", "", 404),
        ("GET", "/metrics/", "", 404),
        ("GET", "/healthz/../metrics", "", 404),
        ("POST", "/other", "", 404),
        ("POST", "/metrics", "content-length: 1000000000\r\n", 405),
        ("DELETE", "/readyz", "", 405),
        ("GET", "/metrics", long.as_str(), 431),
        ("get it", "/metrics", "", 400),
    ] {
        let answer = http::request(&authority, method, path, headers).unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.head.contains("allow: get, head"), status == 405, "{answer:?}");
        assert_eq!(answer.body.is_empty(), method == "HEAD" || status >= 400 && ![404, 405].contains(&status));
    }
    for (accept, content_type, end) in [
        ("", "text/plain; version=0.0.4", ""),
        (
            "accept: application/openmetrics-text;version=1.0.0\r\n",
            "application/openmetrics-text; version=1.0.0",
            "# EOF\n",
        ),
    ] {
        let answer = http::request(&authority, "GET", "/metrics", accept).unwrap();
        assert!(answer.head.contains(content_type), "{}", answer.head);
        assert!(answer.body.ends_with(end));
    }
    let mut held: Vec<_> = (0..200).map(|_| TcpStream::connect(&authority).unwrap()).collect();
    for silent in &mut held {
        // The first of them may have had to go already.
        silent.write_all(b"GET /metrics HTTP/1.1\r\nx-slow: ").ok();
    }
    let asked = Instant::now();
    assert_eq!(stage.proxy.get("/metrics").0, 200, "whoever holds connections keeps nobody else out");
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    let first = &mut held[0];
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(first.read(&mut [0; 1]), Ok(0) | Err(_)), "the oldest connection was ended");
    assert_eq!(results(&Wire::signed_in(&stage, ALICE).query("select 1")), ["SELECT 1"]);
}
