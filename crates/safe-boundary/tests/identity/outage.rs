//! A provider that is down, slow or out of its mind: row b20.

use std::error::Error as _;
use std::time::Duration;

use safe_boundary::config::Idp;
use safe_boundary::idp::{IdpClient, Trouble};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::config;
use super::support::liar::{DISCOVERY, Liar, Reply};

#[tokio::test]
async fn b20_a_provider_that_is_down_is_unreachable() {
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
async fn b20_a_thousand_people_at_a_silent_provider_are_told_in_five_seconds() {
    let liar = Liar::start();
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
