//! Signing in at a certified identity provider, and at one that lies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on must fail; the helpers around tests are tests too"
)]

#[path = "support/idp/mod.rs"]
mod support;

use std::error::Error as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use safe_boundary::cli::exit::Exit;
use safe_boundary::cli::test_login;
use safe_boundary::config::{Config, Idp, Preset, SecretSource};
use safe_boundary::idp::{DeviceLogin, Error, IdpClient, LoginFailure, SignedIn, Trouble};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::config;
use support::liar::{DEVICE_CODE, Liar, Reply, Trap, base64_url};
use support::provider::Provider;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A client that will say which key it uses first, and one prompt of it.
async fn begin(config: &Idp) -> DeviceLogin {
    IdpClient::new(config).unwrap().begin_device().await.unwrap()
}

async fn sign_in(client: &IdpClient, provider: &Provider, login: &str) -> Result<SignedIn, LoginFailure> {
    let waiting = client.begin_device().await?;
    let url = waiting.prompt().verification_uri_complete.clone().unwrap();
    let (signed_in, ()) = tokio::join!(waiting.wait(), provider.approve(login, &url));
    signed_in
}

/// An error and its causes, as an operator sees them; it never holds a code.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    assert!(!text.contains(DEVICE_CODE) && !text.contains("access-1") && !text.contains("refresh-1"), "{text}");
    text
}

// ---- the certified provider -------------------------------------------------------------------------------------

#[tokio::test]
async fn people_sign_in_and_are_who_the_provider_says() {
    let provider = Provider::start();
    let rsa = IdpClient::new(&config(&provider.issuer)).unwrap();
    let elliptic =
        IdpClient::new(&Idp { client_id: "safe-boundary-es256".to_owned(), ..config(&provider.issuer) }).unwrap();
    let (alice, bob, mallory) = tokio::join!(
        sign_in(&rsa, &provider, "alice@example.com"),
        sign_in(&elliptic, &provider, "bob@example.com"),
        sign_in(&rsa, &provider, "mallory@example.com"),
    );
    let (alice, bob, mallory) = (alice.unwrap(), bob.unwrap(), mallory.unwrap());
    assert_eq!((alice.identity.login(), alice.identity.subject()), ("alice@example.com", "00u-alice"));
    assert_eq!(alice.identity.issuer(), provider.issuer);
    assert_eq!(alice.identity.groups(), ["engineering", "on-call"]);
    assert!(alice.tokens.refresh.is_some());
    assert_eq!((bob.identity.login(), bob.identity.groups()), ("bob@example.com", &["engineering".to_owned()][..]));
    assert_eq!(mallory.identity.login(), "mallory@example.com");
    assert!(mallory.identity.groups().is_empty());
    // Two clients looked at the provider once each, however many people signed in.
    assert_eq!(provider.requests(DISCOVERY).await, 2);
}

#[tokio::test]
async fn a_refusal_ends_the_login() {
    let provider = Provider::start();
    let waiting = begin(&config(&provider.issuer)).await;
    let url = waiting.prompt().verification_uri_complete.clone().unwrap();
    let refusal = provider.control("approve", json!({ "login": "alice@example.com", "url": url, "deny": true }));
    let (outcome, _) = tokio::join!(waiting.wait(), refusal);
    assert!(matches!(outcome, Err(LoginFailure::Refused)), "{outcome:?}");
}

