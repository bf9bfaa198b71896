//! The two spellings of a connection string, `keyword = value` and `postgres://…`, as keyword/value pairs.
//!
//! Promises: a text is read exactly as libpq reads it, or refused; no error shows a value, because it may be a password.
//! Deliberately not here: what the keywords mean.

use super::ConninfoError;

/// Keywords with their values, in the order of the text.
pub(super) type Pairs = Vec<(String, String)>;

/// Reads either spelling.
pub(super) fn read(text: &str) -> Result<Pairs, ConninfoError> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri(rest),
        None => words(text),
    }
}

/// `keyword = value` pairs: single quotes around what has spaces, backslash before what must stand for itself.
fn words(text: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (keyword, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let Some(value) = after.trim_start().strip_prefix('=') else {
            return Err(ConninfoError::NoEquals { at: pairs.len() + 1 });
        };
        let (value, after) = word(value.trim_start(), keyword)?;
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// One value, quoted or not, and the text behind it.
fn word<'a>(text: &'a str, keyword: &str) -> Result<(String, &'a str), ConninfoError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.chars();
    if quoted {
        chars.next();
    }
    loop {
        let before = chars.as_str();
        match chars.next() {
            Some('\'') if quoted => return Ok((value, chars.as_str())),
            None if quoted => return Err(ConninfoError::OpenQuote { keyword: keyword.to_owned() }),
            None => return Ok((value, "")),
            Some(c) if !quoted && c.is_ascii_whitespace() => return Ok((value, before)),
            // A backslash at the very end stands for nothing, as in libpq.
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

/// `[//][login@]host[:port][,…][/dbname][?keyword=value&…]`, behind the scheme.
fn uri(text: &str) -> Result<Pairs, ConninfoError> {
    let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
    let (authority, dbname) = place.split_once('/').map_or((place, None), |(left, right)| (left, Some(right)));
    let mut pairs = Pairs::new();
    let hosts = match authority.split_once('@') {
        None => authority,
        Some((login, hosts)) => {
            let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
            pairs.extend((!user.is_empty()).then(|| ("user".to_owned(), String::new())));
            pairs.extend(password.map(|_| ("password".to_owned(), String::new())));
            hosts
        }
    };
    uri_hosts(hosts, &mut pairs)?;
    if let Some(dbname) = dbname.filter(|name| !name.is_empty()) {
        pairs.push(("dbname".to_owned(), decode(dbname)?));
    }
    for part in query.into_iter().flat_map(|query| query.split('&')) {
        let Some((keyword, value)) = part.split_once('=') else {
            return Err(ConninfoError::NoEquals { at: pairs.len() + 1 });
        };
        let (keyword, value) = (decode(keyword)?, decode(value)?);
        // The one foreign spelling that libpq accepts: JDBC's.
        pairs.push(if keyword == "ssl" && value == "true" {
            ("sslmode".to_owned(), "require".to_owned())
        } else {
            (keyword, value)
        });
    }
    Ok(pairs)
}

/// The host list of a URI; IPv6 addresses stand in brackets.
fn uri_hosts(text: &str, pairs: &mut Pairs) -> Result<(), ConninfoError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let (host, port) = match part.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(ConninfoError::OpenBracket)?;
                (host, after.strip_prefix(':').or(after.is_empty().then_some("")).ok_or(ConninfoError::OpenBracket)?)
            }
            None => part.split_once(':').unwrap_or((part, "")),
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        pairs.push(("host".to_owned(), hosts.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

/// Percent-decoding; `+` stands for itself.
fn decode(text: &str) -> Result<String, ConninfoError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit =
        |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                return Err(ConninfoError::Percent);
            };
            match (high << 4) | low {
                0 => return Err(ConninfoError::Percent),
                byte => byte,
            }
        } else {
            byte
        });
    }
    String::from_utf8(decoded).map_err(|_| ConninfoError::Percent)
}
