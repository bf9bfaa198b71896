//! What others make of the metrics: Prometheus itself, its alert rules, the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use super::support::process::{Lines, PATIENCE, Process, mortal};
use super::support::proxy::{METRICS_PORT, Settings};
use super::support::{ALICE, Stage, http, root};

const ALERTS: &str = "packaging/prometheus/alerts.yml";
const DASHBOARD: &str = "packaging/grafana/safe-boundary.json";

fn stage() -> Stage {
    let stage = Stage::with(&Settings { server: METRICS_PORT, ..Settings::default() });
    stage.psql(ALICE).run(&["select 1"]).lines();
    stage
}

/// `prometheus` or `promtool`: unpacked by ./test, or of the system.
fn tool(name: &str) -> PathBuf {
    let unpacked = root().join(".work/prometheus/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { name.into() }
}

fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = mortal(tool("promtool"));
    command.args(arguments).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut command);
    let (out, err) = (process.child().stdout.take().unwrap(), process.child().stderr.take().unwrap());
    let (out, err) = (Lines::of(out), Lines::of(err));
    std::io::Write::write_all(&mut process.child().stdin.take().unwrap(), input.as_bytes()).unwrap();
    let said = [out.to_end(), err.to_end()].concat().join("\n");
    assert!(process.wait().success(), "{arguments:?}: {said}");
    said
}

/// The labels that a series of each name has, as a real scrape shows them.
fn series(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let labels = line.contains('{').then(|| labels.split_once('}').unwrap().0);
        let names = labels.into_iter().flat_map(|labels| labels.split(',')).map(|pair| pair.split('=').next().unwrap());
        // Prometheus adds these to whatever it scrapes.
        series.entry(name.to_owned()).or_default().extend(names.chain(["job", "instance"]).map(str::to_owned));
    }
    series
}

/// Every expression in a file of rules or in a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if matches!(key.as_str(), "expr" | "query") => found.push(text.clone()),
                    member => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The series that an expression names, each with the labels it picks them by.
fn used(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut used = Vec::new();
    let mut rest = expression;
    while let Some(start) = ["safe_boundary_", "process_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let end = rest[start..].find(|letter| !is_word(letter)).map_or(rest.len(), |length| start + length);
        let (name, after) = (&rest[start..end], &rest[end..]);
        let picked = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let labels = picked.into_iter().flat_map(|(labels, _)| labels.split(','));
        let labels = labels.filter_map(|label| Some(label.trim().split_once(['=', '!'])?.0.to_owned()));
        used.push((name.to_owned(), labels.collect()));
        rest = after;
    }
    used
}

#[test]
fn series_are_found_in_expressions() {
    for (expression, expected) in [
        ("up == 0", vec![]),
        (
            "safe_boundary_a / ignoring (of) safe_boundary_b{of=\"c\",x=~\"d\"} > 0.8",
            vec![("a", vec![]), ("b", vec!["of", "x"])],
        ),
        ("rate(safe_boundary_a[5m])", vec![("a", vec![])]),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, labels)| (format!("safe_boundary_{name}"), labels.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(used(expression), expected, "{expression}");
    }
}

/// A rule about a name that nobody exports never fires, and nobody notices.
#[test]
fn rules_and_dashboard_use_what_a_scrape_has() {
    let stage = stage();
    let (_, page) = stage.proxy.get("/metrics");
    assert_eq!(promtool(&["check", "metrics"], &page), "", "promtool finds fault with the page");
    let series = series(&page);
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(root().join(DASHBOARD)).unwrap()).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() > 40, "{all:?}");
    all.push(fs::read_to_string(root().join(ALERTS)).unwrap());
    let mut seen = BTreeSet::new();
    for (name, labels) in all.iter().flat_map(|expression| used(expression)) {
        let known = series.get(&name).unwrap_or_else(|| panic!("no scrape has {name}"));
        for label in labels {
            assert!(known.contains(&label), "{name} has no label {label}, but {known:?}");
        }
        seen.insert(name);
    }
    let unused: Vec<_> = series.keys().filter(|name| !seen.contains(*name) && !is_part_of(name, &seen)).collect();
    let expected = ["process_virtual_memory_bytes", "safe_boundary_build_info"];
    let unused: Vec<_> = unused.into_iter().filter(|name| !expected.contains(&name.as_str())).collect();
    assert!(unused.is_empty(), "neither on the dashboard nor in a rule: {unused:?}");
    let said = promtool(&["check", "rules", ALERTS], "");
    assert!(said.contains("17 rules found"), "{said}");
    promtool(&["test", "rules", "packaging/prometheus/alerts.test.yml"], "");
}

/// Of a histogram it is enough that one of its three series is looked at.
fn is_part_of(name: &str, seen: &BTreeSet<String>) -> bool {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    base.is_some_and(|base| parts.iter().any(|part| seen.contains(&format!("{base}{part}"))))
}

/// Prometheus as operators have it, with our rules, watching the proxy.
struct Prometheus {
    _process: Process,
    authority: String,
}

impl Prometheus {
    fn start(stage: &Stage) -> Self {
        let folder = stage.folder();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n  \
             - job_name: safe-boundary\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
            root().join(ALERTS).display(),
            stage.proxy.metrics_authority(),
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let mut command = mortal(tool("prometheus"));
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg("--web.listen-address=127.0.0.1:0").stderr(Stdio::piped()).stdout(Stdio::null());
        let mut process = Process::start(&mut command);
        let log = Lines::of(process.child().stderr.take().unwrap());
        let said = |line: &str| Some(line.split_once("msg=\"Listening on\" address=")?.1.to_owned());
        let authority = log.wait_for(said);
        log.wait_for(|line| line.contains("Server is ready").then_some(()));
        Self { _process: process, authority }
    }

    fn ask(&self, path: &str) -> Value {
        let answer = http::request(&self.authority, "GET", path, "connection: close\r\n").unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Asks until `find` is content.
    fn wait_for<T>(&self, path: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(path);
            if let Some(found) = find(&answer["data"]) {
                return found;
            }
            assert!(Instant::now() < deadline, "{path}: {answer}");
        }
    }

    /// The value of an expression that has one series.
    fn wait_for_value(&self, expression: &str, expected: &str) {
        let path = format!("/api/v1/query?query={expression}");
        self.wait_for(&path, |data| (data["result"][0]["value"][1] == expected).then_some(()));
    }
}

#[test]
fn prometheus_scrapes_the_proxy() {
    let stage = stage();
    let prometheus = Prometheus::start(&stage);
    let target = prometheus.wait_for("/api/v1/targets", |data| {
        let target = data["activeTargets"][0].clone();
        target["health"].as_str().is_some_and(|health| health != "unknown").then_some(target)
    });
    assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
    prometheus.wait_for_value("safe_boundary_ready", "1");
    prometheus.wait_for_value("safe_boundary_sessions_opened_total", "1");
    prometheus.wait_for_value("safe_boundary_upstream_connect_seconds_count", "1");
    prometheus.wait_for("/api/v1/rules", |data| {
        let rules = data["groups"][0]["rules"].as_array()?;
        rules.iter().all(|rule| rule["health"] == "ok").then_some(())
    });
    // And one that fires without any waiting: the journal stops on a real failing write.
    stage.proxy.break_writes();
    stage.psql(ALICE).run(&["select 'unrecorded'"]);
    let fires = "/api/v1/query?query=ALERTS%7Balertname=%22SafeBoundaryJournalStopped%22,alertstate=%22firing%22%7D";
    prometheus.wait_for(fires, |data| (data["result"][0]["value"][1] == "1").then_some(()));
}
