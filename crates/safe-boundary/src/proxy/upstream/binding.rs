//! Channel binding: which bytes tie a SCRAM exchange to the server's certificate (`tls-server-end-point`, RFC 5929 §4).
//!
//! Promises: the hash is the one the server computes, or there is none.
//! Deliberately not here: deciding whether to bind.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The hash of a certificate (DER) by its own signature algorithm; SHA-256 in place of MD5 and SHA-1. None where the
/// algorithm does not name one hash (Ed25519, RSASSA-PSS): RFC 5929 leaves that open, and servers fail on it.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    match parsed.signature_algorithm.oid.to_string().as_str() {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Some(Sha224::digest(certificate).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature_algorithm() {
        for (algorithm, bytes) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["db.internal".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(server_end_point(certificate.der()).map(|hash| hash.len()), bytes, "{algorithm:?}");
        }
        assert_eq!(server_end_point(b"no certificate"), None);
    }
}
