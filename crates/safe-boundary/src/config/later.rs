//! Keys that are documented, and that this version cannot obey.
//!
//! Promises: each is refused by name, never accepted and ignored: who set it would believe to be protected.
//! Deliberately not here: keys that nobody has promised; they are unknown.

/// Paths of such keys; everything below one is refused too.
const KEYS: &[&str] = &[
    "application",
    "audit.export",
    "audit.session_quota",
    "audit.signing_key",
    "audit.text",
    "audit.witness",
    "break_glass",
    "console",
    "database.finish_grace",
    "database.guard",
    "database.idle_timeout",
    "database.idp_outage_grace",
    "database.max_age",
    "database.monitor",
    "database.parameters",
    "database.prompting_programs",
    "database.provision",
    "database.public_port",
    "database.reauth_grace",
    "database.recheck",
    "database.role.guard",
    "database.text",
    "database.warm",
    "guard",
    "idp.audience",
    "idp.groups_api",
    "idp.same_network",
    "idp.web",
    "keys",
    "policy",
    "server.console",
    "server.state",
    "server.state_key",
    "server.trusted_proxies",
    "session.finish_grace",
    "session.idle_timeout",
    "session.idp_outage_grace",
    "session.reauth_grace",
    "session.recheck",
];

/// Such values of keys that this version obeys otherwise.
const VALUES: &[(&str, &str)] = &[("idp.flow", "browser")];

/// Whether a key is for a later version; `path` without the indexes of lists.
pub(super) fn is_key(path: &str) -> bool {
    KEYS.contains(&path)
}

/// Whether a value is for a later version.
pub(super) fn is_value(path: &str, value: &str) -> bool {
    VALUES.contains(&(path, value))
}

/// All such keys, for the reference.
pub(super) fn keys() -> &'static [&'static str] {
    KEYS
}
