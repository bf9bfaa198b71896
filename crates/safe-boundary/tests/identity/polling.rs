//! How often a provider is asked, and what its answers mean: row b21 without the proxy around it.

use std::time::Duration;

use safe_boundary::config::{Idp, Preset};
use safe_boundary::idp::IdpClient;
use serde_json::json;
use tokio::task::JoinSet;

use super::direct::{begin, told};
use super::support::config;
use super::support::liar::{Liar, Reply};

#[tokio::test]
async fn b21_trouble_on_the_way_backs_off_and_the_login_goes_on() {
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
            let liar = Liar::start();
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
async fn b21_errors_of_the_token_endpoint_end_the_login() {
    let check = async |reply: Reply, expected: &str| {
        let liar = Liar::start();
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

#[tokio::test]
async fn b21_a_login_that_is_dropped_asks_no_more() {
    let liar = Liar::start();
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
