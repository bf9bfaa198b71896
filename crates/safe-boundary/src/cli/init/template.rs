//! The first configuration, with words at its keys.
//!
//! Promises: an answer can become nothing but one TOML string.
//! Deliberately not here: every key there is; the reference has them.

use super::questions::Answers;
use crate::idp::presets;

/// The text of the file.
pub(super) fn text(answers: &Answers) -> String {
    let secret = |name: &str| format!("{{ env = {} }}", quoted(name));
    let client_secret = answers.client_secret_env.as_deref().map(secret);
    let default_domain = answers.default_domain.as_deref().map(quoted);
    let defaults = presets::defaults(answers.preset);
    format!(
        r##"# Safe Boundary. Every key: `safe-boundary config schema --markdown`.
# Relative paths are relative to this file. Secrets never stand here: {{ env = "NAME" }}, {{ file = "PATH" }} or
# {{ command = ["PROGRAM"] }} say where they are.

[server]
tls_cert = {tls_cert}
tls_key = {tls_key}
# Completes a login without a domain: `psql -U alice` means alice@example.com.
{default_domain}
# The address of the web page that later versions have; this one only names it.
# public_url = "https://boundary.example.com"

[idp]
preset = {preset}
issuer = {issuer}
client_id = {client_id}
{client_secret}
# What this preset says, unless it is said here:
# scopes = {scopes}
# login_claim = {login_claim}
# groups_claim = {groups_claim}

[audit]
# On a local disk. Every statement is durable here before the database sees it.
dir = {audit_dir}

# Readable names for groups that the IdP calls otherwise.
[groups]
# on-call = "8f3c0d6e-…"

[[database]]
name = {database}
listen = {listen}
# libpq's connection string, without user and password. The server's certificate is verified by the system's roots;
# add sslrootcert=ca.pem for an authority of your own.
upstream = {upstream}

# The first of these that matches one of a person's groups wins. The proxy logs in as the role itself.
[[database.role]]
role = {role}
groups = [{group}]
password = {password}
"##,
        tls_cert = quoted(&answers.tls_cert),
        tls_key = quoted(&answers.tls_key),
        default_domain = optional("default_domain", default_domain, "\"example.com\""),
        preset = quoted(answers.preset.name()),
        scopes = toml::Value::from(defaults.scopes.to_vec()),
        login_claim = quoted(defaults.login_claim),
        groups_claim = quoted(defaults.groups_claim),
        issuer = quoted(&answers.issuer),
        client_id = quoted(&answers.client_id),
        client_secret = optional("client_secret", client_secret, "{ env = \"SB_IDP_SECRET\" }"),
        audit_dir = quoted(&answers.audit_dir),
        database = quoted(&answers.database),
        listen = quoted(&answers.listen),
        upstream = quoted(&upstream(answers)),
        role = quoted(&answers.role),
        group = quoted(&answers.group),
        password = secret(&answers.password_env),
    )
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A line with a key, or with an example of it where it has no value.
fn optional(key: &str, value: Option<String>, example: &str) -> String {
    match value {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key} = {example}"),
    }
}

fn upstream(answers: &Answers) -> String {
    let (host, port) = match answers.upstream_host.rsplit_once(':') {
        // An IPv6 address has more than one colon.
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (answers.upstream_host.as_str(), None),
    };
    let port = port.map(|port| format!(" port={}", value(port))).unwrap_or_default();
    let (dbname, sslmode) = (value(&answers.database), value(&answers.upstream_sslmode));
    format!("host={}{port} dbname={dbname} sslmode={sslmode}", value(host))
}

/// A value of a connection string, quoted where it must be.
fn value(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
