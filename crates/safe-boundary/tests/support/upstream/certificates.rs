//! Certificates made on the spot.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate says.
#[derive(Clone, Copy, Default)]
pub(crate) struct Says<'a> {
    pub(crate) alternative_names: &'a [&'a str],
    pub(crate) common_name: &'a str,
    /// Ended in 2021.
    pub(crate) expired: bool,
    /// Begins in 2090.
    pub(crate) from_the_future: bool,
    pub(crate) ed25519: bool,
}

/// A certificate with its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Pair {
    /// A certificate that is signed with the key of this one, whatever this one is for.
    pub(crate) fn issue(&self, own: Says<'_>, says: Says<'_>) -> Self {
        let signing = KeyPair::try_from(self.key.serialize_der()).unwrap();
        let (params, key) = params(says);
        let certificate = params.signed_by(&key, &Issuer::new(self::params(own).0, signing)).unwrap();
        Self { certificate, key }
    }

    /// Writes both into a folder.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&cert, self.certificate.pem()).unwrap();
        std::fs::write(&key, self.key.serialize_pem()).unwrap();
        (cert, key)
    }
}

fn params(says: Says<'_>) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = says.alternative_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, says.common_name);
    if says.expired {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    if says.from_the_future {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    }
    let algorithm = if says.ed25519 { &rcgen::PKCS_ED25519 } else { &rcgen::PKCS_ECDSA_P256_SHA256 };
    (params, KeyPair::generate_for(algorithm).unwrap())
}

impl Authority {
    pub(crate) fn new(name: &str, ed25519: bool) -> Self {
        let (mut params, key) = params(Says { common_name: name, ed25519, ..Says::default() });
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, says: Says<'_>) -> Pair {
        let (params, key) = params(says);
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, self.certificate.pem()).unwrap();
        path
    }
}

/// A certificate that signed itself, marked as an authority or not: what `openssl req -x509` makes.
pub(crate) fn self_signed(says: Says<'_>, authority: bool) -> Pair {
    let (mut params, key) = params(says);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    Pair { certificate: params.self_signed(&key).unwrap(), key }
}
