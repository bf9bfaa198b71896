//! The page of all metrics: names, help and numbers, in the order of `docs/metrics.md`.
//!
//! Promises: a name, once published, keeps its meaning; each has HELP and TYPE; `docs/metrics.md` says the same
//! (a test compares them).
//! Deliberately not here: counting (`mod.rs`), and the form of the text (`text.rs`).

use std::sync::PoisonError;

use super::count::{Counts, Labels};
use super::text::{Family, Format, Label, Page};
use super::{Counter, Database, Endpoint, Lane, LoginOutcome, Metrics, Setup, process};
use crate::trail::journal::Status;

/// What is known only at the moment of the scrape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// How the journal is.
    pub(super) journal: Status,
    /// Batches that wait to be written.
    pub(super) queued: usize,
    /// Whether `/readyz` says yes.
    pub(super) is_ready: bool,
}

const NANOSECONDS: f64 = 1e-9;
const BASIS_POINTS: f64 = 10_000.0;

impl Metrics {
    /// All metrics as text.
    pub(super) fn page(&self, format: Format, moment: Moment) -> String {
        let mut page = Page::new(format);
        let setup = self.setup.get();
        let databases = setup.map_or(&[][..], |setup| &setup.databases);
        let mut build = page.gauge("safe_boundary_build_info", "Always 1; the version is the label.");
        build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.gauge("safe_boundary_ready", "Whether /readyz says yes.").is(u8::from(moment.is_ready));
        self.connections(&mut page, setup);
        self.logins(&mut page);
        sessions(&mut page, databases);
        self.relay_totals(&mut page);
        self.journal(&mut page, moment);
        upstreams(&mut page, databases);
        self.provider(&mut page);
        self.certificate_ends(&mut page);
        page.counter("safe_boundary_panics_total", "Internal errors; each ended one session.").is(self.panics.read());
        process::write(&mut page, setup.map(|setup| super::seconds(setup.started)));
        page.finish()
    }

    fn connections(&self, page: &mut Page, setup: Option<&Setup>) {
        let connections = &self.connections;
        page.gauge("safe_boundary_connections", "Connections of clients that are open.").is(connections.now());
        page.counter("safe_boundary_connections_opened_total", "Connections of clients that were accepted.")
            .is(connections.begun());
        let mut closed =
            page.counter("safe_boundary_connections_closed_total", "Connections of clients that ended, by outcome.");
        closed.counts(&[], connections.ended());
        let mut refusals = page.counter(
            "safe_boundary_refusals_total",
            "Clients that were told why they get no session, by reason and SQLSTATE.",
        );
        refusals.counts(&[], &self.refusals);
        let mut limits = page.gauge("safe_boundary_limit", "What the configuration allows at most, by what it limits.");
        for (of, limit) in setup.iter().flat_map(|setup| setup.limits) {
            limits.sample(&[("of", of)], limit);
        }
        let mut cancels = page.counter("safe_boundary_cancels_total", "Cancel requests, by outcome.");
        cancels.counts(&[], &self.cancels);
    }

    fn logins(&self, page: &mut Page) {
        page.gauge("safe_boundary_pending_logins", "Sign-ins that are under way.").is(self.logins.now());
        let mut logins = page.counter("safe_boundary_logins_total", "Sign-ins that ended, by outcome.");
        logins.counts(&[], self.logins.ended());
        let mut waits = page.histogram(
            "safe_boundary_login_wait_seconds",
            "Time from the request for a code to the end of the sign-in, by outcome.",
        );
        for (values, histogram) in LoginOutcome::VALUES.iter().zip(&self.login_wait) {
            waits.buckets(&labelled(LoginOutcome::KEYS, values), histogram, NANOSECONDS);
        }
    }

    fn relay_totals(&self, page: &mut Page) {
        let total = |count: fn(&Lane) -> &Counter| self.lanes.iter().map(|lane| count(lane).read()).sum::<u64>();
        let mut bytes = page.counter("safe_boundary_relayed_bytes_total", "Bytes that sessions carried, by direction.");
        bytes.sample(&[("direction", "to_server")], total(|lane| &lane.bytes_up));
        bytes.sample(&[("direction", "to_client")], total(|lane| &lane.bytes_down));
        page.counter(
            "safe_boundary_statements_recorded_total",
            "Records of statements (Query, Parse, lone Bind, Execute, call by number, end of a COPY) that were durable before these went up.",
        )
        .is(total(|lane| &lane.statements));
        page.counter(
            "safe_boundary_statements_refused_total",
            "Statements, counted in the same way, that were refused because they could not be recorded.",
        )
        .is(total(|lane| &lane.statements_refused));
    }