#[tokio::test]
async fn a_code_that_nobody_answers_expires() {
    let provider = Provider::start();
    provider.control("lifetime", json!({ "device_code": 2 })).await;
    let waiting = begin(&config(&provider.issuer)).await;
    assert_eq!(waiting.prompt().expires_in, Duration::from_secs(2));
    let begun = Instant::now();
    assert!(matches!(waiting.wait().await, Err(LoginFailure::Expired)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn new_keys_are_fetched_once_a_minute_at_most() {
    let provider = Provider::start();
    let client = IdpClient::new(&config(&provider.issuer)).unwrap();
    sign_in(&client, &provider, "alice@example.com").await.unwrap();
    provider.control("keys", json!({})).await;
    sign_in(&client, &provider, "alice@example.com").await.unwrap();
    assert_eq!(provider.requests("/jwks").await, 2);
    provider.control("keys", json!({})).await;
    let outcome = sign_in(&client, &provider, "alice@example.com").await;
    assert!(matches!(outcome, Err(LoginFailure::Token(_))), "{outcome:?}");
    assert_eq!(provider.requests("/jwks").await, 2);
}

// ---- what is said to the provider ------------------------------------------------------------------------------

#[tokio::test]
async fn the_code_verifier_fits_the_challenge_and_the_client_is_named() {
    let liar = Liar::start().await;
    let signed_in = begin(&config(&liar.issuer)).await.wait().await.unwrap();
    assert_eq!(signed_in.tokens.refresh.unwrap().reveal(), "refresh-1");
    let (device, token) = (liar.requests("/device"), liar.requests("/token"));
    let (device, token) = (&device[0], &token[0]);
    assert_eq!(device.form["code_challenge_method"], "S256");
    assert_eq!(device.form["code_challenge"], base64_url(Sha256::digest(&token.form["code_verifier"])));
    assert_eq!(device.form["scope"], "openid+email+groups+offline_access");
    for request in [device, token] {
        assert_eq!(request.form["client_id"], "safe-boundary");
        assert!(!request.form.contains_key("client_secret") && !request.head.contains("authorization: "));
    }
    assert_eq!(token.form["device_code"], DEVICE_CODE);
}

#[tokio::test]
async fn a_secret_is_shown_the_way_the_provider_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cr+t\n").unwrap();
    let secret = Some(SecretSource::File(file));
    let basic = format!("authorization: Basic {}", BASE64_STANDARD.encode("safe-boundary:s3cr%2Bt"));
    for (methods, preset, by_header) in [
        (json!(["client_secret_basic", "client_secret_post"]), Preset::Generic, true),
        (json!(["client_secret_basic", "client_secret_post"]), Preset::Google, false),
        (json!(["client_secret_post"]), Preset::Generic, false),
        (json!([]), Preset::Generic, true),
    ] {
        let liar = Liar::start().await;
        liar.amend(DISCOVERY, &json!({ "token_endpoint_auth_methods_supported": methods }));
        begin(&Idp { client_secret: secret.clone(), preset, ..config(&liar.issuer) }).await.wait().await.unwrap();
        for path in ["/device", "/token"] {
            let request = &liar.requests(path)[0];
            assert_eq!(request.head.contains(&basic), by_header, "{methods} {path}: {}", request.head);
            assert_eq!(request.form.get("client_secret").map(String::as_str), (!by_header).then_some("s3cr%2Bt"));
        }
    }
    let liar = Liar::start().await;
    liar.amend(DISCOVERY, &json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }));
    let client = IdpClient::new(&Idp { client_secret: secret, ..config(&liar.issuer) }).unwrap();
    assert!(matches!(client.begin_device().await, Err(Error::NoClientAuthentication)));
}

// ---- polling ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn slow_down_counts_for_good() {
    let liar = Liar::start().await;
    liar.next("/token", Reply::error("slow_down"));
    liar.next("/token", Reply::error("authorization_pending"));
    begin(&config(&liar.issuer)).await.wait().await.unwrap();
    let polls: Vec<_> = liar.requests("/token").iter().map(|request| request.at).collect();
    assert_eq!(polls.len(), 3);
    for pair in polls.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(5_900), "{:?}", pair[1] - pair[0]);
    }
}

