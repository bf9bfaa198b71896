//! The values of labels: how things end, in classes.
//!
//! Promises: every reason that the program knows has a class, and for almost all of them the compiler sees to it. The SQLSTATE of a refusal is the one that the client is told.
//! Deliberately not here: texts. What a server or an identity provider says is never a label.

use pgproto::sqlstate::SqlState;

use super::count::{Labels, labels};
use crate::idp::{self, Endpoint};
use crate::proxy::login::Stop;
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::{Drain, Ended};
use crate::proxy::request::RequestError;
use crate::proxy::startup;
use crate::proxy::upstream::{self, tls};

labels! {
    /// How a connection of a client ended.
    pub ConnectionEnd("outcome") {
        Lost "internal", Session "session", Refused "refused", Gone "gone", Cancel "cancel", Closed "closed",
        Silent "silent", Broken "broken", NotPostgres "not_postgres", Draining "draining",
        BeyondLimits "beyond_limits",
    }
}

impl From<&startup::Error> for ConnectionEnd {
    fn from(error: &startup::Error) -> Self {
        use startup::Error;
        match error {
            Error::Deadline => Self::Silent,
            Error::Closed => Self::Closed,
            Error::Io(_) => Self::Broken,
            Error::Early | Error::Alpn | Error::Twice => Self::NotPostgres,
            Error::Packet(..) => Self::Refused,
        }
    }
}

labels! {
    /// How a session ended.
    pub SessionEnd("reason") {
        Lost "internal", Goodbye "client_closed", ClientGone "client_gone", Violation "protocol_violation",
        ServerClosed "server_closed", ServerLost "server_lost", Journal "journal_stopped", MaxAge "max_age",
        Draining "draining",
    }
}

impl From<&Ended> for SessionEnd {
    fn from(ended: &Ended) -> Self {
        match ended {
            Ended::Goodbye => Self::Goodbye,
            Ended::ClientGone | Ended::Vanished => Self::ClientGone,
            Ended::Violation(_) => Self::Violation,
            Ended::ServerClosed => Self::ServerClosed,
            Ended::ServerLost(_) => Self::ServerLost,
            Ended::JournalStopped => Self::Journal,
            Ended::Outside(why) if *why == Drain::REASON => Self::Draining,
            Ended::Outside(_) => Self::MaxAge,
        }
    }
}

labels! {
    /// How a sign-in ended.
    pub LoginOutcome("outcome") {
        Abandoned "abandoned", Approved "approved", Denied "denied", Expired "expired", WrongPerson "wrong_person",
        IdpUnreachable "idp_unreachable", IdpUnfit "idp_unfit", Draining "draining", Unrecorded "unrecorded",
    }
}

impl<T> From<&Result<T, Stop>> for LoginOutcome {
    fn from(result: &Result<T, Stop>) -> Self {
        let refusal = match result {
            Ok(_) => return Self::Approved,
            Err(Stop::Gone) => return Self::Abandoned,
            Err(Stop::Refused(refusal)) => refusal,
        };
        match refusal {
            Refusal::SignInExpired => Self::Expired,
            Refusal::SignInRefused => Self::Denied,
            Refusal::AnotherPerson { .. } => Self::WrongPerson,
            Refusal::IdpUnreachable => Self::IdpUnreachable,
            Refusal::IdpUnfit(_) => Self::IdpUnfit,
            Refusal::Ended(_) => Self::Draining,
            Refusal::Journal => Self::Unrecorded,
            // It spoke while it was waited for; nothing else is said of a sign-in.
            _ => Self::Abandoned,
        }
    }
}

labels! {
    /// What became of a cancel request.
    pub CancelOutcome("outcome") {
        Failed "failed", Sent "sent", Unknown "unknown_secret", Ignored "too_many_guesses", Unrecorded "unrecorded",
    }
}

labels! {
    /// How the identity provider answered a request.
    pub IdpOutcome("outcome") {
        Unusable "unusable", Answered "answered", Refused "refused", Busy "busy", Slow "timeout", Unreachable "unreachable",
    }
}

impl From<u16> for IdpOutcome {
    /// By HTTP status. 400 is among the refusals, and "not yet" among these: RFC 8628 §3.5.
    fn from(status: u16) -> Self {
        match status {
            200..=299 => Self::Answered,
            408 | 429 | 500..=599 => Self::Busy,
            _ => Self::Refused,
        }
    }
}

impl From<&idp::Error> for IdpOutcome {
    fn from(error: &idp::Error) -> Self {
        match error {
            idp::Error::Slow { .. } => Self::Slow,
            error if error.is_unreachable() => Self::Unreachable,
            _ => Self::Unusable,
        }
    }
}

