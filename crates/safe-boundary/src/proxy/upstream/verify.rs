//! Whether a server's certificate is to be believed.
//!
//! Promises: the signature of the handshake is checked in every mode (channel binding rests on it); chain, dates and
//! name are checked as the mode says.
//! Deliberately not here: revocation lists, and X.509 version 1: rustls reads version 3 only.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_cert::der::asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::{Certificate, Version};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whom we believe.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: RootCertStore,
    /// The certificates of `sslrootcert` themselves: a self-signed server certificate that is named there is trusted as
    /// it stands, although it is no authority.
    pub(super) named: Vec<CertificateDer<'static>>,
}

/// What is wrong with a certificate that rustls has no word for.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableCertificate {
    #[error("it is X.509 version 1; issue it again with a subjectAltName, which makes it version 3")]
    Version,
    #[error("it is self-signed; name it by `sslrootcert`, or have it issued by your authority")]
    SelfSigned,
}

/// Verifies by `sslmode`.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Option<Arc<Trust>>,
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Without `trust` any certificate will do; with `name` it must be for the host.
    pub(super) const fn new(trust: Option<Arc<Trust>>, name: bool, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, name, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let content = Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if content.tbs_certificate.version != Version::V3 {
            return Err(unusable(UnusableCertificate::Version));
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if let Some(trust) = &self.trust {
            if trust.named.contains(end_entity) {
                check_dates(&content, now)?;
            } else {
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &trust.roots, intermediates, now, algorithms)
                    .map_err(|error| {
                        if is_self_signed(&content) { unusable(UnusableCertificate::SelfSigned) } else { error }
                    })?;
            }
        }
        if self.name {
            verify_server_name(&parsed, server_name)
                .or_else(|error| if is_common_name(&content, server_name) { Ok(()) } else { Err(error) })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn unusable(why: UnusableCertificate) -> Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

fn is_self_signed(content: &Certificate) -> bool {
    content.tbs_certificate.issuer == content.tbs_certificate.subject
}

fn check_dates(content: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = content.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// libpq's fallback: the common name counts where the certificate has no alternative name of a host at all. The recipe
/// in PostgreSQL's own documentation makes such certificates.
fn is_common_name(content: &Certificate, server_name: &ServerName<'_>) -> bool {
    let tbs = &content.tbs_certificate;
    let names = match tbs.get::<SubjectAltName>() {
        Ok(names) => names.map(|(_, names)| names.0).unwrap_or_default(),
        // Unreadable is not absent.
        Err(_) => return false,
    };
    if names.iter().any(|name| matches!(name, GeneralName::DnsName(_) | GeneralName::IpAddress(_))) {
        return false;
    }
    let host = server_name.to_str();
    let mut values = tbs.subject.0.iter().flat_map(|part| part.0.iter()).filter(|part| part.oid == COMMON_NAME);
    let (Some(only), None) = (values.next(), values.next()) else { return false };
    let text = match only.value.tag() {
        Tag::Utf8String => only.value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => only.value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned()),
        _ => return false,
    };
    text.is_ok_and(|text| covers(&text, &host))
}

/// Whether a name, or a pattern whose whole first label is `*`, stands for a host.
fn covers(pattern: &str, host: &str) -> bool {
    let same = |a: &str, b: &str| !a.is_empty() && a.eq_ignore_ascii_case(b);
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((_, domain))) => parent.contains('.') && same(parent, domain),
        (Some(_), None) => false,
        (None, _) => same(pattern, host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_names_cover_hosts() {
        for (pattern, host, expected) in [
            ("db.internal", "db.internal", true),
            ("DB.Internal", "db.internal", true),
            ("db.internal", "db2.internal", false),
            ("*.corp.example", "db.corp.example", true),
            ("*.corp.example", "a.db.corp.example", false),
            ("*.corp.example", "corp.example", false),
            ("*.example", "db.example", false),
            ("*", "db", false),
            ("", "", false),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }
}