#[tokio::test]
async fn trouble_on_the_way_backs_off_and_the_login_goes_on() {
    let mut logins = JoinSet::new();
    for reply in [
        Reply::html("502 Bad Gateway"),
        Reply::truncated(),
        Reply::Raw(Vec::new()),
        Reply::error("temporarily_unavailable"),
        Reply::Json(429, json!({ "error": "too_many" })),
        Reply::Json(400, json!({ "error": "invalid_grant", "error_codes": [50196] })),
        Reply::Json(400, json!({ "error": "invalid_grant", "error_description": "AADSTS50196: loop" })),
        Reply::Json(403, json!({ "error": "rate_limit_exceeded" })),
    ] {
        logins.spawn(async move {
            let liar = Liar::start().await;
            liar.next("/token", reply);
            let signed_in = begin(&config(&liar.issuer)).await.wait().await;
            let polls = liar.requests("/token");
            assert_eq!(signed_in.unwrap().identity.login(), "alice@example.com");
            assert!(polls[1].at - polls[0].at >= Duration::from_millis(1_900), "{:?}", polls[1].at - polls[0].at);
        });
    }
    while let Some(done) = logins.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_login_that_is_dropped_asks_no_more() {
    let liar = Liar::start().await;
    liar.always("/token", Reply::error("authorization_pending"));
    let client = IdpClient::new(&config(&liar.issuer)).unwrap();
    let first = tokio::spawn(client.begin_device().await.unwrap().wait());
    liar.wait_for("/token", 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let before = liar.requests("/token").len();
    // Another login outlives what would have been the next three polls of the first.
    let second = tokio::spawn(client.begin_device().await.unwrap().wait());
    liar.wait_for("/token", before + 3).await;
    second.abort();
    let verifiers = liar.requests("/token")[before..]
        .iter()
        .map(|request| request.form["code_verifier"].clone())
        .collect::<Vec<_>>();
    assert!(verifiers.windows(2).all(|pair| pair[0] == pair[1]), "{verifiers:?}");
    assert_ne!(verifiers[0], liar.requests("/token")[0].form["code_verifier"]);
}

#[tokio::test]
async fn errors_of_the_token_endpoint_end_the_login() {
    let check = async |reply: Reply, expected: &str| {
        let liar = Liar::start().await;
        liar.always("/token", reply);
        let failure = begin(&Idp { preset: Preset::Entra, ..config(&liar.issuer) }).await.wait().await.unwrap_err();
        let text = told(&failure);
        assert!(text.contains(expected), "{expected}: {text}");
    };
    let entra = |code: &str, number: u32| Reply::Json(400, json!({ "error": code, "error_codes": [number] }));
    tokio::join!(
        check(Reply::error("access_denied"), "Refused"),
        check(Reply::error("authorization_declined"), "Refused"),
        check(entra("interaction_required", 53003), "Refused"),
        check(Reply::error("expired_token"), "Expired"),
        check(Reply::error("invalid_grant"), "invalid_grant"),
        check(entra("invalid_client", 7_000_218), "Allow public client flows"),
        check(entra("invalid_grant", 530_033), "compliant"),
        check(Reply::error("unauthorized_client"), "unauthorized_client"),
        check(Reply::Json(400, json!({ "error": "x\ny" })), "got 400"),
        check(Reply::html("400 Bad Request"), "got 400"),
        check(Reply::html("200 OK"), "malformed"),
        check(Reply::Json(200, json!({ "access_token": "access-1" })), "no ID token"),
        check(Reply::Json(200, json!({ "id_token": 7 })), "malformed"),
        check(Reply::redirect("http://127.0.0.1:1/"), "redirect"),
        check(Reply::endless(), "at most 1048576 bytes"),
    );
}

// ---- lies ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_provider_that_lies_before_the_prompt_gets_no_prompt() {
    let trap = Trap::set().await;
    let elsewhere = format!("http://{}/", trap.address);
    let check = async |path: &str, reply: Reply, trouble: Trouble| {
        let liar = Liar::start().await;
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
async fn what_people_are_shown_is_plain() {
    let check = async |members: Value, expected: Result<(), &str>| {
        let liar = Liar::start().await;
        liar.amend("/device", &members);
        let begun = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await;
        let outcome = begun
            .map(|login| assert!(!format!("{:?}", login.prompt()).contains(DEVICE_CODE)))
            .map_err(|error| told(&error));
        match (outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(text), Err(expected)) => assert!(text.contains(expected), "{members}: {text}"),
            (outcome, _) => panic!("{members}: {outcome:?}"),
        }
    };
    check(json!({}), Ok(())).await;
    check(json!({ "user_code": "ABCDEFGHI", "interval": null }), Ok(())).await;
    check(json!({ "expires_in": "60", "interval": "1" }), Ok(())).await;
    for code in ["", "AB\u{202e}CD", "AB CD", "A\r\nB", "\u{1b}[2J", &"A".repeat(65)] {
        check(json!({ "user_code": code }), Err("user_code")).await;
    }
    for uri in [
        "javascript:alert(1)",
        "http://evil.example/",
        "https://evil.example@x/",
        "not a url",
        "https://x/\u{1b}[2J",
        "https://x/\"<b>",
        "",
    ] {
        check(json!({ "verification_uri": uri }), Err("verification_uri")).await;
    }
    check(json!({ "device_code": "" }), Err("device_code")).await;
    check(json!({ "device_code": "a b" }), Err("device_code")).await;
    for life in [json!(0), json!(-5), json!(null), json!("x"), json!(1.5)] {
        check(json!({ "expires_in": life }), Err("expires_in")).await;
    }

    let liar = Liar::start().await;
    liar.always(
        "/device",
        Reply::Json(
            200,
            json!({ "device_code": DEVICE_CODE, "user_code": "XYZ", "expires_in": 1800,
        "verification_url": "https://www.google.com/device", "verification_uri_complete": "javascript:x" }),
        ),
    );
    let prompt = begin(&config(&liar.issuer)).await.prompt().clone();
    assert_eq!((prompt.verification_uri.as_str(), prompt.user_code.as_str()), ("https://www.google.com/device", "XYZ"));
    assert_eq!((prompt.verification_uri_complete, prompt.expires_in), (None, Duration::from_secs(300)));
}

#[tokio::test]
async fn a_provider_without_device_flow_is_told_apart() {
    let liar = Liar::start().await;
    liar.amend(DISCOVERY, &json!({}));
    liar.always("/device", Reply::html("404 Not Found"));
    let error = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.to_string().contains("authentik") && error.trouble() == Trouble::RefusesClient, "{error}");
    liar.always(
        DISCOVERY,
        Reply::Json(
            200,
            json!({ "issuer": liar.issuer, "jwks_uri": format!("{}/jwks", liar.issuer),
        "token_endpoint": format!("{}/token", liar.issuer) }),
        ),
    );
    let okta = Idp { preset: Preset::Okta, ..config(&liar.issuer) };
    let error = IdpClient::new(&okta).unwrap().begin_device().await.err().unwrap();
    assert!(error.to_string().contains("access policy rule"), "{error}");
    let liar = Liar::start().await;
    liar.always("/device", Reply::Json(401, json!({ "error": "invalid_client" })));
    let error = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.to_string().contains("client_id") && error.trouble() == Trouble::RefusesClient, "{error}");
}