impl Labels for Endpoint {
    const KEYS: &'static [&'static str] = &["endpoint"];
    const VALUES: &'static [&'static [&'static str]] =
        &[&["discovery"], &["jwks"], &["device_authorization"], &["token"], &["userinfo"]];
    const LOST: Self = Self::Discovery;

    fn place(self) -> usize {
        match self {
            Self::Discovery => 0,
            Self::Keys => 1,
            Self::DeviceAuthorization => 2,
            Self::Token => 3,
            Self::Userinfo => 4,
        }
    }
}

labels! {
    /// Why there was no session upstream.
    pub UpstreamFailure("reason") {
        Lost "internal", Secret "secret", Parameters "parameters", Resolve "resolve", Connect "connect",
        Timeout "timeout", Tls "tls", Certificate "certificate", Protocol "protocol",
        Authentication "authentication", LoginRefused "login_refused", NoDatabase "no_database",
        TooMany "too_many_connections", NotReady "not_ready", NotWanted "not_wanted", Pooler "pooler",
        Refused "refused",
    }
}

impl From<&upstream::Error> for UpstreamFailure {
    fn from(error: &upstream::Error) -> Self {
        use upstream::Error;
        match error.cause() {
            Error::At { .. } | Error::All(_) => Self::Lost,
            Error::Secret { .. } | Error::NoPassword => Self::Secret,
            Error::Parameter { .. } | Error::Encode(_) | Error::StartupParameter(_) => Self::Parameters,
            Error::Resolve(_) => Self::Resolve,
            Error::Connect(_) | Error::Lost(_) => Self::Connect,
            Error::Timeout(_) => Self::Timeout,
            Error::Tls(error) => error.into(),
            Error::Protocol(_) => Self::Protocol,
            Error::WeakAuthentication { .. }
            | Error::UnknownAuthentication { .. }
            | Error::ChannelBinding { .. }
            | Error::ServerUnproven(_) => Self::Authentication,
            Error::LoginRefused(_) => Self::LoginRefused,
            Error::NoDatabase(_) => Self::NoDatabase,
            Error::TooManyConnections(_) => Self::TooMany,
            Error::NotReady(_) => Self::NotReady,
            Error::NotWanted { .. } => Self::NotWanted,
            Error::TransactionPooler | Error::PoolerUnknown(_) => Self::Pooler,
            Error::Refused(_) => Self::Refused,
        }
    }
}

impl From<&tls::Error> for UpstreamFailure {
    fn from(error: &tls::Error) -> Self {
        use tls::Error;
        match error {
            Error::UnknownIssuer
            | Error::WrongName
            | Error::Expired
            | Error::NotYetValid
            | Error::Certificate(_)
            | Error::File { .. }
            | Error::Empty { .. }
            | Error::NoSystemRoots
            | Error::ClientCertificate(_) => Self::Certificate,
            Error::HostName { .. }
            | Error::NotOffered
            | Error::Answer { .. }
            | Error::Injected
            | Error::Handshake(_) => Self::Tls,
        }
    }
}

