//! The certificate that clients see.
//!
//! Promises: what rustls would refuse when serving is found here.
//! Deliberately not here: whether clients trust its authority; only they know.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::report::Report;
use crate::causes;
use crate::config::{Config, secret};

const SUBJECT: &str = "certificate";

/// Renewals usually come 30 days before the end: later, one has been missed.
const DAYS_LEFT: i64 = 30;

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{path}` is no PEM file with what it should have: {source}")]
    Pem { path: String, source: rustls_pki_types::pem::Error },
    #[error("there is no certificate in `{path}`")]
    Empty { path: String },
    #[error("certificate and key do not fit: {0}")]
    Mismatch(#[source] rustls::Error),
    #[error("the certificate cannot be read: {0}")]
    Unreadable(#[source] x509_cert::der::Error),
}

pub(super) fn check(report: &mut Report, config: &Config, now: Timestamp) {
    let (cert, key) = (&config.server.tls_cert, &config.server.tls_key);
    if secret::is_world_readable(key) {
        report.warn(
            SUBJECT,
            format!("everyone on this machine can read the private key `{}`", key.display()),
            "chmod 0600, and own it as the user that runs the proxy",
        );
    }
    match load(cert, key).and_then(|chain| examine(report, config, &chain, now)) {
        Ok(()) => {}
        Err(error) => report.fail(SUBJECT, causes::line(&error), "see `server.tls_cert` and `server.tls_key`"),
    }
}

fn load(cert: &Path, key: &Path) -> Result<CertificateDer<'static>, Error> {
    let pem = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Pem { path, source }
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(cert).map_err(pem(cert))?.collect::<Result<_, _>>().map_err(pem(cert))?;
    let leaf = chain.first().cloned().ok_or_else(|| Error::Empty { path: cert.display().to_string() })?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    CertifiedKey::from_der(chain, key, &provider).map_err(Error::Mismatch)?;
    Ok(leaf)
}

fn examine(report: &mut Report, config: &Config, leaf: &CertificateDer<'_>, now: Timestamp) -> Result<(), Error> {
    let certificate = Certificate::from_der(leaf).map_err(Error::Unreadable)?;
    let tbs = &certificate.tbs_certificate;
    let at = |time: x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
    };
    let (from, to) = (at(tbs.validity.not_before), at(tbs.validity.not_after));
    let renew = "renew it; running proxies take the new files without a restart";
    match (from, to) {
        (Some(from), _) if from > now => {
            report.fail(SUBJECT, format!("it is not valid before {from}"), "wait, or correct this machine's clock");
        }
        (_, Some(to)) if to <= now => report.fail(SUBJECT, format!("it ended at {to}"), renew),
        (_, Some(to)) if to.duration_since(now) < SignedDuration::from_hours(24 * DAYS_LEFT) => {
            let days = to.duration_since(now).as_hours() / 24;
            report.warn(SUBJECT, format!("it ends in {days} days, at {to}"), renew);
        }
        (_, Some(to)) => report.ok(SUBJECT, format!("fits its key, good until {to}")),
        (_, None) => report.warn(SUBJECT, "it does not say when it ends".to_owned(), renew),
    }
    if tbs.issuer == tbs.subject {
        report.warn(
            SUBJECT,
            "it is signed by itself: only clients that have this very file as `sslrootcert` can verify it".to_owned(),
            "get one from an authority that the clients know, so that they can use sslmode=verify-full",
        );
    }
    names(report, config, leaf);
    Ok(())
}

/// The names that clients are told to use must be in it.
fn names(report: &mut Report, config: &Config, leaf: &CertificateDer<'_>) {
    let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return };
    for hostname in config.databases.iter().filter_map(|database| database.hostname.as_deref()) {
        let fits =
            ServerName::try_from(hostname).is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok());
        if !fits {
            report.warn(
                SUBJECT,
                format!("it does not name `{hostname}`, a `hostname` of the configuration"),
                "add the name: clients with sslmode=verify-full will refuse to connect",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::cli::Color;

    /// A folder with a certificate of these days around `now`, and a configuration that names it.
    fn folder(now: Timestamp, from_days: i64, to_days: i64) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let date = |days: i64| {
            let day = (now + SignedDuration::from_hours(24 * days)).to_zoned(jiff::tz::TimeZone::UTC).date();
            rcgen::date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
        };
        let mut params = rcgen::CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date(from_days), date(to_days));
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("server.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(dir.path().join("server.key"), key.serialize_pem()).unwrap();
        let text = "[server]\ntls_cert='server.crt'\ntls_key='server.key'\n[idp]\nissuer='https://a.example'\nclient_id='a'\n\
                    [audit]\ndir='audit'\n[[database]]\nname='a'\nlisten='127.0.0.1:0'\nhostname='db.example.com'\n\
                    upstream='host=a'\n[[database.role]]\nrole='a'\ngroups=['a']\n";
        let config = Config::check(&dir.path().join("a.toml"), text).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path().join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        (dir, config)
    }

    fn lines(config: &Config, now: Timestamp) -> Vec<(Verdict, String)> {
        let mut report = Report::new(true, Color::Never);
        check(&mut report, config, now);
        report.lines().iter().map(|line| (line.verdict, line.message.clone())).collect()
    }

    #[test]
    fn good_ending_ended_and_early() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let by_itself = "it is signed by itself: only clients that have this very file as `sslrootcert` can verify it";
        let check = |from: i64, to: i64, verdict: Verdict, message: &str| {
            let (_dir, config) = folder(now, from, to);
            let expected = [(verdict, message.to_owned()), (Verdict::Warn, by_itself.to_owned())];
            assert_eq!(lines(&config, now), expected);
        };
        check(-1, 90, Verdict::Ok, "fits its key, good until 2026-05-30T00:00:00Z");
        check(-1, 29, Verdict::Warn, "it ends in 29 days, at 2026-03-30T00:00:00Z");
        check(-9, 0, Verdict::Fail, "it ended at 2026-03-01T00:00:00Z");
        check(1, 90, Verdict::Fail, "it is not valid before 2026-03-02T00:00:00Z");
    }

    #[test]
    fn files_that_do_not_fit() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let (dir, config) = folder(now, -1, 90);
        let wrong = |file: &str, bytes: &str, expected: &str| {
            let path = dir.path().join(file);
            let before = std::fs::read(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let found = lines(&config, now);
            assert!(matches!(found.as_slice(), [(Verdict::Fail, message)] if message.contains(expected)), "{found:?}");
            std::fs::write(&path, before).unwrap();
        };
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        wrong("server.key", &other, "certificate and key do not fit");
        wrong("server.key", "x", "server.key` is no PEM file with what it should have");
        wrong("server.crt", "x", "there is no certificate in");
        let mut renamed = config.clone();
        renamed.databases[0].hostname = Some("other.example.com".to_owned());
        let found = lines(&renamed, now);
        assert_eq!(found[2].1, "it does not name `other.example.com`, a `hostname` of the configuration");
    }
}
