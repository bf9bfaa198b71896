//! The first words of each statement of a text, and where its strings are.
//!
//! Promises: what is kept has a bound, whatever the length of the text; what cannot be lexed with certainty, as its
//! meaning depends on settings or it does not end, is said to be so.
//! Deliberately not here: what the words mean.
//!
//! Source: PostgreSQL documentation, "Lexical Structure".

use super::{Mentions, is_inside};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// An identifier or keyword without quotes, in lower case.
    Bare(Vec<u8>),
    /// An identifier in double quotes.
    Quoted(Vec<u8>),
    /// Anything else.
    Other,
}

/// How many words of a statement are kept.
const HEAD_WORDS: usize = 4;

/// What is kept of one statement, whatever its length.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) head: Vec<Word>,
    /// Whether it has the words WITH HOLD.
    pub(super) hold: bool,
    after_with: bool,
}

impl Statement {
    fn push(&mut self, word: Word) {
        let bare: &[u8] = if let Word::Bare(bare) = &word { bare } else { b"" };
        self.hold |= self.after_with && bare == b"hold";
        self.after_with = bare == b"with";
        if self.head.len() < HEAD_WORDS {
            self.head.push(word);
        }
    }
}

/// The statements of a text, as words; `None` in the place of what cannot be lexed with certainty.
pub(super) struct Statements<'a> {
    rest: &'a [u8],
    done: bool,
    /// What stands in the strings so far.
    pub(super) quoted: Mentions,
}

impl<'a> Statements<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, done: false, quoted: Mentions::NONE }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Skips past `end`; none when it does not come.
    fn skip_past(&mut self, end: &[u8]) -> Option<()> {
        let at = memchr::memmem::find(self.rest, end)?;
        self.advance(at + end.len());
        Some(())
    }

    /// A `/* … */` comment; they nest.
    fn comment(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with(b"/*") {
                depth += 1;
                self.advance(2);
            } else if self.rest.starts_with(b"*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return Some(());
                }
            } else if self.rest.is_empty() {
                return None;
            } else {
                self.advance(1);
            }
        }
    }

    /// A string; none when it does not end, or has a backslash (what that means depends on settings).
    fn string(&mut self) -> Option<()> {
        self.advance(1);
        let inner = self.rest;
        loop {
            let at = memchr::memchr2(b'\'', b'\\', self.rest)?;
            if self.rest.get(at) == Some(&b'\\') {
                return None;
            }
            self.advance(at + 1);
            if self.rest.first() != Some(&b'\'') {
                break;
            }
            self.advance(1);
        }
        let bytes = inner.len() - self.rest.len();
        self.remember(inner.get(..bytes));
        Some(())
    }

    /// An identifier in double quotes, which are doubled inside; none when it does not end.
    fn quoted_name(&mut self) -> Option<Vec<u8>> {
        self.advance(1);
        let mut name = Vec::new();
        loop {
            let at = memchr::memchr(b'"', self.rest)?;
            name.extend_from_slice(self.rest.get(..at)?);
            self.advance(at + 1);
            if self.rest.first() != Some(&b'"') {
                return Some(name);
            }
            name.push(b'"');
            self.advance(1);
        }
    }

    fn remember(&mut self, quoted: Option<&[u8]>) {
        self.quoted = self.quoted.and(Mentions::in_text(quoted.unwrap_or_default()));
    }

    /// A `$tag$ … $tag$` string; a `$` that starts none is passed over. None when it does not end, or when its tag is not
    /// ASCII: in some encodings of clients a letter may end with a byte that is no letter here, and a tag with it.
    fn dollar_quoted(&mut self) -> Option<()> {
        let inner = self.rest.get(1..).unwrap_or_default();
        let tag = inner.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        if inner.get(tag).is_some_and(|next| *next >= 0x80) {
            return None;
        }
        let parameter = inner.first().is_some_and(u8::is_ascii_digit);
        if parameter || inner.get(tag) != Some(&b'$') {
            self.advance(1);
            return Some(());
        }
        let delimiter = self.rest.get(..tag + 2)?;
        self.advance(tag + 2);
        let inner = self.rest;
        self.skip_past(delimiter)?;
        self.remember(inner.get(..inner.len() - self.rest.len()));
        Some(())
    }

    /// An identifier or keyword; none for `U&"…"` and `E'…'`, whose escapes we do not read, and where a sign follows that
    /// may be the second half of a letter in some encodings of clients (SJIS, BIG5, GBK): then the word goes on after it.
    fn bare(&mut self) -> Option<Word> {
        let bytes = self.rest.iter().take_while(|byte| is_inside(**byte)).count();
        let word = self.rest.get(..bytes)?.to_ascii_lowercase();
        self.advance(bytes);
        let escapes = match (word.as_slice(), self.rest.first()) {
            (b"e", Some(b'\'')) => true,
            (b"u", Some(b'&')) => matches!(self.rest.get(1), Some(b'\'' | b'"')),
            _ => false,
        };
        let goes_on = word.last().is_some_and(|byte| *byte >= 0x80) && matches!(self.rest.first(), Some(0x40..=0x7e));
        if escapes || goes_on { None } else { Some(Word::Bare(word)) }
    }

    fn statement(&mut self) -> Option<Statement> {
        let mut statement = Statement::default();
        // Inside of brackets a semicolon ends no statement: CREATE RULE … DO ALSO (…; …).
        let mut depth = 0_usize;
        loop {
            let word = match self.rest {
                [] => {
                    self.done = true;
                    return Some(statement);
                }
                [b';', ..] if depth == 0 => {
                    self.advance(1);
                    return Some(statement);
                }
                [b'-', b'-', ..] => {
                    let line = memchr::memchr2(b'\n', b'\r', self.rest);
                    self.advance(line.unwrap_or(self.rest.len()));
                    continue;
                }
                [b'/', b'*', ..] => {
                    self.comment()?;
                    continue;
                }
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => {
                    self.advance(1);
                    continue;
                }
                [b'\'', ..] => {
                    self.string()?;
                    Word::Other
                }
                [b'"', ..] => Word::Quoted(self.quoted_name()?),
                [b'$', ..] => {
                    self.dollar_quoted()?;
                    Word::Other
                }
                [byte, ..] if byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80 => self.bare()?,
                [byte, ..] => {
                    match byte {
                        b'(' => depth += 1,
                        b')' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    self.advance(1);
                    Word::Other
                }
            };
            statement.push(word);
        }
    }
}

impl Iterator for Statements<'_> {
    type Item = Option<Statement>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let statement = self.statement();
        self.done |= statement.is_none();
        Some(statement)
    }
}
