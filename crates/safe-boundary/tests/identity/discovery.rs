//! What a provider says of itself: row b18.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use safe_boundary::config::Idp;
use safe_boundary::idp::{IdpClient, Trouble};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::direct::{begin, told};
use super::support::config;
use super::support::liar::{DISCOVERY, Liar, Reply, Trap};

#[tokio::test]
async fn b18_a_provider_that_lies_before_the_prompt_gets_no_prompt() {
    let trap = Trap::set();
    let elsewhere = format!("http://{}/", trap.address);
    let check = async |path: &str, reply: Reply, trouble: Trouble| {
        let liar = Liar::start();
        liar.always(path, reply);
        let error = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await.err().unwrap();
        assert_eq!(error.trouble(), trouble, "{path}: {}", told(&error));
        assert!(liar.requests("/token").is_empty());
    };
    for path in [DISCOVERY, "/jwks", "/device"] {
        check(path, Reply::html("502 Bad Gateway"), Trouble::Unreachable).await;
        check(path, Reply::truncated(), Trouble::Unreachable).await;
        check(path, Reply::Raw(Vec::new()), Trouble::Unreachable).await;
        check(path, Reply::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), Trouble::Unreachable).await;
        check(path, Reply::html("200 OK"), Trouble::AnswersWrongly).await;
        check(path, Reply::redirect(&elsewhere), Trouble::AnswersWrongly).await;
        check(path, Reply::endless(), Trouble::AnswersWrongly).await;
        check(path, Reply::Json(200, json!([])), Trouble::AnswersWrongly).await;
        check(path, Reply::Json(200, json!({})), Trouble::AnswersWrongly).await;
        check(path, Reply::html("403 Forbidden"), Trouble::AnswersWrongly).await;
    }
    assert_eq!(trap.hits(), 0);
}

#[tokio::test]
async fn b18_a_private_root_is_believed_when_it_is_configured() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let liar = Liar::start_tls(TlsAcceptor::from(Arc::new(tls)));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let trusting = Idp { ca: Some(ca.clone()), ..config(&liar.issuer) };
    begin(&trusting).await.wait().await.unwrap();
    let error = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.is_unreachable() && told(&error).contains("certificate"), "{}", told(&error));
    std::fs::write(&ca, "not a certificate").unwrap();
    assert_eq!(IdpClient::new(&trusting).unwrap_err().trouble(), Trouble::Local);
    std::fs::remove_file(&ca).unwrap();
    assert_eq!(IdpClient::new(&trusting).unwrap_err().trouble(), Trouble::Local);
}
