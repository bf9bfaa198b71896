use super::*;

fn name(text: &str) -> Rc<[u8]> {
    Rc::from(text.as_bytes())
}

fn changes(text: &[u8]) -> Vec<Change> {
    TextFacts::of(text).changes.into_iter().map(|(_, change)| change).collect()
}

#[test]
fn changes_that_stand_at_the_top_are_read() {
    let check = |text: &str, expected: &[Change]| {
        let facts = TextFacts::of(text.as_bytes());
        assert_eq!(changes(text.as_bytes()), expected, "{text}");
        assert!(!facts.hidden.any(), "{text}");
    };
    check("prepare s as select 1", &[Change::Prepare(name("s"))]);
    check("PREPARE \"S s\"\"x\" (int) AS SELECT $1", &[Change::Prepare(name("S s\"x"))]);
    check("/* a /* b */ */ Prepare Foo as select '';", &[Change::Prepare(name("foo"))]);
    check("prepare transaction 'x'", &[]);
    check("prepare transaction as select 1", &[Change::Prepare(name("transaction"))]);
    check("prepare transaction (int) as select 1", &[Change::Prepare(name("transaction"))]);
    check("deallocate s", &[Change::Deallocate(name("s"))]);
    check("deallocate prepare", &[Change::Deallocate(name("prepare"))]);
    check("deallocate prepare s; deallocate all", &[Change::Deallocate(name("s")), Change::DeallocateAll]);
    check("deallocate \"all\"", &[Change::Deallocate(name("all"))]);
    check("discard all", &[Change::DiscardAll]);
    check("discard temp", &[]);
    check("begin; declare c cursor for select 1", &[Change::Declare { name: name("c"), hold: false }]);
    check("declare c cursor with hold for select 1", &[Change::Declare { name: name("c"), hold: true }]);
    check("close c", &[Change::CloseCursor(name("c"))]);
    check("close all", &[Change::CloseAllCursors]);
    check("select 1", &[]);
    check(&format!("prepare {} as select 1", "n".repeat(80)), &[Change::Prepare(name(&"n".repeat(63)))]);
    check("--x\nprepare s as select 1--; deallocate t", &[Change::Prepare(name("s"))]);
    check("select $a$ ; prepar $a$; deallocate s", &[Change::Deallocate(name("s"))]);
    check("select $1;deallocate s", &[Change::Deallocate(name("s"))]);
    check("create rule r as on insert to t do also (select 1; select 2); close c", &[Change::CloseCursor(name("c"))]);
}

#[test]
fn a_change_knows_how_many_statements_stand_before_it() {
    let check = |text: &str, expected: &[usize]| {
        let at: Vec<usize> = TextFacts::of(text.as_bytes()).changes.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, expected, "{text}");
    };
    check("deallocate s", &[0]);
    check(";; /* x */ ; deallocate s;;; close c;", &[0, 1]);
    check("select ';'; select (1); deallocate s", &[2]);
}

#[test]
fn more_changes_than_anybody_writes_are_not_kept() {
    let facts = TextFacts::of("close a;".repeat(CHANGES_MAX + 1).as_bytes());
    assert_eq!(facts, TextFacts::unknown());
    let facts = TextFacts::of("close a;".repeat(CHANGES_MAX).as_bytes());
    assert_eq!((facts.changes.len(), facts.statements), (CHANGES_MAX, CHANGES_MAX));
    // In a Parse there is one statement.
    assert_eq!(TextFacts::of(b"close a; close b").of_one_statement(), TextFacts::unknown());
    assert_eq!(TextFacts::of(b"select 1; close b").of_one_statement(), TextFacts::unknown());
    assert_eq!(TextFacts::of(b"; close b;").of_one_statement().changes.len(), 1);
}

#[test]
fn words_that_may_be_run_as_code_are_hidden_changes() {
    let check = |text: &str, statements: bool, portals: bool| {
        let facts = TextFacts::of(text.as_bytes());
        assert_eq!((facts.hidden.statements, facts.hidden.portals), (statements, portals), "{text}");
    };
    check("do $$ begin execute 'pre' || 'pare s as select 1'; end $$", true, true);
    check("DO language plpgsql $x$ begin end $x$", true, true);
    check("do\u{b}$$ begin end $$", true, true);
    check("select f($$deallocate s$$), g($a$close c$a$)", true, true);
    // In SJIS one letter may end with the byte of a backslash: then all of this is one string.
    check("select $\u{ff73}$ ;prepare s as select 2 $\u{ff73}$", true, false);
    check("select 1 as \u{ff73}@$a$; select $a$ ; prepare s as select 2; select $a$", true, false);
    check("select 1; do/**/'begin end'", true, true);
    check("insert into t values (1) on conflict do nothing", false, false);
    check("insert into t values (E'\\n') on conflict (a) do update set a = 1", false, false);
    check("create function f() returns int as $x$ declare i int; begin end $x$", false, true);
    check("select E'\\x' || 'deallocate s'", true, false);
    check("select '\\' || ' prepare s'", true, false);
    check("select f('deallocate s')", true, false);
    check("prepare s as select 1; select 'prepare'", true, false);
    check("select 'unfinished prepare", true, false);
    check("select 1 /* prepare", true, false);
    check("select U&\"prepare\"", true, false);
    // The server folds and cuts these by rules of its encoding.
    check("deallocate \u{c9}", true, false);
    check("close \"\u{c9}\"", false, true);
    // Words that are not run.
    check("select prepared, closed_at, close, discard from t /* deallocate */ -- declare", false, false);
    check("select * from t where state = 'prepared' or state = 'closed'", false, false);
    check("select 1", false, false);
}

#[test]
fn a_copy_stands_at_the_top_or_where_nobody_can_read() {
    let check = |text: &str, expected: bool| assert_eq!(TextFacts::of(text.as_bytes()).may_copy, expected, "{text}");
    check("COPY t FROM STDIN", true);
    check("/**/cOpY t from stdin", true);
    check("select 1;copy t from stdin", true);
    check("select '\\'; copy t from stdin", true);
    check("select copyright, copy from t", false);
    check("select 'copy t from stdin'", false);
    check("select 1", false);
}

#[test]
fn long_texts_are_read_in_one_go() {
    // Half a million words, strings, brackets and comments: what is kept of them has a bound.
    for piece in ["a ", "'x' ", "(", "$$x$$", "/*/**/*/", "\"a\"", ";", "c d p ", "--\n", "$a"] {
        let text = format!("select 1; {} ;close c", piece.repeat(200_000));
        let facts = TextFacts::of(text.as_bytes());
        assert!(facts.needs_fence() || piece == "(" || piece == "$a", "{piece}");
    }
}