    fn journal(&self, page: &mut Page, moment: Moment) {
        let journal = &self.journal;
        let mut status = page.gauge("safe_boundary_journal_status", "1 for how the journal is, 0 for how it is not.");
        for (name, is) in [("working", Status::Working), ("full", Status::Full), ("stopped", Status::Stopped)] {
            status.sample(&[("status", name)], u8::from(moment.journal == is));
        }
        page.gauge("safe_boundary_journal_queue_batches", "Batches of records that wait to be written.")
            .is(moment.queued);
        page.histogram(
            "safe_boundary_journal_append_seconds",
            "Time from handing records over to their being durable.",
        )
        .buckets(&[], &journal.append, NANOSECONDS);
        page.histogram("safe_boundary_journal_sync_seconds", "Time to make what was written to the journal durable.")
            .buckets(&[], &journal.sync, NANOSECONDS);
        page.histogram("safe_boundary_journal_batch_records", "Records that one sync made durable.").buckets(
            &[],
            &journal.batch,
            1.0,
        );
        page.counter("safe_boundary_journal_records_total", "Records written, of all kinds.")
            .is(journal.records.read());
        page.counter("safe_boundary_journal_written_bytes_total", "Bytes written to the journal, blobs not included.")
            .is(journal.bytes.read());
        let (size, free) = (journal.disk_size.read(), journal.disk_free.read());
        page.gauge("safe_boundary_journal_disk_size_bytes", "Size of the file system of the audit folder.").is(size);
        page.gauge("safe_boundary_journal_disk_free_bytes", "Room on it that the proxy may use.").is(free);
        page.gauge("safe_boundary_journal_disk_used_ratio", "How full it is, from 0 to 1, as df counts.")
            .is(ratio(journal.disk_used.read(), free));
    }

    fn provider(&self, page: &mut Page) {
        let mut requests = page
            .counter("safe_boundary_idp_requests_total", "Requests to the identity provider, by endpoint and outcome.");
        for (values, (_, outcomes)) in Endpoint::VALUES.iter().zip(&self.idp.requests) {
            requests.counts(&labelled(Endpoint::KEYS, values), outcomes);
        }
        let mut times = page.histogram("safe_boundary_idp_request_seconds", "Time of each of them, by endpoint.");
        for (values, (time, _)) in Endpoint::VALUES.iter().zip(&self.idp.requests) {
            times.buckets(&labelled(Endpoint::KEYS, values), time, NANOSECONDS);
        }
        let keys = page.gauge(
            "safe_boundary_idp_keys_fetched_timestamp_seconds",
            "When the identity provider's signing keys were last fetched; absent before the first time.",
        );
        if self.idp.keys_fetched.read() > 0 {
            keys.is(self.idp.keys_fetched.read());
        }
    }

    fn certificate_ends(&self, page: &mut Page) {
        let mut ends = page.gauge(
            "safe_boundary_certificate_end_timestamp_seconds",
            "When a certificate ends, in seconds since 1970, by what it is used as.",
        );
        if self.server_certificate_end.read() > 0 {
            let server = [("used_as", "server"), ("database", ""), ("number", "1")];
            ends.sample(&server, self.server_certificate_end.read());
        }
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for certificate in certificates {
            let number = certificate.number.to_string();
            let labels = [("used_as", certificate.used_as), ("database", &certificate.database), ("number", &number)];
            ends.sample(&labels, certificate.end);
        }
    }
}

fn sessions(page: &mut Page, databases: &[Database]) {
    let mut now = page.gauge("safe_boundary_sessions", "Sessions that are relayed now, by database.");
    for database in databases {
        now.sample(&[("database", &database.name)], database.sessions.now());
    }
    let mut opened = page.counter("safe_boundary_sessions_opened_total", "Sessions that began, by database.");
    for database in databases {
        opened.sample(&[("database", &database.name)], database.sessions.begun());
    }
    let mut ended = page.counter("safe_boundary_sessions_ended_total", "Sessions that ended, by database and reason.");
    for database in databases {
        ended.counts(&[("database", &database.name)], database.sessions.ended());
    }
}

fn upstreams(page: &mut Page, databases: &[Database]) {
    let mut connects = page.histogram(
        "safe_boundary_upstream_connect_seconds",
        "Time to a session in the database that waits for its first command, by database.",
    );
    for database in databases {
        connects.buckets(&[("database", &database.name)], &database.connect, NANOSECONDS);
    }
    let mut failures = page.counter(
        "safe_boundary_upstream_failures_total",
        "Sessions in the database that could not be had, by database and reason.",
    );
    for database in databases {
        failures.counts(&[("database", &database.name)], &database.failures);
    }
}

impl Family<'_> {
    /// A sample for each value, all of them from the beginning: what appears only with its first event has no rate.
    fn counts<L: Labels>(&mut self, before: &[Label<'_>], counts: &Counts<L>) {
        for (values, count) in counts.read() {
            let labels: Vec<_> = before.iter().copied().chain(labelled(L::KEYS, values)).collect();
            self.sample(&labels, count);
        }
    }
}

fn labelled(keys: &[&'static str], values: &[&'static str]) -> Vec<Label<'static>> {
    keys.iter().copied().zip(values.iter().copied()).collect()
}

/// `part / (part + rest)`, to four digits.
fn ratio(part: u64, rest: u64) -> f64 {
    let whole = part.saturating_add(rest).max(1);
    let points = u128::from(part).saturating_mul(10_000) / u128::from(whole);
    u32::try_from(points).map_or(1.0, |points| f64::from(points) / BASIS_POINTS)
}

#[cfg(test)]
mod tests;