#[tokio::test]
async fn tokens_that_lie_let_nobody_in() {
    let trap = Trap::set().await;
    let lie = async |change: &dyn Fn(&Liar), expected: &str| {
        let liar = Liar::start().await;
        let waiting = begin(&config(&liar.issuer)).await;
        change(&liar);
        let failure = waiting.wait().await.unwrap_err();
        let text = told(&failure);
        assert!(matches!(failure, LoginFailure::Token(_)) && text.contains(expected), "{expected}: {text}");
    };
    let unsigned = |alg: &str| {
        let header = base64_url(json!({ "alg": alg, "kid": "one" }).to_string());
        move |liar: &Liar| {
            let good = liar.token();
            let claims = good.split('.').nth(1).unwrap();
            liar.always("/token", Reply::Json(200, json!({ "id_token": format!("{header}.{claims}.AAAA") })));
        }
    };
    let brought_along = |liar: &Liar| {
        let address = format!("http://{}/jwks", trap.address);
        let header = json!({ "alg": "EdDSA", "kid": "theirs", "jku": address, "x5u": address });
        let good = liar.token();
        let (_, rest) = good.split_once('.').unwrap();
        liar.always(
            "/token",
            Reply::Json(200, json!({ "id_token": format!("{}.{rest}", base64_url(header.to_string())) })),
        );
    };
    let (none, shared, forged) = (unsigned("none"), unsigned("HS256"), unsigned("EdDSA"));
    tokio::join!(
        lie(&none, "`none`"),
        lie(&shared, "`HS256`"),
        lie(&forged, "signature"),
        lie(&brought_along, "`kid`"),
        lie(&|liar| liar.claim("iss", json!("https://evil.example")), "issuer"),
        lie(&|liar| liar.claim("aud", json!("other")), "not meant for"),
        lie(&|liar| liar.claim("exp", json!(1)), "expired"),
        lie(&|liar| liar.claim("iat", Value::Null), "iat"),
        lie(&|liar| liar.claim("sub", json!("")), "sub"),
        lie(&|liar| liar.claim("email_verified", json!(false)), "verified"),
        lie(&|liar| liar.claim("email_verified", Value::Null), "verified"),
        lie(&|liar| liar.claim("hasgroups", json!(true)), "overage"),
        lie(&|liar| liar.claim("at_hash", json!("AAAA")), "at_hash"),
    );
    assert_eq!(trap.hits(), 0);
}

