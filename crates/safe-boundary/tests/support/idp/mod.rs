//! Identity providers for tests: the certified one (`provider`), and one that lies on demand (`liar`).

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod liar;
pub(crate) mod provider;

use std::time::Duration;

use safe_boundary::config::{Idp, Preset};

/// A configuration for a provider on this machine.
pub(crate) fn config(issuer: &str) -> Idp {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    Idp {
        preset: Preset::Generic,
        issuer: issuer.to_owned(),
        client_id: "safe-boundary".to_owned(),
        client_secret: None,
        scopes: texts(&["openid", "email", "groups", "offline_access"]),
        login_claim: "email".to_owned(),
        subject_claim: texts(&["sub"]),
        groups_claim: "groups".to_owned(),
        login_timeout: Duration::from_secs(300),
        ca: None,
        require_verified_email: true,
        hosted_domain: None,
    }
}
