//! What is particular about each identity provider: defaults, and what to do when it says no.
//!
//! Promises: plain words that name the switch to turn, taken from the vendors' documentation.
//! Deliberately not here: behaviour. All providers go through the same code.

use crate::config::Preset;

/// What the keys of `[idp]` are for one product, unless the file says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `scopes`
    pub scopes: &'static [&'static str],
    /// `login_claim`
    pub login_claim: &'static str,
    /// `subject_claim`
    pub subject_claim: &'static [&'static str],
    /// `groups_claim`
    pub groups_claim: &'static str,
    /// `require_verified_email`
    pub require_verified_email: bool,
}

const GENERIC: Defaults = Defaults {
    scopes: &["openid", "profile", "email"],
    login_claim: "email",
    subject_claim: &["sub"],
    groups_claim: "groups",
    require_verified_email: false,
};

/// The defaults of a product.
#[must_use]
pub const fn defaults(preset: Preset) -> Defaults {
    match preset {
        Preset::Okta => Defaults { scopes: &["openid", "email", "groups", "offline_access"], ..GENERIC },
        // An e-mail address of Entra can be set by whoever administers any tenant; the name to sign in with cannot.
        Preset::Entra => Defaults {
            scopes: &["openid", "profile", "email", "offline_access"],
            login_claim: "preferred_username",
            subject_claim: &["tid", "oid"],
            ..GENERIC
        },
        Preset::Google => Defaults { require_verified_email: true, ..GENERIC },
        Preset::Auth0 => Defaults { scopes: &["openid", "profile", "email", "offline_access"], ..GENERIC },
        Preset::Keycloak | Preset::Generic => GENERIC,
    }
}

/// What to switch on when a provider offers no device flow.
#[must_use]
pub const fn no_device_flow(preset: Preset) -> &'static str {
    match preset {
        Preset::Okta => {
            "tick the grant type Device Authorization in the application, and in the access policy rule of the \
             authorization server"
        }
        Preset::Entra => "in the app registration under Authentication, set `Allow public client flows` to yes",
        Preset::Google => "make an OAuth client of the type `TVs and Limited Input devices`",
        Preset::Auth0 => "make an application of the type Native, and tick the grant type Device Code",
        Preset::Keycloak => "switch on `OAuth 2.0 Device Authorization Grant` in the capabilities of the client",
        Preset::Generic => {
            "switch the device authorization grant (RFC 8628) on; authentik: set a device code flow in the brand; \
             GitHub is no OpenID provider, put Dex, GitLab or Entra in front"
        }
    }
}

/// What usually is wrong when a discovery document names another issuer.
#[must_use]
pub const fn other_issuer(preset: Preset) -> &'static str {
    match preset {
        Preset::Entra => {
            "use `https://login.microsoftonline.com/TENANT-ID/v2.0` with the id of your tenant, not `common` or \
             `organizations`"
        }
        Preset::Okta => "the org server and each custom authorization server (`/oauth2/default`) are different issuers",
        Preset::Auth0 => "Auth0's issuer ends with a slash; with a custom domain it is that domain",
        Preset::Google => "Google's issuer is `https://accounts.google.com`",
        Preset::Keycloak => "the issuer is `https://HOST/realms/REALM`, with the host name that Keycloak is set to",
        Preset::Generic => "`idp.issuer` must be the same text, a slash at the end included",
    }
}

/// What usually helps against an error code of OAuth.
#[must_use]
pub fn refused(preset: Preset, code: &str, entra: Option<u32>) -> &'static str {
    if let Some(known) = entra.and_then(meaning) {
        return known;
    }
    match (code, preset) {
        ("invalid_client", Preset::Google) => {
            "check `client_id` and `client_secret`: Google's device client needs its secret, and has the type `TVs \
             and Limited Input devices`"
        }
        ("invalid_client", _) => "check `client_id` and `client_secret`",
        ("unauthorized_client" | "unsupported_grant_type", _) => no_device_flow(preset),
        ("invalid_scope", Preset::Google) => {
            "Google lets device clients ask only for `openid`, `email` and `profile`; set `scopes` to these"
        }
        ("invalid_scope", Preset::Okta) => {
            "the org server has no scope `groups` unless the application has a groups claim filter; check `scopes`"
        }
        ("invalid_scope", _) => "the provider does not know one of `scopes`, or does not let this client have it",
        ("invalid_grant", _) => "the provider does not know the code that it gave, or has used it up",
        ("invalid_request", _) => "the provider wants something that the device flow does not have; its log says what",
        _ => "the provider's log says why",
    }
}

/// What the number of an Entra error (AADSTS…) means, in words for an operator.
#[must_use]
pub const fn meaning(aadsts: u32) -> Option<&'static str> {
    Some(match aadsts {
        53003 => {
            "a Conditional Access policy blocks the device code flow (AADSTS53003): except this application from the \
             policy on authentication flows"
        }
        530_033 | 530_002 | 53000 | 50097 => {
            "a Conditional Access policy wants a compliant or known device, which the device code flow cannot show: \
             except this application from that policy"
        }
        7_000_218 => {
            "Entra takes this application for one with a secret (AADSTS7000218): set `Allow public client flows` to \
             yes, or configure `client_secret`"
        }
        7_000_215 | 7_000_222 => "the client secret is wrong or has expired: make a new one, and set `client_secret`",
        700_016 => "Entra does not know `client_id` in this tenant (AADSTS700016): check both",
        90002 => "Entra does not know the tenant in `issuer` (AADSTS90002)",
        65001 => "nobody has consented to this application (AADSTS65001): an administrator grants it in Entra",
        50105 => "the person is not assigned to this application in Entra (AADSTS50105)",
        50057 => "the person's account is disabled (AADSTS50057)",
        50076 | 50078 | 50079 | 70043 => "Entra wants the person to sign in again, with a second factor if asked",
        50196 => "Entra slows this application down (AADSTS50196): too many sign-ins in a short time",
        70016 => "the person has not answered yet (AADSTS70016)",
        70018 => "Entra does not know the code (AADSTS70018)",
        70019 => "the code has expired (AADSTS70019)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entra_number_says_more_than_the_code() {
        let check = |preset, code: &str, entra, expected: &str| {
            let text = refused(preset, code, entra);
            assert!(text.contains(expected), "{code} {entra:?}: {text}");
        };
        check(Preset::Entra, "invalid_client", Some(7_000_218), "Allow public client flows");
        check(Preset::Entra, "access_denied", Some(53003), "Conditional Access");
        check(Preset::Entra, "invalid_grant", Some(530_033), "compliant");
        check(Preset::Entra, "unauthorized_client", Some(1), "Allow public client flows");
        check(Preset::Okta, "unauthorized_client", None, "access policy rule");
        check(Preset::Google, "invalid_scope", None, "openid");
        check(Preset::Generic, "something_new", None, "log");
    }

    #[test]
    fn entra_is_keyed_by_tenant_and_object_and_google_wants_verified_addresses() {
        assert_eq!(defaults(Preset::Entra).subject_claim, ["tid", "oid"]);
        assert_eq!(defaults(Preset::Entra).login_claim, "preferred_username");
        for preset in [Preset::Okta, Preset::Entra, Preset::Auth0, Preset::Keycloak, Preset::Generic] {
            assert!(!defaults(preset).require_verified_email);
            assert!(defaults(preset).scopes.contains(&"openid"));
        }
        assert!(defaults(Preset::Google).require_verified_email);
    }
}
