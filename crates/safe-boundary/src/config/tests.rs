//! Files that are right, and what is said about files that are wrong.

use super::*;

mod refused;

const MINIMAL: &str = include_str!("minimal.toml");

const FULL: &str = r#"
[server]
tls_cert = "server.crt"
tls_key  = "server.key"
allow_plaintext = ["127.0.0.0/8", "::1/128"]
public_url = "https://boundary.example.com/"
default_domain = "example.com"
drain    = "1m"
metrics  = "127.0.0.1:9090"
node     = "proxy-1"

[idp]
preset        = "entra"
issuer        = "https://login.microsoftonline.com/8f3c0d6e/v2.0"
client_id     = "0oa"
client_secret = { env = "SB_IDP_SECRET" }
scopes        = ["openid", "email"]
login_claim   = "https://acme/login"
subject_claim = "sub"
groups_claim  = "realm_access.groups"
flow          = "device"
login_timeout = "2m"
ca            = "idp-ca.pem"
require_verified_email = true
hosted_domain = "example.com"

[session]
max_age = "8h"
prompting_programs = ["psql"]

[limits]
per_person = 5
per_address = 6
total = 7
pending_logins = 8

[groups]
on-call = "8f3c0d6e"

[audit]
dir = "/var/lib/safe-boundary/audit"
parameters = "omit"
segment = "64MiB"

[[database]]
name     = "payments"
listen   = "[::]:6432"
hostname = "Payments.db.example.com"
databases = "*"
upstream = "host=db.internal port=5432 dbname=payments sslmode=verify-full sslrootcert=idp-ca.pem"
replication = true
tags     = { environment = "production", sensitivity = "high" }

[[database.role]]
role     = "payments_rw"
groups   = ["on-call", "dba"]
password = { command = ["./password", "payments_rw"] }

[[database.role]]
role     = "payments_ro"
groups   = ["engineering"]
password = { file = "secret" }

[[database]]
name     = "orders"
listen   = "[::]:6432"
hostname = "orders.db.example.com"
databases = ["orders", "postgres"]
upstream = "host=db2.internal sslmode=verify-full"
[[database.role]]
role     = "orders"
groups   = ["engineering"]
"#;

/// A folder with the files that the examples name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["server.crt", "server.key", "idp-ca.pem", "secret"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    dir
}

fn load(dir: &Path, text: &str) -> Result<Config, String> {
    let path = dir.join("boundary.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| error.to_string().replace(&format!("{}/", dir.display()), ""))
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let dir = folder();
    let config = load(dir.path(), MINIMAL).unwrap();
    assert_eq!(config.server.tls_cert, dir.path().join("server.crt"));
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(config.server.public_url, format!("https://{}:8443", config.server.node));
    assert!(!config.server.node.is_empty());
    assert!(config.server.allow_plaintext.is_empty());
    assert_eq!(config.idp.preset, Preset::Generic);
    assert_eq!(config.idp.scopes, ["openid", "profile", "email"]);
    assert_eq!(config.idp.login_claim, "email");
    assert_eq!(config.idp.subject_claim, ["sub"]);
    assert_eq!(config.idp.groups_claim, "groups");
    assert_eq!(config.idp.login_timeout, Duration::from_secs(300));
    assert!(!config.idp.require_verified_email);
    assert_eq!(config.session.max_age, Duration::from_secs(12 * 3600));
    assert_eq!(config.session.prompting_programs, ["psql", "pg_dump", "pg_restore", "pgcli"]);
    let limits =
        [config.limits.per_person, config.limits.per_address, config.limits.total, config.limits.pending_logins];
    assert_eq!(limits, [50, 200, 10_000, 1000]);
    assert_eq!(config.audit.dir, dir.path().join("audit"));
    assert_eq!(config.audit.parameters, Parameters::Full);
    assert_eq!(config.audit.segment_bytes, 16 << 20);
    let [database] = config.databases.as_slice() else { panic!("one database") };
    assert_eq!(database.databases, Some(vec!["payments".to_owned(), "reports".to_owned()]));
    assert!(!database.replication);
    assert_eq!(database.roles[0].password, None);
}

#[test]
fn a_file_with_every_key() {
    let dir = folder();
    let config = load(dir.path(), FULL).unwrap();
    assert_eq!(config.server.public_url, "https://boundary.example.com");
    assert_eq!(config.server.allow_plaintext.len(), 2);
    assert_eq!(config.server.node, "proxy-1");
    assert_eq!(config.idp.preset, Preset::Entra);
    assert_eq!(config.idp.subject_claim, ["sub"]);
    assert_eq!(config.idp.client_secret, Some(SecretSource::Env("SB_IDP_SECRET".to_owned())));
    assert!(config.idp.require_verified_email);
    assert_eq!(config.audit.dir, Path::new("/var/lib/safe-boundary/audit"));
    assert_eq!(config.audit.parameters, Parameters::Omit);
    let [payments, orders] = config.databases.as_slice() else { panic!("two databases") };
    assert_eq!(payments.databases, None);
    assert_eq!(payments.hostname.as_deref(), Some("payments.db.example.com"));
    assert!(payments.replication);
    assert_eq!(payments.tags.len(), 2);
    assert_eq!(payments.roles[0].groups, ["8f3c0d6e", "dba"], "readable names become the IdP's");
    let program = dir.path().join("./password").display().to_string();
    assert_eq!(payments.roles[0].password, Some(SecretSource::Command(vec![program, "payments_rw".to_owned()])));
    assert_eq!(payments.roles[1].password, Some(SecretSource::File(dir.path().join("secret"))));
    assert_eq!(orders.databases, Some(vec!["orders".to_owned(), "postgres".to_owned()]));
}

#[test]
fn every_preset_has_defaults_that_load() {
    let dir = folder();
    for preset in Preset::ALL {
        let name = preset.name();
        let text = MINIMAL.replace("[idp]", &format!("[idp]\npreset = \"{name}\""));
        assert_eq!(load(dir.path(), &text).unwrap().idp.preset, preset, "{name}");
    }
    let entra = load(dir.path(), &MINIMAL.replace("[idp]", "[idp]\npreset = \"entra\"")).unwrap().idp;
    assert_eq!(entra.subject_claim, ["tid", "oid"]);
    assert_eq!(entra.login_claim, "preferred_username");
}

#[test]
fn the_schema_is_of_the_file() {
    let schema: serde_json::Value = serde_json::from_str(&reference::json_schema()).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["server", "idp", "audit", "database"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["session"]["properties"]["max_age"]["default"], "12h");
    assert_eq!(schema["properties"]["idp"]["properties"]["ca"]["type"], "string");
    assert!(!reference::json_schema().contains("null"));
}