#[tokio::test]
async fn groups_that_only_userinfo_has_are_those_of_the_same_person() {
    let check = async |userinfo: Option<Reply>, expected: Result<&[&str], &str>| {
        let liar = Liar::start().await;
        liar.claim("groups", Value::Null);
        if let Some(reply) = userinfo {
            liar.always("/userinfo", reply);
        }
        let outcome = begin(&config(&liar.issuer)).await.wait().await;
        assert!(liar.requests("/userinfo")[0].head.contains("authorization: Bearer access-1"));
        match (outcome, expected) {
            (Ok(signed_in), Ok(groups)) => assert_eq!(signed_in.identity.groups(), groups),
            (Err(failure), Err(expected)) => assert!(told(&failure).contains(expected), "{}", told(&failure)),
            (outcome, _) => panic!("{outcome:?}, expected {expected:?}"),
        }
    };
    tokio::join!(
        check(None, Ok(&["from-userinfo"])),
        check(Some(Reply::Json(200, json!({ "sub": "00u1" }))), Ok(&[])),
        check(Some(Reply::Json(200, json!({ "sub": "00u2", "groups": ["admins"] }))), Err("another person")),
        check(Some(Reply::Json(200, json!({ "groups": ["admins"] }))), Err("sub")),
        check(Some(Reply::Json(200, json!({ "sub": "00u1", "groups": 7 }))), Err("groups")),
        check(Some(Reply::Json(401, json!({ "error": "invalid_token" }))), Err("got 401")),
        check(Some(Reply::html("503 Unavailable")), Err("not available")),
    );
    let liar = Liar::start().await;
    begin(&config(&liar.issuer)).await.wait().await.unwrap();
    assert!(liar.requests("/userinfo").is_empty(), "the token had groups");
}

#[tokio::test]
async fn an_unknown_key_asks_once_and_the_kept_keys_survive_an_outage() {
    let liar = Liar::start().await;
    let client = IdpClient::new(&config(&liar.issuer)).unwrap();
    client.begin_device().await.unwrap().wait().await.unwrap();
    liar.always("/jwks", Reply::html("502 Bad Gateway"));
    client.begin_device().await.unwrap().wait().await.unwrap();
    assert_eq!(liar.requests("/jwks").len(), 1);
    liar.rename_key("two");
    for _ in 0..2 {
        let failure = client.begin_device().await.unwrap().wait().await.unwrap_err();
        assert!(told(&failure).contains("`kid`"));
    }
    assert_eq!(liar.requests("/jwks").len(), 2);
    liar.rename_key("one");
    client.begin_device().await.unwrap().wait().await.unwrap();
}

// ---- a provider that is down or slow ----------------------------------------------------------------------------

