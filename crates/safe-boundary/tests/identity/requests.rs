//! What is said to a provider, and what of its answers people are shown.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use safe_boundary::config::{Idp, Preset, SecretSource};
use safe_boundary::idp::{Error, IdpClient, Trouble};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::direct::{begin, told};
use super::support::config;
use super::support::liar::{DEVICE_CODE, DISCOVERY, Liar, Reply, base64_url};

#[tokio::test]
async fn the_code_verifier_fits_the_challenge_and_the_client_is_named() {
    let liar = Liar::start();
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
    assert!(token.form["device_code"].starts_with(DEVICE_CODE));
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
        let liar = Liar::start();
        liar.amend(DISCOVERY, &json!({ "token_endpoint_auth_methods_supported": methods }));
        begin(&Idp { client_secret: secret.clone(), preset, ..config(&liar.issuer) }).await.wait().await.unwrap();
        for path in ["/device", "/token"] {
            let request = &liar.requests(path)[0];
            assert_eq!(request.head.contains(&basic), by_header, "{methods} {path}: {}", request.head);
            assert_eq!(request.form.get("client_secret").map(String::as_str), (!by_header).then_some("s3cr%2Bt"));
        }
    }
    let liar = Liar::start();
    liar.amend(DISCOVERY, &json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }));
    let client = IdpClient::new(&Idp { client_secret: secret, ..config(&liar.issuer) }).unwrap();
    assert!(matches!(client.begin_device().await, Err(Error::NoClientAuthentication)));
}

#[tokio::test]
async fn what_people_are_shown_is_plain() {
    let check = async |members: Value, expected: Result<(), &str>| {
        let liar = Liar::start();
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

    let liar = Liar::start();
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
    let liar = Liar::start();
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
    let liar = Liar::start();
    liar.always("/device", Reply::Json(401, json!({ "error": "invalid_client" })));
    let error = IdpClient::new(&config(&liar.issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.to_string().contains("client_id") && error.trouble() == Trouble::RefusesClient, "{error}");
}

#[tokio::test]
async fn groups_that_only_userinfo_has_are_those_of_the_same_person() {
    let check = async |userinfo: Option<Reply>, expected: Result<&[&str], &str>| {
        let liar = Liar::start();
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
    let liar = Liar::start();
    begin(&config(&liar.issuer)).await.wait().await.unwrap();
    assert!(liar.requests("/userinfo").is_empty(), "the token had groups");
}
