//! `[idp]`
//!
//! Promises: a person is named by what stays hers, never by a name that she signs in with.
//! Deliberately not here: whether the provider is what the file says; the verb `check` asks it.

use super::super::source::At;
use super::super::{Idp, Preset, raw};
use super::{Check, many};
use crate::idp::presets;

/// Claims that hold names: they change, and are given to somebody else.
const NAMES: [&str; 8] =
    ["email", "preferred_username", "upn", "unique_name", "username", "nickname", "name", "phone_number"];

/// Claims that all people of an organisation, or all at this provider, have in common.
const SHARED: [&str; 6] = ["tid", "hd", "iss", "aud", "azp", "org_id"];

impl Check<'_, '_> {
    pub(super) fn idp(&mut self, raw: raw::Idp, at: &At) -> Idp {
        let raw::Flow::Device = raw.flow;
        let preset = preset(raw.preset);
        let defaults = presets::defaults(preset);
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
        self.issuer(&raw.issuer, preset, &at.key("issuer"));
        let scopes = raw.scopes.unwrap_or_else(|| owned(defaults.scopes));
        if !scopes.iter().any(|scope| scope == "openid") {
            let message = "expected `openid` among `idp.scopes`, found none: without it the IdP gives no ID token";
            self.source.wrong(&at.key("scopes"), message.to_owned());
        }
        let login_claim = raw.login_claim.unwrap_or_else(|| defaults.login_claim.to_owned());
        let subject_claim = raw.subject_claim.map_or_else(|| owned(defaults.subject_claim), many);
        for (key, values) in [("scopes", &scopes), ("subject_claim", &subject_claim)] {
            self.words(values, &at.key(key));
        }
        self.subject(&subject_claim, &login_claim, &at.key("subject_claim"));
        if let Some(domain) = &raw.hosted_domain {
            self.host(domain, &at.key("hosted_domain"));
        }
        let groups_claim = raw.groups_claim.unwrap_or_else(|| defaults.groups_claim.to_owned());
        for (key, value) in
            [("client_id", &raw.client_id), ("login_claim", &login_claim), ("groups_claim", &groups_claim)]
        {
            self.word(value, &at.key(key));
        }
        Idp {
            preset,
            issuer: raw.issuer,
            client_id: raw.client_id,
            client_secret: raw.client_secret.map(|secret| self.secret(secret, &at.key("client_secret"))),
            scopes,
            login_claim,
            subject_claim,
            groups_claim,
            login_timeout: self.positive(&raw.login_timeout, &at.key("login_timeout")),
            ca: raw.ca.map(|ca| self.file(&ca, &at.key("ca"))),
            require_verified_email: raw.require_verified_email.unwrap_or(defaults.require_verified_email),
            hosted_domain: raw.hosted_domain,
        }
    }

    /// Who signs tokens is named over the network: it must be the one meant, so https, and one tenant.
    fn issuer(&mut self, issuer: &str, preset: Preset, at: &At) {
        let Some(url) = self.url(issuer, at) else { return };
        let first = url.path_segments().and_then(|mut segments| segments.next().map(str::to_owned)).unwrap_or_default();
        let shared = ["common", "organizations", "consumers", "{tenantid}"].contains(&first.as_str());
        if preset == Preset::Entra && shared {
            let message = format!(
                "expected the issuer of one tenant for `idp.issuer`, found `{issuer}`: write the tenant's id in place of `{first}`"
            );
            self.source.wrong(at, message);
        }
    }

    /// Who gets the name of somebody who has left must not become her.
    fn subject(&mut self, claims: &[String], login_claim: &str, at: &At) {
        if claims.is_empty() {
            let message = "expected a claim for `idp.subject_claim`, found an empty list: nobody could sign in";
            self.source.wrong(at, message.to_owned());
        }
        // A provider may use its stable id as the login, but no login becomes stable by that.
        let is_name = |claim: &&String| NAMES.contains(&claim.as_str()) || (*claim == login_claim && *claim != "sub");
        if let Some(claim) = claims.iter().find(is_name) {
            let message = format!(
                "expected claims that stay a person's own for `idp.subject_claim`, such as `sub`, found `{claim}`: a name may \
                 become somebody else's"
            );
            self.source.wrong(at, message);
        }
        // They are part of a person's key with something of her own; alone they would make one person of all.
        if !claims.is_empty() && claims.iter().all(|claim| SHARED.contains(&claim.as_str())) {
            let message = format!(
                "expected a claim of each person's own in `idp.subject_claim`, such as `sub`, found only `{}`: all would be one \
                 person",
                claims.join("`, `")
            );
            self.source.wrong(at, message);
        }
    }
}

const fn preset(raw: raw::Preset) -> Preset {
    match raw {
        raw::Preset::Okta => Preset::Okta,
        raw::Preset::Entra => Preset::Entra,
        raw::Preset::Google => Preset::Google,
        raw::Preset::Auth0 => Preset::Auth0,
        raw::Preset::Keycloak => Preset::Keycloak,
        raw::Preset::Generic => Preset::Generic,
    }
}
