//! What is looked up now and then: when certificates end, and how full the disk of the audit log is.
//!
//! Promises: a scrape touches no disk; looking is done by one thread at a time, and a disk that does not answer keeps
//! nobody waiting but that thread.
//! Deliberately not here: whether a certificate is any good (`check` says so).

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use rustix::fs::statvfs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate as X509;
use x509_cert::der::Decode as _;

use super::{METRICS, Metrics};
use crate::config::Config;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many certificates of one file are looked at: a file of all the world's roots says nothing about this proxy.
const CERTIFICATES_MAX: usize = 8;

/// A certificate that this proxy needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// What for.
    pub(super) used_as: &'static str,
    /// For which database; empty for the provider's.
    pub(super) database: String,
    /// Which one in its file, from 1.
    pub(super) number: usize,
    /// When it ends, in seconds since 1970.
    pub(super) end: u64,
}

/// A file with certificates, and what they are for.
#[derive(Clone, Debug)]
struct Source {
    used_as: &'static str,
    database: String,
    path: PathBuf,
    /// Only the first one is ours; the rest of a chain is the authority's business.
    is_chain: bool,
}

/// Looks at disk and certificates, over and over.
pub async fn watch(config: Config) {
    let sources = sources(&config);
    loop {
        let (sources, dir) = (sources.clone(), config.audit.dir.clone());
        // A thread that hangs in the kernel is waited for: there are never two.
        let _ = tokio::task::spawn_blocking(move || METRICS.look(&sources, &dir)).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

fn sources(config: &Config) -> Vec<Source> {
    let mut sources = Vec::new();
    for database in &config.databases {
        let (roots, client) = database.upstream.certificate_files();
        let source = |used_as, path: &Path, is_chain| Source {
            used_as,
            database: database.name.clone(),
            path: path.to_owned(),
            is_chain,
        };
        sources.extend(roots.map(|path| source("upstream_root", path, false)));
        sources.extend(client.map(|path| source("upstream_client", path, true)));
    }
    let idp = config.idp.ca.as_ref();
    let root =
        |path: &PathBuf| Source { used_as: "idp_root", database: String::new(), path: path.clone(), is_chain: false };
    sources.extend(idp.map(root));
    sources
}

impl Metrics {
    fn look(&self, sources: &[Source], dir: &Path) {
        let mut found = Vec::new();
        for source in sources {
            let count = if source.is_chain { 1 } else { CERTIFICATES_MAX };
            for (index, end) in ends(&source.path).into_iter().take(count).enumerate() {
                let (used_as, database) = (source.used_as, source.database.clone());
                found.push(Certificate { used_as, database, number: index + 1, end });
            }
        }
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = found;
        let Ok(space) = statvfs(dir) else { return };
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        self.journal.disk_size.set(bytes(space.f_blocks));
        self.journal.disk_free.set(bytes(space.f_bavail));
        self.journal.disk_used.set(bytes(space.f_blocks.saturating_sub(space.f_bfree)));
    }
}

/// When the certificates of a PEM file end, in seconds since 1970, in their order; those that cannot be read are left out.
pub(super) fn ends(path: &Path) -> Vec<u64> {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else { return Vec::new() };
    let end = |certificate: CertificateDer<'_>| {
        let certificate = X509::from_der(&certificate).ok()?;
        Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
    };
    certificates.flatten().filter_map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_certificate_in_a_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.pem");
        let mut pem = String::from("some words before it\n");
        for year in [2031, 2042] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            pem += &params.self_signed(&key).unwrap().pem();
        }
        std::fs::write(&file, pem).unwrap();
        assert_eq!(ends(&file), [1_924_992_000, 2_272_147_200]);
        assert_eq!(ends(dir.path()), [0; 0]);
    }
}
