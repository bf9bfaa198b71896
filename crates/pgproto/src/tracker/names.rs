//! What a statement's text may do to the names that SQL and the protocol share, and whether it may start a COPY.
//!
//! Promises: top-level PREPARE, DEALLOCATE, DISCARD, DECLARE and CLOSE are recognised; where their words stand in a
//! string (which may be run as code), where a DO block stands, and where the text cannot be read with certainty, the
//! text is said to hide them.
//! Deliberately not here: the grammar. This is a scan for a few words; it errs towards "may".
//!
//! Source: PostgreSQL documentation, "Lexical Structure".

mod words;

use std::rc::Rc;

use words::{Statement, Statements, Word};

use super::by_name::effective;

/// How many changes of names are kept of one text.
pub(super) const CHANGES_MAX: usize = 1024;

/// What a text may do beyond running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFacts {
    /// It may ask the client for COPY data.
    pub(super) may_copy: bool,
    /// What its statements do to names, in order; each with the number of statements before it, or more.
    pub(super) changes: Vec<(usize, Change)>,
    /// How many statements were read, where any of them changes names; or more.
    pub(super) statements: usize,
    /// The code that it may run.
    hidden: Hidden,
    /// It may run SQL's EXECUTE or FETCH, and so whatever has been prepared or declared.
    pub(super) executes: bool,
    /// It may change the encoding in which the server reads what comes after it.
    pub(super) recodes: bool,
    /// It may be a ROLLBACK TO a savepoint, whose tag is that of a ROLLBACK.
    pub(super) goes_back: bool,
}

/// Names that code may change unseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) statements: bool,
    pub(super) portals: bool,
    /// Also when the transaction ends: the query of a cursor WITH HOLD runs then.
    pub(super) at_end: bool,
}

impl Hidden {
    pub(super) const ALL: Self = Self { statements: true, portals: true, at_end: true };

    /// Whether they may change while it runs.
    pub(super) const fn any(self) -> bool {
        self.statements || self.portals
    }
}

/// A change of the names of statements or portals by SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Prepare(Rc<[u8]>),
    Deallocate(Rc<[u8]>),
    DeallocateAll,
    Declare { name: Rc<[u8]>, hold: bool },
    CloseCursor(Rc<[u8]>),
    CloseAllCursors,
    DiscardAll,
}

impl Change {
    /// The tag with which the server says that it has happened.
    pub(super) const fn tag(&self) -> &'static [u8] {
        match self {
            Self::Prepare(_) => b"PREPARE",
            Self::Deallocate(_) => b"DEALLOCATE",
            Self::DeallocateAll => b"DEALLOCATE ALL",
            Self::Declare { .. } => b"DECLARE CURSOR",
            Self::CloseCursor(_) => b"CLOSE CURSOR",
            Self::CloseAllCursors => b"CLOSE CURSOR ALL",
            Self::DiscardAll => b"DISCARD ALL",
        }
    }
}

/// Commands that ask for COPY data besides COPY: EXECUTE may run one that was prepared, and may change names by it; the
/// others are those of replication.
const COPYING: [&str; 3] = ["execute", "start_replication", "upload_manifest"];

/// Commands that EXECUTE may stand in, and those that run the query of a cursor.
const EXECUTING: [&str; 5] = ["execute", "explain", "create", "fetch", "move"];

