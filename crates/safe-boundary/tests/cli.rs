//! The binary as scripts see it: exit codes, what goes to stdout and what to stderr.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has to stop, also in its support"
)]

#[path = "support/idp/mod.rs"]
mod idp;
#[path = "support/upstream/mod.rs"]
#[allow(dead_code, reason = "this test needs a server and certificates only")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use idp::liar::Liar;
use serde_json::{Value, json};
use support::certificates::{Authority, Says};
use support::postgres::Postgres;
use tokio::process::Command;

/// What came of a run.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn binary(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safe-boundary"));
    command.current_dir(dir).env_remove("SAFE_BOUNDARY_CONFIG").stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(dir: &Path, arguments: &[&str]) -> Ran {
    ran(binary(dir).args(arguments)).await
}

async fn ran(command: &mut Command) -> Ran {
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

const INIT: &[&str] = &[
    "init",
    "--yes",
    "--self-signed",
    "--issuer",
    "http://127.0.0.1:1",
    "--client-id",
    "safe-boundary",
    "--database",
    "shop",
    "--upstream-host",
    "127.0.0.1:1",
    "--role",
    "app",
    "--group",
    "engineering",
];

#[tokio::test]
async fn exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wrong.toml"), "[server]\ndrain = 30\n").unwrap();
    let check = async |arguments: &[&str], code: i32, stdout: &str, stderr: &str| {
        let ran = run(dir.path(), arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        for (text, expected) in [(&ran.stdout, stdout), (&ran.stderr, stderr)] {
            let fits = if expected.is_empty() { text.is_empty() } else { text.contains(expected) };
            assert!(fits, "{arguments:?}: expected {expected:?}, found {ran:?}");
        }
    };
    check(&["--version"], 0, concat!("safe-boundary ", env!("CARGO_PKG_VERSION")), "").await;
    check(&["--help"], 0, "Usage: safe-boundary", "").await;
    check(&["help", "init"], 0, "--self-signed", "").await;
    check(&[], 64, "", "Usage: safe-boundary").await;
    check(&["sreve"], 64, "", "a similar subcommand exists: 'serve'").await;
    check(&["serve", "--prot", "1"], 64, "", "unexpected argument '--prot'").await;
    check(&["--color", "loud", "serve"], 64, "", "[possible values: auto, always, never]").await;
    for verb in [&["serve"][..], &["check"], &["test", "login"], &["audit", "search"]] {
        let missing =
            "safe-boundary.toml: expected a configuration file, and it cannot be read: No such file or directory";
        check(verb, 64, "", missing).await;
        let wrong = "wrong.toml:2:9: expected a duration for `server.drain`, found a number without quotes\n";
        check(&[verb, &["--config", "wrong.toml"]].concat(), 64, "", wrong).await;
    }
    check(&["init"], 64, "", "expected a terminal to ask on, found none: give `--yes` and the flags").await;
    check(&["init", "--yes"], 64, "", "expected `--issuer`, `--client-id`, `--database`").await;
    check(INIT, 0, "next: safe-boundary check\n", "").await;
    check(INIT, 64, "", "expected no file at `safe-boundary.toml`, found one: give `--force` to replace it").await;
    // It never comes while the process runs, and people would learn of it only when they have signed in.
    check(&["serve"], 64, "", "expected a secret in the environment variable `APP_PASSWORD`, found no such variable")
        .await;
    // A slip must not look like a trail with nothing in it.
    check(&["audit", "search", "--kind", "statment"], 64, "", "a similar value exists: 'statement'").await;
    check(&["audit", "search", "--session", "01a2"], 64, "", "invalid value '01a2' for '--session <ID>'").await;
    let backwards = ["--from", "2026-11-04", "--to", "2026-11-02"];
    for verb in ["search", "export"] {
        let found = "expected `--from` before `--to`, found 2026-11-04T00:00:00Z and 2026-11-03T00:00:00Z";
        check(&[&["audit", verb][..], &backwards].concat(), 64, "", found).await;
    }
    check(&["audit", "--dir", "a", "verify", "b"], 64, "", "expected one audit folder, found two: `b` and `--dir a`")
        .await;
    check(&["completions", "bash"], 0, "complete -F _safe", "").await;
    check(&["completions", "zsh"], 0, "#compdef safe-boundary", "").await;
    check(&["completions", "fish"], 0, "complete -c safe-boundary", "").await;
    check(&["man"], 0, ".TH safe-boundary 1", "").await;
    check(&["man", "--dir", "pages"], 0, "", "").await;
    assert!(dir.path().join("pages/safe-boundary-check.1").is_file());
    check(&["config", "schema"], 0, "\"$schema\"", "").await;
}

#[tokio::test]
async fn the_configuration_may_be_named_by_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let ran = ran(binary(dir.path()).arg("check").env("SAFE_BOUNDARY_CONFIG", "elsewhere.toml")).await;
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.starts_with("elsewhere.toml: expected a configuration file"), "{ran:?}");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = binary(dir.path()).args(["config", "schema"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn bash_completes_after_a_verb() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("script"), run(dir.path(), &["completions", "bash"]).await.stdout).unwrap();
    let typed = "source ./script; COMP_WORDS=(safe-boundary audit search --per); COMP_CWORD=3; \
                 \"$(complete -p safe-boundary | sed 's/.*-F \\([^ ]*\\).*/\\1/')\" safe-boundary --per search; \
                 echo \"${COMPREPLY[@]}\"";
    let bash = ran(Command::new("bash").args(["-c", typed]).current_dir(dir.path())).await;
    assert_eq!(bash.stdout, "--person\n", "{bash:?}");
}

