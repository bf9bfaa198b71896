//! A token before it is signed, for whoever wants to change something in it.

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{base64_url, keys};

/// One lie about a token: what it is, how it is told, and what the record of its refusal must say.
pub(crate) struct Lie {
    pub(crate) what: String,
    pub(crate) why: &'static str,
    pub(super) tell: Box<dyn Fn(&mut Draft) + Send + Sync>,
}

impl Lie {
    pub(crate) fn new(
        what: impl Into<String>,
        why: &'static str,
        tell: impl Fn(&mut Draft) + Send + Sync + 'static,
    ) -> Self {
        Self { what: what.into(), why, tell: Box::new(tell) }
    }

    /// One claim of another value.
    pub(crate) fn claim(name: &'static str, value: impl Into<Value>, why: &'static str) -> Self {
        let value = value.into();
        Self::new(format!("{name} = {}", shortened(&value)), why, move |draft| draft.claims[name] = value.clone())
    }

    pub(crate) fn no_claim(name: &'static str, why: &'static str) -> Self {
        Self::new(format!("no {name}"), why, move |draft| drop(draft.claims.as_object_mut().unwrap().remove(name)))
    }

    /// One member of the header of another value; the signature is good for it.
    pub(crate) fn header(name: &'static str, value: impl Into<Value>, why: &'static str) -> Self {
        let value = value.into();
        Self::new(format!("header {name} = {}", shortened(&value)), why, move |draft| {
            draft.header[name] = value.clone();
        })
    }

    pub(crate) fn no_header(name: &'static str, why: &'static str) -> Self {
        Self::new(format!("no header {name}"), why, move |draft| {
            drop(draft.header.as_object_mut().unwrap().remove(name));
        })
    }

    /// Header and claims in these words.
    pub(crate) fn texts(
        what: &str,
        why: &'static str,
        change: impl Fn(String, String) -> (String, String) + Send + Sync + 'static,
    ) -> Self {
        Self::new(what, why, move |draft| {
            draft.texts = Some(change(draft.header.to_string(), draft.claims.to_string()));
        })
    }

    /// The signed token, turned into something else.
    pub(crate) fn whole(
        what: &str,
        why: &'static str,
        change: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::new(what, why, move |draft| draft.whole = Some(change(&draft.token())))
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// A token that is honest until somebody changes it.
pub(crate) struct Draft {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    /// What is signed instead of the above.
    pub(crate) texts: Option<(String, String)>,
    /// What signs; the liar's RSA key unless somebody else does.
    pub(crate) signer: Box<dyn Fn(&str) -> Vec<u8>>,
    /// What is sent instead of the token.
    pub(crate) whole: Option<String>,
    /// What comes along with it.
    pub(crate) answer: Value,
}

impl Draft {
    pub(super) fn new(claims: Value) -> Self {
        Self {
            header: json!({ "alg": "RS256", "kid": "rsa", "typ": "JWT" }),
            claims,
            texts: None,
            signer: Box::new(|message| keys::sign(&keys::RSA, message)),
            whole: None,
            answer: json!({ "access_token": "access-1", "refresh_token": "refresh-1", "token_type": "Bearer" }),
        }
    }

    /// Signs with the small key that liars have of their own.
    pub(super) fn by_own(claims: Value, kid: &str, key: &'static KeyPair) -> Self {
        let header = json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" });
        Self { header, signer: Box::new(|message| keys::sign(key, message)), ..Self::new(claims) }
    }

    /// Names another key and algorithm, and lets this sign.
    pub(crate) fn signed_by(&mut self, alg: &str, kid: &str, signer: impl Fn(&str) -> Vec<u8> + 'static) {
        (self.header["alg"], self.header["kid"]) = (json!(alg), json!(kid));
        self.signer = Box::new(signer);
    }

    pub(crate) fn message(&self) -> String {
        let (header, claims) = self.texts.clone().unwrap_or_else(|| (self.header.to_string(), self.claims.to_string()));
        format!("{}.{}", base64_url(header), base64_url(claims))
    }

    pub(crate) fn token(&self) -> String {
        let message = self.message();
        format!("{message}.{}", base64_url((self.signer)(&message)))
    }

    /// The answer of the token endpoint.
    pub(super) fn into_answer(mut self) -> Value {
        self.answer["id_token"] = json!(self.whole.take().unwrap_or_else(|| self.token()));
        self.answer
    }
}