impl TextFacts {
    /// Reads a text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mentions = Mentions::in_text(text);
        let mut facts = Self::default();
        if mentions == Mentions::default() {
            return facts;
        }
        facts.recodes = mentions.encoding;
        let mut statements = Statements::new(text);
        let mut before = 0;
        for statement in &mut statements {
            let Some(statement) = statement else {
                // Not lexed: anything may be in there.
                facts.may_copy |= mentions.copy;
                facts.goes_back |= mentions.rollback;
                facts.hide(mentions);
                return facts;
            };
            if !statement.head.is_empty() {
                facts.read(&statement, before, mentions);
                before += 1;
            }
            if facts.changes.len() > CHANGES_MAX {
                // What changes more than anybody writes may change anything.
                return Self::unknown();
            }
        }
        facts.statements = before;
        facts.hide(statements.quoted);
        // Where a DO block begins is not read further than its first words: there is no harm in seeing too many.
        facts.hide(Mentions { code: mentions.code, ..Mentions::default() });
        facts
    }

    /// The facts of a text nobody has read: everything may happen.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            may_copy: true,
            changes: Vec::new(),
            statements: 0,
            hidden: Hidden::ALL,
            executes: true,
            recodes: true,
            goes_back: true,
        }
    }

    /// The facts of a text that Parse names. The server takes one statement in it; where several seem to stand, either it
    /// refuses them, or the text was read wrongly and anything may happen. Such facts are kept as long as the name: they are few.
    #[must_use]
    pub(super) fn of_one_statement(mut self) -> Self {
        if self.changes.len() > 1 || (self.statements > 1 && self.changes_names()) {
            return Self::unknown();
        }
        self.changes.shrink_to_fit();
        self
    }

    /// The facts of a statement that this text prepares, or declares a cursor for: queries, which change no names by themselves.
    #[must_use]
    pub(super) fn of_prepared(&self) -> Self {
        Self { hidden: self.hidden, executes: self.executes, recodes: self.recodes, ..Self::default() }
    }

    /// Whether it gives a name to something, so that its text is needed later.
    #[must_use]
    pub const fn changes_names(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether a tag like COMMIT is what it looks like: not what SQL's EXECUTE ran, nor a ROLLBACK TO a savepoint.
    pub(super) const fn may_end_transaction(&self) -> bool {
        !self.executes && !self.goes_back
    }

    pub(super) const fn needs_fence(&self) -> bool {
        self.may_copy || self.recodes || !self.changes.is_empty() || self.hidden.any()
    }

    pub(super) fn hidden(&self) -> Hidden {
        let holds = self.changes.iter().any(|(_, change)| matches!(change, Change::Declare { hold: true, .. }));
        let changes_statements = self.hidden.statements || self.executes;
        // Code may declare such a cursor, too.
        let at_end = if holds { self.hidden.any() || self.executes } else { self.hidden.portals && changes_statements };
        Hidden { at_end, ..self.hidden }
    }

    const fn hide(&mut self, mentions: Mentions) {
        self.hidden.statements |= mentions.statements || mentions.code;
        self.hidden.portals |= mentions.portals || mentions.code;
        self.executes |= mentions.execute;
    }

    fn read(&mut self, statement: &Statement, before: usize, mentions: Mentions) {
        let head = &statement.head;
        let keyword = |at: usize, word: &str| matches!(head.get(at), Some(Word::Bare(bare)) if bare == word.as_bytes());
        let mut is_plain = true;
        let mut name = |at: usize| match head.get(at) {
            Some(Word::Bare(name) | Word::Quoted(name)) => {
                // The server folds and cuts what is not ASCII by rules of its encoding.
                is_plain &= name.is_ascii();
                Some(Rc::from(effective(name)))
            }
            _ => None,
        };
        let mut portals = false;
        let change = if keyword(0, "prepare") {
            // PREPARE TRANSACTION 'x' ends there; a statement may have the name `transaction` all the same.
            if keyword(1, "transaction") && head.len() <= 3 { None } else { name(1).map(Change::Prepare) }
        } else if keyword(0, "deallocate") {
            let at = if keyword(1, "prepare") && head.len() > 2 { 2 } else { 1 };
            if keyword(at, "all") { Some(Change::DeallocateAll) } else { name(at).map(Change::Deallocate) }
        } else if keyword(0, "discard") {
            keyword(1, "all").then_some(Change::DiscardAll)
        } else if keyword(0, "declare") {
            portals = true;
            name(1).map(|name| Change::Declare { name, hold: statement.hold })
        } else if keyword(0, "close") {
            portals = true;
            if keyword(1, "all") { Some(Change::CloseAllCursors) } else { name(1).map(Change::CloseCursor) }
        } else {
            self.may_copy |= keyword(0, "copy") || COPYING.into_iter().any(|word| keyword(0, word));
            self.executes |= mentions.execute && EXECUTING.into_iter().any(|word| keyword(0, word));
            // ROLLBACK [WORK | TRANSACTION] TO
            self.goes_back |= keyword(0, "rollback") && (keyword(1, "to") || keyword(2, "to"));
            return;
        };
        if !is_plain {
            self.hidden.statements |= !portals;
            self.hidden.portals |= portals;
        }
        self.changes.extend(change.map(|change| (before, change)));
    }
}