labels! {
    /// What a client was refused for, and the SQLSTATE it was told.
    pub Refused("reason", "sqlstate") {
        Malformed "malformed" "08P01", TlsRequired "tls_required" "28000", Version "protocol_version" "0A000",
        NoUser "no_user" "28000", Encoding "encoding" "08P01", NameTooLong "name_too_long" "08P01",
        Parameter "parameter" "42501",
        Login "login_name" "28000", Key "session_key" "28P01", CannotPrompt "cannot_prompt" "28000",
        TooManyConnections "too_many_connections" "53300", TooManyLogins "too_many_logins" "53300",
        TooManySessions "too_many_sessions" "53300", SignInExpired "sign_in_expired" "28000",
        SignInRefused "sign_in_refused" "28000", AnotherPerson "another_person" "28000",
        IdpUnreachable "idp_unreachable" "08006", IdpUnfit "idp_unfit" "28000",
        UnknownDatabase "unknown_database" "3D000", Denied "denied" "42501", Replication "replication" "42501",
        Upstream "upstream" "08001", UpstreamNoDatabase "upstream" "3D000", UpstreamTooMany "upstream" "53300",
        Journal "journal" "58030", Spoke "spoke_too_early" "08P01", Draining "draining" "57P01",
        Session "in_session" "08P01",
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::TlsRequired => Self::TlsRequired,
            Refusal::Malformed(_) | Refusal::Unannounced(_) => Self::Malformed,
            Refusal::Request(RequestError::Version(..)) => Self::Version,
            Refusal::Request(RequestError::NoUser) => Self::NoUser,
            Refusal::Request(RequestError::Encoding(_)) => Self::Encoding,
            Refusal::Request(RequestError::TooLong { .. }) => Self::NameTooLong,
            Refusal::Request(RequestError::Forbidden(_) | RequestError::Option(_)) => Self::Parameter,
            Refusal::Login(..) => Self::Login,
            Refusal::Key(_) => Self::Key,
            Refusal::CannotPrompt { .. } => Self::CannotPrompt,
            Refusal::TooMany("sign-ins under way" | "sign-ins that came to nothing") => Self::TooManyLogins,
            Refusal::TooManySessions { .. } => Self::TooManySessions,
            Refusal::TooMany(_) => Self::TooManyConnections,
            Refusal::SignInExpired => Self::SignInExpired,
            Refusal::SignInRefused => Self::SignInRefused,
            Refusal::AnotherPerson { .. } => Self::AnotherPerson,
            Refusal::IdpUnreachable => Self::IdpUnreachable,
            Refusal::IdpUnfit(_) => Self::IdpUnfit,
            Refusal::UnknownDatabase(..) => Self::UnknownDatabase,
            Refusal::Denied { .. } => Self::Denied,
            Refusal::Replication(_) => Self::Replication,
            Refusal::Upstream(_, _, SqlState::INVALID_CATALOG_NAME) => Self::UpstreamNoDatabase,
            Refusal::Upstream(_, _, SqlState::TOO_MANY_CONNECTIONS) => Self::UpstreamTooMany,
            Refusal::Upstream(..) => Self::Upstream,
            Refusal::Journal => Self::Journal,
            Refusal::Spoke => Self::Spoke,
            Refusal::Ended(_) => Self::Draining,
            // These are told in a session, which has its own count of ends.
            Refusal::Violation(_) | Refusal::UpstreamLost(_) => Self::Session,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::identity::login::Login;
    use domain::session::ToClient as _;
    use pgproto::startup;

    use super::*;
    use crate::proxy::route::NoRoute;
    use crate::proxy::sign_ins::TooMany;

    #[test]
    fn too_many_sign_ins_are_told_apart_from_connections() {
        for too_many in [TooMany::UnderWay, TooMany::CameToNothing] {
            assert_eq!(Refused::from(&Refusal::TooMany(too_many.what())), Refused::TooManyLogins, "{too_many:?}");
        }
    }

    #[test]
    fn the_sqlstate_of_a_refusal_is_the_one_that_the_client_is_told() {
        let malformed = startup::parse_untagged(&[0, 0, 0, 1]).unwrap_err();
        let login = Login::parse("not a login", None).unwrap_err();
        let text = || "x".to_owned();
        let refusals = [
            Refusal::TlsRequired,
            Refusal::Malformed(malformed),
            Refusal::Request(RequestError::Version(2, 0)),
            Refusal::Request(RequestError::NoUser),
            Refusal::Request(RequestError::Encoding(text())),
            Refusal::Request(RequestError::TooLong { name: "user", bytes: 256 }),
            Refusal::Request(RequestError::Forbidden(text())),
            Refusal::Request(RequestError::Option(text())),
            Refusal::Login(login, None),
            Refusal::Key(text()),
            Refusal::CannotPrompt { login: text(), public_url: text() },
            Refusal::TooMany("connections"),
            Refusal::TooMany(TooMany::UnderWay.what()),
            Refusal::TooMany(TooMany::CameToNothing.what()),
            Refusal::TooManySessions { login: text(), count: 50, limit: 50 },
            Refusal::SignInExpired,
            Refusal::SignInRefused,
            Refusal::AnotherPerson { signed_in_as: text(), asked_for: text() },
            Refusal::IdpUnreachable,
            Refusal::IdpUnfit(text()),
            Refusal::UnknownDatabase(text(), NoRoute::Unknown, Vec::new()),
            Refusal::Replication(text()),
            Refusal::Upstream(text(), "x", SqlState::CONNECTION_UNESTABLISHED),
            Refusal::Upstream(text(), "x", SqlState::INVALID_CATALOG_NAME),
            Refusal::Upstream(text(), "x", SqlState::TOO_MANY_CONNECTIONS),
            Refusal::Journal,
            Refusal::Spoke,
            Refusal::Ended("x"),
        ];
        for refusal in refusals {
            let told = refusal.to_client().sqlstate;
            let [reason, sqlstate] = Refused::VALUES[Refused::from(&refusal).place()] else { panic!("two labels") };
            assert_eq!(*sqlstate, told.as_str(), "{reason}");
        }
    }

    #[test]
    fn a_status_has_a_class() {
        for (status, expected) in [
            (200, IdpOutcome::Answered),
            (400, IdpOutcome::Refused),
            (401, IdpOutcome::Refused),
            (429, IdpOutcome::Busy),
            (503, IdpOutcome::Busy),
        ] {
            assert_eq!(IdpOutcome::from(status), expected, "{status}");
        }
    }
}