#[tokio::test]
async fn a_thousand_people_at_a_silent_provider_are_told_in_five_seconds() {
    let liar = Liar::start().await;
    liar.always(DISCOVERY, Reply::Silence);
    let client = IdpClient::new(&config(&liar.issuer)).unwrap();
    let begun = Instant::now();
    let mut logins = JoinSet::new();
    for _ in 0..1_000 {
        let client = client.clone();
        logins.spawn(async move { client.begin_device().await.err().map(|error| error.trouble()) });
    }
    while let Some(done) = logins.join_next().await {
        assert_eq!(done.unwrap(), Some(Trouble::Unreachable));
    }
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert!(liar.requests(DISCOVERY).len() < 20, "{}", liar.requests(DISCOVERY).len());
    // Nothing is left behind that would keep the next person out.
    liar.amend(DISCOVERY, &json!({}));
    client.begin_device().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = IdpClient::new(&config(&issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.is_unreachable() && error.source().is_some(), "{error}");
    let nowhere = Idp { issuer: "https://idp.invalid".to_owned(), ..config(&issuer) };
    let error = IdpClient::new(&nowhere).unwrap().begin_device().await.err().unwrap();
    assert!(error.is_unreachable(), "{error}");
    for issuer in ["http://idp.example.com", "https://169.254.169.254.", "ftp://127.0.0.1", "idp"] {
        let refused = IdpClient::new(&Idp { issuer: issuer.to_owned(), ..config(issuer) });
        let refused = match refused {
            Ok(client) => client.begin_device().await.err(),
            Err(error) => Some(error),
        };
        assert!(refused.is_some(), "{issuer}");
    }
}

#[tokio::test]
async fn a_private_root_is_believed_when_it_is_configured() {
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
    let liar = Liar::start_tls(TlsAcceptor::from(Arc::new(tls))).await;
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

// ---- `safe-boundary test login` ---------------------------------------------------------------------------------

/// Gives each write to the test, which reads the prompt while the verb is waiting.
struct Printed(mpsc::UnboundedSender<String>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn whole_config(issuer: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for name in ["server.crt", "server.key", "ca.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let file = folder.path().join("safe-boundary.toml");
    let audit = folder.path().join("audit");
    let text = format!(
        r#"
        [server]
        tls_cert = "server.crt"
        tls_key = "server.key"
        public_url = "https://boundary.example.com"
        default_domain = "example.com"
        node = "test"
        [idp]
        preset = "generic"
        issuer = "{issuer}"
        client_id = "safe-boundary"
        scopes = ["openid", "email", "groups"]
        [audit]
        dir = "{}"
        [[database]]
        name = "payments"
        listen = "127.0.0.1:6432"
        upstream = "host=127.0.0.1 dbname=payments sslmode=disable"
        [[database.role]]
        role = "payments_rw"
        groups = ["on-call"]
        [[database.role]]
        role = "payments_ro"
        groups = ["engineering"]
        "#,
        audit.display(),
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the verb, answers the prompt as this person, and gives what was printed.
async fn try_login(provider: &Provider, person: &str, asked: Option<&str>) -> (Exit, Vec<Value>) {
    let config = whole_config(&provider.issuer);
    let (out, mut printed) = mpsc::unbounded_channel::<String>();
    let args = test_login::Args { login: asked.map(str::to_owned), json: true };
    let approve = async {
        let mut text = String::new();
        let mut answered = false;
        while let Some(more) = printed.recv().await {
            text.push_str(&more);
            let prompt = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["step"] == "prompt");
            if let (Some(prompt), false) = (prompt, answered) {
                answered = true;
                provider.approve(person, prompt["verification_uri_complete"].as_str().unwrap()).await;
            }
        }
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let (exit, lines) = tokio::join!(test_login::run_into(&config, &args, Printed(out)), approve);
    (exit.unwrap(), lines)
}

#[tokio::test]
async fn test_login_shows_each_step_and_the_decision() {
    let provider = Provider::start();
    let (alice, bob, mallory) = tokio::join!(
        try_login(&provider, "alice@example.com", Some("alice")),
        try_login(&provider, "bob@example.com", Some("alice@example.com")),
        try_login(&provider, "mallory@example.com", None),
    );
    let steps: Vec<_> = alice.1.iter().map(|line| line["step"].as_str().unwrap()).collect();
    let expected = [
        "discovery",
        "keys",
        "prompt",
        "polling",
        "token",
        "identity",
        "groups",
        "login",
        "database payments",
        "decision",
    ];
    assert_eq!((alice.0, &steps[..]), (Exit::Fine, &expected[..]));
    let of = |lines: &[Value], step: &str| lines.iter().find(|line| line["step"] == step).cloned().unwrap();
    assert_eq!(of(&alice.1, "database payments")["role"], "payments_rw");
    assert_eq!(of(&alice.1, "groups")["groups"], json!(["engineering", "on-call"]));
    assert_eq!(of(&alice.1, "token")["claims"]["email"], "alice@example.com");
    assert_eq!((bob.0, of(&bob.1, "login")["outcome"].as_str()), (Exit::Findings, Some("fail")));
    assert_eq!(of(&bob.1, "database payments")["role"], "payments_ro");
    assert_eq!(mallory.0, Exit::Findings);
    assert_eq!(of(&mallory.1, "database payments")["needs"], json!(["on-call", "engineering"]));
}

#[tokio::test]
async fn test_login_says_what_is_wrong_with_the_provider() {
    let liar = Liar::start().await;
    liar.always("/device", Reply::html("404 Not Found"));
    let mut text = Vec::new();
    let args = test_login::Args { login: None, json: false };
    let exit = test_login::run_into(&whole_config(&liar.issuer), &args, &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(exit, Exit::Findings);
    assert!(text.contains("ok    keys") && text.contains("fail  prompt") && text.contains("authentik"), "{text}");
}
