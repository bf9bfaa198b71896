//! The certified provider of `scripts/idp`, as a process that ends with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A running provider.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    process: Child,
    _folder: Option<TempDir>,
}

impl Provider {
    /// Starts one on a free port; its signing keys and its people are its own.
    pub(crate) fn start() -> Self {
        let (folder, path) = place();
        let mut process = Command::new("node")
            .arg(path.join("provider.mjs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { issuer: ready["issuer"].as_str().unwrap().to_owned(), process, _folder: folder }
    }

    /// Asks for something that only this provider has, see `scripts/idp/control.mjs`.
    pub(crate) async fn control(&self, verb: &str, body: Value) -> Value {
        let url = format!("{}/control/{verb}", self.issuer);
        let answer = reqwest_client().post(url).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{verb}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Walks the sign-in pages as this person.
    pub(crate) async fn approve(&self, login: &str, url: &str) {
        self.control("approve", json!({ "login": login, "url": url })).await;
    }

    /// How often a path was asked for.
    pub(crate) async fn requests(&self, path: &str) -> u64 {
        self.control("state", json!({})).await["requests"][path].as_u64().unwrap_or(0)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client for the tests' own requests.
pub(crate) fn reqwest_client() -> reqwest::Client {
    // Plain http only, but the client wants a provider of cryptography all the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Where the provider's scripts are next to their packages: in `scripts/idp`, or copied next to SB_TEST_NODE_MODULES.
fn place() -> (Option<TempDir>, PathBuf) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/idp");
    let Some(modules) = std::env::var_os("SB_TEST_NODE_MODULES") else {
        install(&scripts);
        return (None, scripts);
    };
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&scripts).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "mjs" || extension == "json") {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    let path = folder.path().to_owned();
    (Some(folder), path)
}

/// Installs the packages once, however many tests and processes want them at the same time.
fn install(scripts: &Path) {
    let done = scripts.join("node_modules/.package-lock.json");
    if done.exists() {
        return;
    }
    let lock = File::open(scripts.join("package.json")).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        let status =
            Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(scripts).status();
        assert!(status.unwrap().success(), "npm ci failed in {}", scripts.display());
    }
}