/// Regenerate by: cargo run -p safe-boundary -- config schema --markdown > docs/configuration.md
#[tokio::test]
async fn the_reference_is_up_to_date() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let printed = run(Path::new("/"), &["config", "schema", "--markdown"]).await.stdout;
    assert_eq!(printed, std::fs::read_to_string(docs).unwrap(), "docs/configuration.md must be made anew");
}

/// The findings of `check --json`, without those that are well: verdict, subject, message.
fn findings(ran: &Ran) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&ran.stdout).expect("one JSON object");
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = document["checks"].as_array().unwrap().iter();
    lines
        .map(|line| (text(line, "verdict"), text(line, "subject"), text(line, "message")))
        .filter(|(verdict, ..)| verdict != "ok")
        .collect()
}

#[tokio::test]
async fn check_finds_that_nothing_answers() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), INIT).await.code, 0);
    let ran = run(dir.path(), &["check"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    for expected in [
        "ok    configuration  safe-boundary.toml: 1 database, 1 role\n",
        "ok    certificate    fits its key, good until ",
        "warn  certificate    it is signed by itself",
        "fail  discovery      ",
        "fail  shop           role `app` cannot log in: ",
        "the environment variable `APP_PASSWORD`, found no such variable",
        "ok    audit          ",
        "warn  audit          no outside anchor",
    ] {
        assert!(ran.stdout.contains(expected), "{expected:?} in {}", ran.stdout);
    }
    assert!(ran.stderr.is_empty(), "{ran:?}");
}

#[tokio::test]
async fn check_against_real_counterparts() {
    let authority = Authority::new("ours", false);
    let server = Postgres::start(Some(&authority));
    server.admin(
        "postgres",
        "CREATE ROLE owner; CREATE ROLE mighty LOGIN CREATEROLE BYPASSRLS PASSWORD 'secret' IN ROLE owner, pg_read_server_files;
         CREATE ROLE god SUPERUSER LOGIN PASSWORD 'secret'",
    );
    let provider = Liar::start();
    provider.amend(
        "/.well-known/openid-configuration",
        &json!({ "scopes_supported": ["openid", "email"], "claims_supported": ["sub", "email"] }),
    );
    let dir = tempfile::tempdir().unwrap();
    authority.issue(Says { alternative_names: &["localhost"], ..Says::default() }).write(dir.path(), "server");
    let ca = authority.write(dir.path(), "ca");
    let roles: String = ["app", "mighty", "god", "nobody"]
        .iter()
        .map(|role| {
            format!("[[database.role]]\nrole = \"{role}\"\ngroups = [\"x\"]\npassword = {{ env = \"SECRET\" }}\n")
        })
        .collect();
    let files = |stem: &str| {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(stem));
        found.sort();
        found
    };
    let [cert, key] = files("server").try_into().unwrap();
    let upstream = server.conninfo(&format!("sslmode=verify-full sslrootcert={}", ca.display()));
    let beside = format!(
        "[[database]]\nname = 'app'\nlisten = '127.0.0.1:0'\nhostname = 'app.example.com'\ndatabases = 'app'\nupstream = \
         '{upstream}'\n[[database.role]]\nrole = 'app'\ngroups = ['x']\npassword = {{ env = 'SECRET' }}\n"
    );
    let text = format!(
        "[server]\ntls_cert = '{}'\ntls_key = '{}'\n[idp]\nissuer = '{}'\nclient_id = 'safe-boundary'\nscopes = ['openid', \
         'groups']\n[audit]\ndir = 'audit'\n[[database]]\nname = 'shop'\nlisten = '127.0.0.1:0'\ndatabases = 'shop'\nupstream = '{upstream}'\n{roles}{beside}",
        cert.display(),
        key.display(),
        provider.issuer,
    );
    std::fs::write(dir.path().join("safe-boundary.toml"), text).unwrap();
    std::fs::create_dir(dir.path().join("audit")).unwrap();
    let ran = ran(binary(dir.path()).args(["check", "--json"]).env("SECRET", "secret")).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let found = findings(&ran);
    let said = |verdict: &str, subject: &str, message: &str| {
        let is = |(v, s, m): &(String, String, String)| v == verdict && s == subject && m.contains(message);
        assert!(found.iter().any(is), "expected {verdict} {subject} {message:?} in {found:#?}");
    };
    said("warn", "scopes", "the identity provider does not list groups");
    said("warn", "groups claim", "does not list `groups`");
    said("warn", "shop", "role `mighty` has CREATEROLE");
    said("warn", "shop", "role `mighty` has BYPASSRLS");
    said("warn", "shop", "role `mighty` is a member of pg_read_server_files");
    said("warn", "shop", "role `mighty` is a member of owner");
    said("warn", "shop", "role `god` is a superuser");
    said("fail", "shop", "role `nobody` cannot log in: ");
    said("warn", "shop", "is not reached by who connects by that of another, as by `app.example.com`");
    let of_app = found.iter().filter(|(verdict, subject, _)| verdict == "warn" && subject == "app").count();
    assert_eq!(of_app, 0, "{found:#?}");
    said("warn", "audit", "others may look into");
    let failed: Vec<_> = found.iter().filter(|(verdict, ..)| verdict == "fail").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(!ran.stdout.contains("secret\""), "no secret is shown");
    assert!(!found.iter().any(|(_, _, message)| message.contains("`app`")), "nothing is wrong with a plain role");
}
