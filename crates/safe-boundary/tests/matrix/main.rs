//! Real clients on real servers: each client does everything on one list through the proxy, each answer is compared,
//! and at the end of each server's run its own log is held against the audit trail.
//!
//! Promises: every pair of client and server once; what a client cannot do stands in a table with its reason, and
//! whatever else is missing, or said beyond the list, is a failure; the page for people says what the tables say.
//! Deliberately not here: what attackers send (`wire`), how sign-ins go (`end_to_end`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on panics"
)]

#[path = "../end_to_end/support/mod.rs"]
#[allow(dead_code, reason = "it is made for the tests of `end_to_end`, and not all of it is needed here")]
mod support;

mod checks;
mod clients;
mod completeness;
mod dump;
mod page;
mod pipelines;
mod program;
mod run;
mod servers;
mod suites;

use servers::Server;

/// What `SB_LARGE` is where the time of a test counts.
const LARGE: usize = 4 << 20;

#[test]
fn every_client_works_on_postgresql_15() {
    run::all_clients(Server::V15, LARGE);
}

#[test]
fn psql_and_a_driver_work_on_postgresql_16() {
    run::all_clients(Server::V16, LARGE);
}

#[test]
fn psql_and_a_driver_work_on_postgresql_17() {
    run::all_clients(Server::V17, LARGE);
}

#[test]
fn psql_and_a_driver_work_on_postgresql_18() {
    run::all_clients(Server::V18, LARGE);
}

#[test]
fn a_client_that_hides_prompts_is_sent_to_the_page_for_keys() {
    run::all_are_refused();
}

#[test]
fn a_database_of_a_hundred_tables_is_dumped_and_restored() {
    dump::dump_and_restore(100);
}

mod long {
    use super::servers::Server;

    #[test]
    fn a_database_of_a_thousand_tables_is_dumped_and_restored() {
        super::dump::dump_and_restore(1000);
    }

    #[test]
    fn the_suite_of_psycopg_2_passes_as_without_the_proxy() {
        super::suites::run("psycopg2");
    }

    #[test]
    fn the_suite_of_asyncpg_passes_as_without_the_proxy() {
        super::suites::run("asyncpg");
    }

    #[test]
    fn the_suite_of_pg8000_passes_as_without_the_proxy() {
        super::suites::run("pg8000");
    }

    #[test]
    fn every_client_works_on_postgresql_15_with_parameters_of_100_mb() {
        super::run::all_clients(Server::V15, 100 << 20);
    }
}
