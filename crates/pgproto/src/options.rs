//! The start-up parameter `options`: command-line switches for the server process, as one string.
//!
//! Promises: words are split as PostgreSQL's `pg_split_opts` splits them; a setting's name comes out in the one
//! spelling by which it can be compared.
//! Deliberately not here: PostgreSQL's other switches. They are reported as [`Opt::Other`] and must be refused, not
//! passed on: `getopt` lets a setting hide behind them (`-ec role=x`, `-S -crole=x`), by rules that change with versions.

/// One switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opt {
    /// `-c name=value`, `-cname=value` or `--name=value`.
    Setting {
        /// The setting: ASCII lower case, `_` for `-`, because PostgreSQL takes these for the same name.
        name: String,
        /// Its value, escapes undone.
        value: Vec<u8>,
    },
    /// Anything else, as readable text.
    Other(String),
}

/// The switches in the value of `options`, in order; the last of two equal settings counts.
pub fn parse(options: &[u8]) -> Vec<Opt> {
    let mut words = split(options).into_iter();
    let mut opts = Vec::new();
    while let Some(word) = words.next() {
        let opt = match word.as_slice() {
            b"-c" => match words.next() {
                Some(assignment) => setting(&assignment).unwrap_or_else(|| other(&[b"-c ", &*assignment].concat())),
                None => other(&word),
            },
            [b'-', b'c' | b'-', assignment @ ..] => setting(assignment).unwrap_or_else(|| other(&word)),
            _ => other(&word),
        };
        opts.push(opt);
    }
    opts
}

/// Writes settings so that [`parse`] and PostgreSQL read the same ones again.
pub fn join<'a>(settings: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in settings {
        out.extend_from_slice(if out.is_empty() { b"-c " } else { b" -c " });
        for &byte in name.as_bytes().iter().chain(b"=").chain(value) {
            if is_space(byte) || byte == b'\\' {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    out
}

/// Words between spaces; a backslash takes the next byte as it is, and is lost at the end.
fn split(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter().copied();
    while let Some(byte) = bytes.next() {
        if is_space(byte) {
            words.extend(word.take());
        } else if byte == b'\\' {
            word.get_or_insert_default().extend(bytes.next());
        } else {
            word.get_or_insert_default().push(byte);
        }
    }
    words.extend(word);
    words
}

/// C's `isspace`; Rust's own leaves out the vertical tab, behind which a switch could hide.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn setting(assignment: &[u8]) -> Option<Opt> {
    let equals = memchr::memchr(b'=', assignment)?;
    let (name, value) = assignment.split_at_checked(equals)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let name = name.to_ascii_lowercase().replace('-', "_");
    Some(Opt::Setting { name, value: value.get(1..)?.to_vec() })
}

fn other(word: &[u8]) -> Opt {
    Opt::Other(String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests;
