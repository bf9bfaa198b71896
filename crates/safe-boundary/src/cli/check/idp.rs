//! The identity provider: reachable, honest about itself, and set up for us.
//!
//! Promises: each step only where the one before it went well, so that one cause makes one failure.
//! Deliberately not here: the rules for its answers; `crate::idp` has them.

use domain::identity::verify::LEEWAY;
use jiff::{SignedDuration, Timestamp};

use super::report::Report;
use crate::causes;
use crate::config::Config;
use crate::idp::discovery::Metadata;
use crate::idp::{Error, IdpClient, Trouble};

pub(super) async fn check(report: &mut Report, config: &Config) {
    let issuer = &config.idp.issuer;
    let client = match IdpClient::new(&config.idp) {
        Ok(client) => client,
        Err(error) => return failed(report, "discovery", &error),
    };
    let metadata = match client.metadata().await {
        Ok(metadata) => metadata,
        Err(error) => return failed(report, "discovery", &error),
    };
    report.ok("discovery", format!("`{issuer}` says who it is"));
    match client.time().await {
        Ok(theirs) => clock(report, theirs, crate::clock::now()),
        Err(error) => failed(report, "clock", &error),
    }
    match client.keys().await {
        Ok(keys) => report.ok("signing keys", format!("{} keys that can be used", keys.len())),
        Err(error) => return failed(report, "signing keys", &error),
    }
    scopes(report, &config.idp.scopes, &metadata);
    groups_claim(report, &config.idp.groups_claim, &metadata);
    groups_scope(report, &config.idp.groups_claim, &config.idp.scopes, &metadata.scopes);
    match client.begin_device().await {
        Ok(login) => {
            let shown = &login.prompt().verification_uri;
            report.ok("device codes", format!("given to client `{}`; people will open {shown}", config.idp.client_id));
        }
        Err(error) => failed(report, "device codes", &error),
    }
}

fn failed(report: &mut Report, subject: &str, error: &Error) {
    let remedy = match error.trouble() {
        Trouble::Unreachable => "see that this machine reaches the identity provider: name, port, proxy, firewall",
        Trouble::RefusesClient => {
            "see `idp.client_id` and `idp.client_secret`, and the client's settings at the provider"
        }
        Trouble::AnswersWrongly => "see `idp.issuer`: it must be an OpenID provider's, written as it writes it itself",
        Trouble::Local => "see `idp.ca`, `idp.client_secret` and this machine's root certificates",
    };
    report.fail(subject, causes::line(error), remedy);
}

/// Tokens are judged by this machine's clock.
fn clock(report: &mut Report, theirs: Option<Timestamp>, ours: Timestamp) {
    const REMEDY: &str = "keep this machine's clock by NTP: by a wrong clock, tokens are refused or live too long";
    let Some(theirs) = theirs else {
        let message = "the identity provider does not say its time, so this machine's cannot be compared".to_owned();
        return report.warn("clock", message, REMEDY);
    };
    let apart = ours.duration_since(theirs);
    let direction = if apart.is_negative() { "behind" } else { "ahead of" };
    let message = format!("this machine is {} s {direction} the identity provider", apart.as_secs().unsigned_abs());
    if apart.abs() >= LEEWAY {
        report.fail("clock", message, REMEDY);
    } else if apart.abs() >= SignedDuration::from_secs(10) {
        report.warn("clock", message, REMEDY);
    } else {
        report.ok("clock", "this machine and the identity provider agree".to_owned());
    }
}

fn scopes(report: &mut Report, wanted: &[String], metadata: &Metadata) {
    let unknown: Vec<&str> =
        wanted.iter().filter(|&scope| !metadata.scopes.contains(scope)).map(String::as_str).collect();
    if metadata.scopes.is_empty() {
        report.ok("scopes", "the identity provider does not list what it has".to_owned());
    } else if unknown.is_empty() {
        report.ok("scopes", format!("it has {}", wanted.join(", ")));
    } else {
        report.warn(
            "scopes",
            format!("the identity provider does not list {}", unknown.join(", ")),
            "if sign-ins fail with `invalid_scope`, take them out of `idp.scopes` or add them at the provider",
        );
    }
}

fn groups_claim(report: &mut Report, path: &str, metadata: &Metadata) {
    // A path may lead into a claim; only the claim is listed.
    let first = path.split('.').next().unwrap_or(path);
    let is_listed = metadata.claims.iter().any(|claim| claim == path || claim == first);
    if is_listed {
        report.ok("groups claim", format!("`{path}`"));
    } else if metadata.claims.is_empty() {
        let message =
            format!("the identity provider does not list its claims; `test login` shows whether `{path}` comes");
        report.ok("groups claim", message);
    } else {
        report.warn(
            "groups claim",
            format!("the identity provider does not list `{path}`, and without groups nobody gets in"),
            "run `safe-boundary test login` to see what comes; add the claim at the provider, or set `idp.groups_claim`",
        );
    }
}

/// Many providers put groups into a token only when a scope of that name asks for them.
fn groups_scope(report: &mut Report, claim: &str, wanted: &[String], offered: &[String]) {
    let is_among = |scopes: &[String]| scopes.iter().any(|scope| scope == claim);
    if is_among(offered) && !is_among(wanted) {
        let message = format!("the identity provider has a scope `{claim}` that is not asked for: groups may not come");
        let remedy = format!("if `test login` shows no groups, add `{claim}` to `idp.scopes`");
        report.warn("groups scope", message, &remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::cli::Color;

    #[test]
    fn a_scope_for_groups_that_nobody_asks_for_is_told() {
        let check = |wanted: &[&str], offered: &[&str], expected: usize| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
            let mut report = Report::new(true, Color::Never);
            groups_scope(&mut report, "groups", &owned(wanted), &owned(offered));
            let told: Vec<_> = report.lines().iter().map(|line| (line.verdict, line.message.as_str())).collect();
            let message = "the identity provider has a scope `groups` that is not asked for: groups may not come";
            assert_eq!(told, vec![(Verdict::Warn, message); expected]);
        };
        check(&["openid"], &["openid", "groups"], 1);
        check(&["openid", "groups"], &["openid", "groups"], 0);
        check(&["openid"], &["openid"], 0);
        check(&["openid"], &[], 0);
    }

    #[test]
    fn clocks() {
        let ours: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let check = |apart: Option<i64>, verdict: Verdict, message: &str| {
            let mut report = Report::new(true, Color::Never);
            clock(&mut report, apart.map(|seconds| ours - SignedDuration::from_secs(seconds)), ours);
            let [line] = report.lines() else { panic!("one line") };
            assert_eq!((line.verdict, line.message.as_str()), (verdict, message));
        };
        check(Some(0), Verdict::Ok, "this machine and the identity provider agree");
        check(Some(-9), Verdict::Ok, "this machine and the identity provider agree");
        check(Some(30), Verdict::Warn, "this machine is 30 s ahead of the identity provider");
        check(Some(-3600), Verdict::Fail, "this machine is 3600 s behind the identity provider");
        check(None, Verdict::Warn, "the identity provider does not say its time, so this machine's cannot be compared");
    }
}