/// Which words that matter stand in a text, anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mentions {
    copy: bool,
    execute: bool,
    statements: bool,
    portals: bool,
    /// Something that looks like the beginning of a DO block.
    code: bool,
    /// A word by which the client's encoding may be changed.
    encoding: bool,
    rollback: bool,
}

impl Mentions {
    const NONE: Self = Self {
        copy: false,
        execute: false,
        statements: false,
        portals: false,
        code: false,
        encoding: false,
        rollback: false,
    };

    fn in_text(text: &[u8]) -> Self {
        let mut mentions = Self::default();
        let mut rest = text;
        let mut inside = false;
        while let [first, tail @ ..] = rest {
            if !inside {
                mentions.word(rest);
            }
            // What follows a `$` may begin the inside of a string.
            inside = is_inside(*first) && *first != b'$';
            rest = tail;
        }
        mentions
    }

    /// Looks at the word that starts here.
    fn word(&mut self, text: &[u8]) {
        match text.first().map(u8::to_ascii_lowercase) {
            Some(b'e') => {
                let execute = starts(text, b"execute");
                self.copy |= execute;
                self.execute |= execute;
            }
            Some(b's') => self.copy |= starts(text, b"start_replication"),
            Some(b'u') => self.copy |= starts(text, b"upload_manifest"),
            Some(b'c') => {
                self.copy |= starts(text, b"copy");
                self.portals |= starts(text, b"close");
                self.encoding |= starts(text, b"client_encoding");
            }
            Some(b'd') => {
                self.statements |= starts(text, b"deallocate") || starts(text, b"discard");
                self.portals |= starts(text, b"declare");
                self.code |= starts(text, b"do") && starts_code(text.get(2..).unwrap_or_default());
            }
            Some(b'f') => self.execute |= starts(text, b"fetch"),
            Some(b'm') => self.execute |= starts(text, b"move"),
            Some(b'n') => self.encoding |= starts(text, b"names"),
            Some(b'r') => {
                self.encoding |= starts(text, b"reset");
                self.rollback |= starts(text, b"rollback");
            }
            Some(b'p') => self.statements |= starts(text, b"prepare"),
            _ => {}
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            copy: self.copy || other.copy,
            execute: self.execute || other.execute,
            statements: self.statements || other.statements,
            portals: self.portals || other.portals,
            code: self.code || other.code,
            encoding: self.encoding || other.encoding,
            rollback: self.rollback || other.rollback,
        }
    }
}

/// Whether a string or LANGUAGE may begin here, as after the DO of a block; DO NOTHING and the like go on otherwise.
fn starts_code(text: &[u8]) -> bool {
    // The server's lexer takes a vertical tab for a space, too.
    let spaces = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    let text = text.get(spaces..).unwrap_or_default();
    match text {
        [b'$' | b'\'' | b'-' | b'/', ..] | [b'e' | b'E', b'\'', ..] | [b'u' | b'U', b'&', ..] => true,
        _ => starts(text, b"language"),
    }
}

/// Whether a byte goes on with an identifier or keyword.
const fn is_inside(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// Whether the text starts with this word, and the word ends there.
fn starts(text: &[u8], word: &[u8]) -> bool {
    text.split_at_checked(word.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(word) && !rest.first().is_some_and(|next| is_inside(*next))
    })
}

#[cfg(test)]
mod tests;
