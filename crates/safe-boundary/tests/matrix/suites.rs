//! The tests that drivers publish of themselves, run without the proxy and through it.
//!
//! Promises: a test that passes without the proxy passes through it, or stands in `scripts/suites/differences.txt` with
//! its reason; a line there that explains nothing is said.
//! Deliberately not here: what fails without the proxy too; that is between the driver and the server.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::servers::Server;
use super::support::postgres::KEEPER;
use super::support::proxy::Settings;
use super::support::{ALICE, Stage, root};

/// What the plugin of the suites names itself.
const PROGRAM: &str = "suite";

/// Any database, as the role that may do everything; one of the suites speaks no TLS by itself.
const SERVER: &str = "allow_plaintext = [\"127.0.0.0/8\"]";
const DATABASE: &str = r#"
databases = "*"

[[database.role]]
role = "postgres"
groups = ["on-call"]
password = { file = "postgres.password" }
"#;

/// What became of each test.
type Outcomes = BTreeMap<String, String>;

/// Runs the suite of `driver` both ways, and compares test by test.
pub(crate) fn run(driver: &str) {
    let stage = Stage::with(&Settings {
        prompting_programs: vec![PROGRAM.to_owned()],
        server: SERVER,
        database: DATABASE,
        log_statements: "none",
        postgres: Server::V15.programs(),
        ..Settings::default()
    });
    stage.idp.approve_everything(ALICE);
    let direct = outcomes(&stage, driver, stage.postgres.port, KEEPER);
    let proxied = outcomes(&stage, driver, stage.proxy.address.port(), ALICE);
    let explained = explained(driver);
    let differs: Vec<_> = direct
        .iter()
        .filter(|(test, outcome)| *outcome == "passed" && proxied.get(*test).is_none_or(|outcome| outcome != "passed"))
        .map(|(test, _)| test)
        .collect();
    let count = |outcomes: &Outcomes, wanted: &str| outcomes.values().filter(|outcome| *outcome == wanted).count();
    for (way, outcomes) in [("without the proxy", &direct), ("through the proxy", &proxied)] {
        let counts = ["passed", "failed", "skipped"].map(|wanted| format!("{} {wanted}", count(outcomes, wanted)));
        println!("{driver} {way}: {}", counts.join(", "));
    }
    println!("{} differ:", differs.len());
    for test in &differs {
        println!("  {test}: {}", explained.get(*test).map_or("not explained", String::as_str));
    }
    for test in explained.keys().filter(|test| !differs.contains(test)) {
        println!("  explained, but does not differ: {test}");
    }
    let unexplained: Vec<_> = differs.into_iter().filter(|test| !explained.contains_key(*test)).collect();
    assert!(unexplained.is_empty(), "{driver}: fails only through the proxy: {unexplained:#?}");
    stage.verify_trail();
}

/// Runs a suite in a database of its own.
fn outcomes(stage: &Stage, driver: &str, port: u16, login: &str) -> Outcomes {
    let password = fs::read_to_string(stage.folder().join(format!("{KEEPER}.password"))).unwrap();
    let database = format!("{driver}_{port}");
    let server = stage.postgres.port.to_string();
    let made = Command::new("createdb")
        .args(["-h", "localhost", "-p", &server, "-U", KEEPER, "--maintenance-db=postgres", &database])
        .env("PGPASSWORD", password.trim())
        .status();
    assert!(made.unwrap().success(), "{database} could not be made");
    let file = stage.folder().join(format!("{database}.outcomes"));
    let mut suite = Command::new(root().join("scripts/run-suite"));
    suite.arg(driver).arg(&file).env("PGHOST", "localhost").env("PGPORT", port.to_string()).env("PGDATABASE", database);
    suite.env("PGUSER", login).env("PGPASSWORD", password.trim());
    let ran = suite.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let outcomes = fs::read_to_string(file).unwrap();
    let lines = outcomes.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(outcome, test)| (test.to_owned(), outcome.to_owned())).collect()
}

/// The tests of a driver that cannot pass through the proxy, each with the reason: blocks of `## driver`, `# reason`, and
/// under it the tests.
fn explained(driver: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("scripts/suites/differences.txt")).unwrap();
    let (mut block, mut reason) = ("", "");
    let mut explained = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("## ") {
            block = name;
        } else if let Some(why) = line.strip_prefix("# ") {
            reason = why;
        } else if block == driver {
            explained.insert(line.to_owned(), reason.to_owned());
        }
    }
    explained
}
