//! `check`: looks at everything the proxy depends on.
//!
//! Promises: a line each, with what to do about what is not well; it changes nothing, and shows no secret. To see that
//! device codes are given it asks for one, which then expires.
//! Deliberately not here: a sign-in; `test login` does one.

use super::exit::{Exit, Failure};
use super::{Common, load};
use crate::config::{Config, Preset, SecretSource, secret};

mod audit;
mod certificate;
mod database;
mod idp;
mod metrics;
mod report;

use report::Report;

/// Options of `check`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CheckArgs {
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything in turn.
pub(super) async fn run(args: &CheckArgs, common: &Common) -> Result<Exit, Failure> {
    let config = load(&common.config)?;
    let mut report = Report::new(args.json, common.color);
    configuration(&mut report, &config, &common.config.display().to_string());
    metrics::check(&mut report, config.server.metrics);
    certificate::check(&mut report, &config, crate::clock::now());
    idp::check(&mut report, &config).await;
    database::check(&mut report, &config).await;
    audit::check(&mut report, &config.audit.dir);
    report.end()
}

fn configuration(report: &mut Report, config: &Config, path: &str) {
    let roles: usize = config.databases.iter().map(|database| database.roles.len()).sum();
    let (databases, plural) = (config.databases.len(), |count| if count == 1 { "" } else { "s" });
    report.ok(
        "configuration",
        format!("{path}: {databases} database{}, {roles} role{}", plural(databases), plural(roles)),
    );
    for network in config.server.allow_plaintext.iter().filter(|network| !network.network().is_loopback()) {
        report.warn(
            "configuration",
            format!("`server.allow_plaintext` lets {network} connect without TLS"),
            "remove it: statements and results would cross the network in the clear",
        );
    }
    for network in config.server.trusted_proxies.iter().filter(|network| network.prefix_len() == 0) {
        report.warn(
            "configuration",
            format!("`server.trusted_proxies` believes every address ({network})"),
            "name the addresses of your load balancers: whoever else connects could announce any address",
        );
    }
    if config.idp.preset == Preset::Google && config.idp.hosted_domain.is_none() {
        report.warn(
            "configuration",
            "`idp.hosted_domain` is not set: any Google account can sign in".to_owned(),
            "set it to your organization's domain",
        );
    }
    if config.idp.preset == Preset::Entra && config.idp.login_claim == "email" {
        report.warn(
            "configuration",
            "`idp.login_claim` is `email`, which in Entra can be set to anything by the administrator of any tenant"
                .to_owned(),
            "remove the key: the preset takes `preferred_username`",
        );
    }
    for source in config.secrets() {
        if let SecretSource::File(path) = source
            && secret::is_world_readable(path)
        {
            report.warn(
                "configuration",
                format!("everyone on this machine can read the secret in `{}`", path.display()),
                "chmod 0600, and own it as the user that runs the proxy",
            );
        }
    }
}
