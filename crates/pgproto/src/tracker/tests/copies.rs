//! COPY within the stream of requests.

use super::*;

/// A COPY that nobody saw coming swallows what was sent behind it: what comes then cannot be told any more.
#[test]
fn a_copy_out_of_nowhere_ends_the_session() {
    check("> query A\n> sync\n< copy : unexpected `CopyInResponse` from the server");
    check("> query execute c\n> sync => wait\n< copy\n> data\n> done\n< complete\n< idle : execute c=ok");
    check("> query UPLOAD_MANIFEST\n> sync => wait\n< copy");
    check("> query start_replication 0/0\n> sync => wait\n< copy");
    check("> query A\n< copy\n> data\n> done\n< complete\n< idle : A=ok");
}

#[test]
fn a_copy_of_a_query_takes_data_and_nothing_else() {
    check(
        "> query copy a from stdin; copy b from stdin
         > data => wait
         > query A => wait
         < copy
         > data
         > flush => drop
         > query A => unexpected `Query` during COPY from the client
         > done
         > data => wait
         < complete
         > data => wait
         < copy
         > data
         > done
         > done => wait
         < complete
         < idle : copy a from stdin; copy b from stdin=ok+ok
         > data => drop
         > done => drop",
    );
    // It fails at once: `cannot copy to view`.
    check(
        "> query copy v from stdin
         < copy
         < error 42809
         > data => drop
         > done => drop
         > query A
         < idle : copy v from stdin=error
         < complete
         < idle : A=ok",
    );
}

#[test]
fn a_copy_of_an_execute_is_followed_by_its_sync() {
    let begin = "> parse - copy t from stdin
         > bind - -
         > execute - => = copy t from stdin flush
         > sync => wait
         < parsed : copy t from stdin=ok
         < bound";
    // Refused before it begins: the Sync counts.
    check(&format!("{begin}\n< error 42P01 : run -=error\n> sync\n< idle"));
    // It begins: the server swallows the Sync, and the client sends another one.
    check(&format!("{begin}\n< copy\n> sync => drop\n> data\n> done\n> sync\n< complete : run -=ok\n< idle"));
    check(&format!("{begin}\n< copy\n> sync => drop\n> data\n> done\n< error 57014 : run -=error\n> sync\n< idle"));
    // It fails in the middle: no second ReadyForQuery.
    check(&format!(
        "{begin}\n< copy\n> sync => drop\n> data\n< error 22P02 : run -=error
         > data => drop\n> done => drop\n> sync\n< idle"
    ));
    // It fails at once, before the server has looked for data: then it does see the Sync.
    check(&format!(
        "{begin}\n< copy\n> sync => drop\n< error 42809 : run -=error
         > query A => wait\n> sync => wait\n! owed\n> query A\n< idle\n< complete\n< idle : A=ok"
    ));
    check(&format!(
        "{begin}\n< copy\n> data\n> sync => drop\n> query A => unexpected `Query` during COPY from the client"
    ));
    // Without a Sync in between the group goes on.
    check(&format!(
        "{begin}\n< copy\n> data\n> done\n> parse - A\n> bind - -\n> execute - => = A\n> sync
         < error : run -=error, A=skipped, run -'=skipped\n< idle"
    ));
}

#[test]
fn a_copy_is_refused_where_it_still_runs() {
    let begin = "> parse - copy t from stdin
         > bind - -
         > execute - => = copy t from stdin flush
         < parsed : copy t from stdin=ok
         < bound
         < copy
         ! mark
         > done";
    check(&format!("{begin}\n> sync\n< error : run -=error\n< idle"));
    let refused = format!("{begin}\n! refuse copy\n> sync\n< error 57014 : refusal run -=error\n< idle");
    check(&refused);
    // It has failed by itself meanwhile: the Sync's errors are its own.
    check(&format!("{begin}\n> sync\n< error 22P02 : run -=error\n! refuse copy\n< error\n< idle"));
}
