//! What a provider says of itself: row b18.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use safe_boundary::config::Idp;
use safe_boundary::idp::{IdpClient, Trouble};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::client::Client;
use super::direct::{begin, told};
use super::stage::{ALICE, Kind, Setting, Stage};
use super::support::config;
use super::support::liar::{DISCOVERY, Liar, Reply, Trap};

/// What a provider of the public may not make us call, and how else its documents cannot be believed. The company's
/// proxy on the way out notes every host that is asked for.
#[test]
fn b18_documents_that_lead_elsewhere_lead_nowhere() {
    let stage = Stage::with(&Setting { kind: Kind::Public, ..Setting::default() });
    let trap = Trap::set();
    let port = trap.address.port();
    let mut lies = Vec::new();
    for address in [
        "http://idp.example.com/x".to_owned(),
        format!("http://127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("https://localhost:{port}/x"),
        format!("https://localhost.:{port}/x"),
        format!("https://x.localhost:{port}/x"),
        format!("https://[::1]:{port}/x"),
        format!("https://2130706433:{port}/x"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:169.254.169.254]/x".to_owned(),
        "https://[fd00:ec2::254]/x".to_owned(),
        "https://0xa9fea9fe/x".to_owned(),
        "https://168.63.129.16/x".to_owned(),
        "https://0.0.0.0/x".to_owned(),
        "https://alice:secret@idp.example.com/x".to_owned(),
        "https://idp.example.com/x#y".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://idp.example.com/x".to_owned(),
        "/x".to_owned(),
        String::new(),
    ] {
        for member in ["jwks_uri", "token_endpoint", "device_authorization_endpoint", "userinfo_endpoint"] {
            lies.push((json!({ member: address }), "expected an https address that may be called"));
        }
    }
    for issuer in [
        "https://idp.example.com/",
        "https://IDP.example.com",
        "http://idp.example.com",
        "https://idp.example.com/{tenantid}/v2.0",
        "https://evil.example",
        "",
    ] {
        lies.push((json!({ "issuer": issuer }), "expected the issuer `https://idp.example.com`"));
    }
    lies.push((json!({ "issuer": null }), "malformed: expected the claim `issuer`, which is absent"));
    lies.push((json!({ "jwks_uri": null }), "malformed: expected the claim `jwks_uri`, which is absent"));
    lies.push((json!({ "jwks_uri": 7 }), "malformed: expected the claim `jwks_uri` to be a string"));
    for (members, why) in lies {
        stage.liar.amend(DISCOVERY, &members);
        refused(&stage, "28000", why, &members.to_string());
        stage.liar.repent(DISCOVERY);
        // What has been believed once is kept for an hour: the next lie needs a proxy that has seen none.
        assert!(stage.liar.requests("/jwks").is_empty(), "{members}");
    }
    answers(&stage, DISCOVERY, "discovery document", &trap);
    drop(stage.honest(ALICE));
    assert_eq!((stage.upstream.connects(), trap.hits()), (1, 0));
    let wanted = stage.liar.wanted();
    assert!(wanted.iter().all(|host| host == "idp.example.com:443"), "{wanted:?}");
}

/// Whatever stands where keys should be, nobody gets a code.
#[test]
fn b17_poisoned_keys_are_no_keys() {
    let stage = Stage::with(&Setting { kind: Kind::Public, ..Setting::default() });
    let trap = Trap::set();
    answers(&stage, "/jwks", "jwks_uri", &trap);
    for (body, why) in [
        (json!({ "keys": {} }), "expected a list `keys`"),
        (json!({ "keys": "x" }), "expected a list `keys`"),
        (json!({ "keys": vec![json!({}); 101] }), "expected at most 100 keys, got 101"),
    ] {
        stage.liar.always("/jwks", Reply::Json(200, body.clone()));
        refused(&stage, "28000", why, &body.to_string());
    }
    let own = |members: &str| Reply::http("200 OK", "content-type: application/json\r\n", members);
    for twice in [r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kid":"a","kid":"b"}]}"#, r#"{"keys":[]}x"#, "{\"keys\":["] {
        stage.liar.always("/jwks", own(twice));
        refused(&stage, "28000", "expected strict JSON", twice);
    }
    stage.liar.repent("/jwks");
    drop(stage.honest(ALICE));
    assert_eq!((stage.upstream.connects(), trap.hits()), (1, 0));
    assert!(stage.liar.wanted().iter().all(|host| host == "idp.example.com:443"));
}

/// Answers that are none, at a path that is asked before anybody gets a code.
fn answers(stage: &Stage, path: &str, name: &str, trap: &Trap) {
    let redirect = |scheme: &str| Reply::redirect(&format!("{scheme}://{}/", trap.address));
    let named = |text: &str| format!("{text} the {name}");
    let cases = [
        (Reply::html("200 OK"), "28000", format!("the {name} is malformed")),
        (Reply::html("404 Not Found"), "28000", format!("HTTP 200 from the {name}, got 404")),
        (Reply::html("503 Unavailable"), "08006", format!("the {name} is not available now (HTTP 503)")),
        (redirect("http"), "28000", "redirects are not followed".to_owned()),
        (redirect("https"), "28000", "redirects are not followed".to_owned()),
        (Reply::redirect("https://evil.example/"), "28000", "redirects are not followed".to_owned()),
        (Reply::redirect("/elsewhere"), "28000", "redirects are not followed".to_owned()),
        (Reply::endless(), "28000", named("expected at most 1048576 bytes from")),
        (Reply::truncated(), "08006", format!("the {name} cannot be reached")),
        (Reply::Raw(Vec::new()), "08006", format!("the {name} cannot be reached")),
        (Reply::Json(200, json!([])), "28000", format!("the {name} is malformed")),
        (Reply::Silence, "08006", "did not answer within".to_owned()),
    ];
    for (number, (reply, code, why)) in cases.into_iter().enumerate() {
        stage.liar.always(path, reply);
        refused(stage, code, &why, &format!("{path}, answer {number}"));
        stage.liar.repent(path);
    }
}

/// Someone tries to sign in, gets no code, and the record says why. It is somebody else each time, for only so many
/// sign-ins of a person may come to nothing within a minute, and only so many from an address.
fn refused(stage: &Stage, code: &str, why: &str, what: &str) {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    let number = TRIES.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let from = u8::try_from(2 + number / 50 % 200).unwrap();
    let mut client = Client::start(stage, from, &format!("person{number}@example.com"));
    let refusal = client.refused();
    assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {:?}", begun.elapsed());
    let message =
        if code == "08006" { "the identity provider cannot be reached" } else { "the sign-in could not be verified" };
    assert_eq!(
        (refusal.code.as_str(), refusal.message.as_str(), refusal.tags.as_str()),
        (code, message, "E"),
        "{what}"
    );
    let (effect, reason) = Stage::ended(&stage.trail(), client.address);
    assert_eq!(effect, "failed", "{what}: {reason}");
    assert!(reason.contains(why), "{what}: expected {why:?} in {reason:?}");
}

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
