//! `safe-boundary test login`, from inside: the prompt must be answered while the verb waits.

use std::io::{self, Write};

use safe_boundary::cli::exit::Exit;
use safe_boundary::cli::test_login;
use safe_boundary::config::Config;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::support::liar::{Liar, Reply};
use super::support::provider::Provider;

/// Gives each write to the test, which reads the prompt while the verb is waiting.
struct Printed(mpsc::UnboundedSender<String>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn whole_config(issuer: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for name in ["server.crt", "server.key", "ca.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let file = folder.path().join("safe-boundary.toml");
    let audit = folder.path().join("audit");
    let text = format!(
        r#"
        [server]
        tls_cert = "server.crt"
        tls_key = "server.key"
        public_url = "https://boundary.example.com"
        default_domain = "example.com"
        node = "test"
        [idp]
        preset = "generic"
        issuer = "{issuer}"
        client_id = "safe-boundary"
        scopes = ["openid", "email", "groups"]
        [audit]
        dir = "{}"
        [[database]]
        name = "payments"
        listen = "127.0.0.1:6432"
        upstream = "host=127.0.0.1 dbname=payments sslmode=disable"
        [[database.role]]
        role = "payments_rw"
        groups = ["on-call"]
        [[database.role]]
        role = "payments_ro"
        groups = ["engineering"]
        "#,
        audit.display(),
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the verb, answers the prompt as this person, and gives what was printed.
async fn try_login(provider: &Provider, person: &str, asked: Option<&str>) -> (Exit, Vec<Value>) {
    let config = whole_config(&provider.issuer);
    let (out, mut printed) = mpsc::unbounded_channel::<String>();
    let args = test_login::Args { login: asked.map(str::to_owned), json: true };
    let approve = async {
        let mut text = String::new();
        let mut answered = false;
        while let Some(more) = printed.recv().await {
            text.push_str(&more);
            let prompt = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["step"] == "prompt");
            if let (Some(prompt), false) = (prompt, answered) {
                answered = true;
                provider.approve(person, prompt["verification_uri_complete"].as_str().unwrap()).await;
            }
        }
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let (exit, lines) = tokio::join!(test_login::run_into(&config, &args, Printed(out)), approve);
    (exit.unwrap(), lines)
}

#[tokio::test]
async fn test_login_shows_each_step_and_the_decision() {
    let provider = Provider::start();
    let (alice, bob, mallory) = tokio::join!(
        try_login(&provider, "alice@example.com", Some("alice")),
        try_login(&provider, "bob@example.com", Some("alice@example.com")),
        try_login(&provider, "mallory@example.com", None),
    );
    let steps: Vec<_> = alice.1.iter().map(|line| line["step"].as_str().unwrap()).collect();
    let expected = [
        "discovery",
        "keys",
        "prompt",
        "polling",
        "token",
        "identity",
        "groups",
        "login",
        "database payments",
        "decision",
    ];
    assert_eq!((alice.0, &steps[..]), (Exit::Fine, &expected[..]));
    let of = |lines: &[Value], step: &str| lines.iter().find(|line| line["step"] == step).cloned().unwrap();
    assert_eq!(of(&alice.1, "database payments")["role"], "payments_rw");
    assert_eq!(of(&alice.1, "groups")["groups"], json!(["engineering", "on-call"]));
    assert_eq!(of(&alice.1, "token")["claims"]["email"], "alice@example.com");
    assert_eq!((bob.0, of(&bob.1, "login")["outcome"].as_str()), (Exit::Findings, Some("fail")));
    assert_eq!(of(&bob.1, "database payments")["role"], "payments_ro");
    assert_eq!(mallory.0, Exit::Findings);
    assert_eq!(of(&mallory.1, "database payments")["needs"], json!(["on-call", "engineering"]));
}

#[tokio::test]
async fn test_login_says_what_is_wrong_with_the_provider() {
    let liar = Liar::start();
    liar.always("/device", Reply::html("404 Not Found"));
    let mut text = Vec::new();
    let args = test_login::Args { login: None, json: false };
    let exit = test_login::run_into(&whole_config(&liar.issuer), &args, &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(exit, Exit::Findings);
    assert!(text.contains("ok    keys") && text.contains("fail  prompt") && text.contains("authentik"), "{text}");
}
