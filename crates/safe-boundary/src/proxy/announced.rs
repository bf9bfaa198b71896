//! The PROXY protocol, versions 1 and 2: the client's address, as a load balancer announces it before the first byte.
//!
//! Promises: not one byte behind the header is read; a header is at most 4 KiB; what is not a header is an error, never
//! a start-up packet.
//! Deliberately not here: whose word is taken (`server.trusted_proxies`), and time limits; the caller has both.
//!
//! Source: haproxy.org, "The PROXY protocol, versions 1 & 2".

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How version 2 begins; no start-up packet and no TLS does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, length.
const HEAD_BYTES: usize = 16;

/// The longest header of version 2 that is read, its extensions included.
const HEADER_BYTES_MAX: usize = 4096;

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Closed before a byte, as health checks do.
    #[error("closed before a PROXY protocol header")]
    Closed,
    /// The client of a trusted proxy speaks for itself.
    #[error("expected a PROXY protocol header from this address, found none")]
    Missing,
    /// A line of version 1 that says nothing.
    #[error("expected a line such as `PROXY TCP4 192.0.2.1 192.0.2.2 50000 5432` of at most {LINE_BYTES_MAX} bytes")]
    Line,
    /// A header of version 2 that says nothing; what is wrong with it.
    #[error("expected a PROXY protocol header of version 2, found {0}")]
    Binary(&'static str),
}

/// Reads a header; none when it announces no address, as for a load balancer's own health checks.
///
/// # Errors
/// [`Error`]: the connection cannot be served.
pub async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Error> {
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(Error::Closed);
    }
    match first {
        [b'P'] => line(&read_line(stream).await?),
        [b'\r'] => {
            let mut head = [0; HEAD_BYTES];
            stream.read_exact(&mut head).await?;
            let (command, body_bytes) = head_of(&head)?;
            let mut body = vec![0; body_bytes];
            stream.read_exact(&mut body).await?;
            client(command, &body)
        }
        _ => Err(Error::Missing),
    }
}

/// The bytes up to the end of the line, and none behind it.
async fn read_line(stream: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let (mut line, mut seen) = (Vec::new(), [0; LINE_BYTES_MAX]);
    while line.len() < LINE_BYTES_MAX {
        let seen = seen.get_mut(line.len()..).unwrap_or_default();
        let here = stream.peek(seen).await?;
        let seen = seen.get(..here).unwrap_or_default();
        let end = seen.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(here, |end| end + 1);
        let from = line.len();
        line.resize(from + taken, 0);
        stream.read_exact(line.get_mut(from..).unwrap_or_default()).await?;
        if end.is_some() {
            return Ok(line);
        }
        if here == 0 {
            return Err(Error::Closed);
        }
    }
    Err(Error::Line)
}

/// A header of version 1, its line end included.
fn line(raw: &[u8]) -> Result<Option<SocketAddr>, Error> {
    let text = std::str::from_utf8(raw).ok().and_then(|text| text.strip_suffix("\r\n")).ok_or(Error::Line)?;
    let words: Vec<_> = text.split(' ').collect();
    let source = match *words.as_slice() {
        // What follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", ref ends @ ..] => source::<Ipv4Addr>(ends),
        ["PROXY", "TCP6", ref ends @ ..] => source::<Ipv6Addr>(ends),
        _ => None,
    };
    source.map(Some).ok_or(Error::Line)
}

/// The first of two addresses and two ports, when all four are what they should be.
fn source<A: FromStr + Into<IpAddr>>(ends: &[&str]) -> Option<SocketAddr> {
    let [source, target, source_port, target_port] = *ends else { return None };
    let (source, _) = (source.parse::<A>().ok()?, target.parse::<A>().ok()?);
    let (port, _) = (port(source_port)?, port(target_port)?);
    Some(SocketAddr::new(source.into(), port))
}

/// Digits alone: no sign, and no zero in front.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

/// What the sender of a header of version 2 wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// To speak for itself.
    Local,
    /// To speak for a client whose addresses have so many bytes; none that we could use.
    Proxy(Family),
}

/// What kind of addresses follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    /// A Unix socket, a datagram, or nothing said: allowed, and no address of a TCP client.
    Other,
}

/// Command, and the number of bytes that follow.
fn head_of(head: &[u8; HEAD_BYTES]) -> Result<(Command, usize), Error> {
    let [signature @ .., version_and_command, family, high, low] = head;
    if *signature != SIGNATURE {
        return Err(Error::Binary("another signature"));
    }
    let command = match version_and_command {
        0x20 => Command::Local,
        0x21 => Command::Proxy(match family {
            0x11 => Family::V4,
            0x21 => Family::V6,
            0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Family::Other,
            _ => return Err(Error::Binary("an unknown address family")),
        }),
        _ => return Err(Error::Binary("another version or an unknown command")),
    };
    let body_bytes = usize::from(u16::from_be_bytes([*high, *low]));
    if body_bytes > HEADER_BYTES_MAX - HEAD_BYTES {
        return Err(Error::Binary("more than 4096 bytes"));
    }
    Ok((command, body_bytes))
}

/// The client's address, from what follows the head; extensions behind the addresses are skipped.
fn client(command: Command, body: &[u8]) -> Result<Option<SocketAddr>, Error> {
    let short = || Error::Binary("addresses that are cut off");
    match command {
        Command::Local | Command::Proxy(Family::Other) => Ok(None),
        Command::Proxy(Family::V4) => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = body.first_chunk::<12>().ok_or_else(short)?;
            Ok(Some(SocketAddr::new([*a, *b, *c, *d].into(), u16::from_be_bytes([*high, *low]))))
        }
        Command::Proxy(Family::V6) => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or_else(short)?;
            let (_, ports) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let [high, low, _, _] = ports.first_chunk::<4>().ok_or_else(short)?;
            Ok(Some(SocketAddr::new((*source).into(), u16::from_be_bytes([*high, *low]))))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is announced, in words, and what is left behind the header.
    async fn read_in_pieces(raw: &[u8], piece: usize) -> (String, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            for piece in raw.chunks(piece) {
                sender.write_all(piece).await.unwrap();
                sender.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(sender);
        };
        let (read, ()) = tokio::join!(read(&mut stream), sending);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        let said = match read {
            Ok(Some(address)) => address.to_string(),
            Ok(None) => "its own".to_owned(),
            Err(Error::Io(error)) => error.kind().to_string(),
            Err(error) => error.to_string().split([' ', ',']).take(6).collect::<Vec<_>>().join(" "),
        };
        (said, rest)
    }

    fn binary(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 0x15, 0x38];

    #[tokio::test]
    async fn an_announced_address_is_read_and_nothing_behind_it() {
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 80, 0, 1]].concat();
        let with_tlvs = [&V4[..], &[0xee, 0, 3, 1, 2, 3], &[0; 200]].concat();
        let largest = [&V4[..], &vec![7; HEADER_BYTES_MAX - HEAD_BYTES - V4.len()]].concat();
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 16));
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 5432\r\n".to_vec(), "192.0.2.1:50000"),
            (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n".to_vec(), "255.255.255.255:65535"),
            (b"PROXY TCP6 2001:db8::1 ::1 80 1\r\n".to_vec(), "[2001:db8::1]:80"),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 80 1\r\n".to_vec(), "[::ffff:192.0.2.1]:80"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "its own"),
            (longest.into_bytes(), "its own"),
            (binary(0x21, 0x11, &V4), "192.0.2.1:50000"),
            (binary(0x21, 0x11, &with_tlvs), "192.0.2.1:50000"),
            (binary(0x21, 0x11, &largest), "192.0.2.1:50000"),
            (binary(0x21, 0x21, &v6), "[2001:db8::1]:80"),
            (binary(0x20, 0x00, b""), "its own"),
            (binary(0x20, 0x11, &V4), "its own"),
            (binary(0x20, 0xff, &[1, 2, 3]), "its own"),
            (binary(0x21, 0x00, &[9; 40]), "its own"),
            (binary(0x21, 0x31, &[b'/'; 216]), "its own"),
        ];
        for (header, expected) in &cases {
            for piece in [1, 7, 5000] {
                // A whole line may follow, and more than a header's worth of bytes.
                let raw = [header.as_slice(), b"\0\0\0\x08\x04\xd2\x16\x2f\r\n", &[b'x'; 300]].concat();
                let (said, rest) = read_in_pieces(&raw, piece).await;
                assert_eq!(said, *expected, "{header:?}");
                assert_eq!(rest, raw[header.len()..], "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_an_error() {
        let (line, binary_2) = ("expected a line such as `PROXY", "expected a PROXY protocol header of");
        let endless = [&b"PROXY UNKNOWN "[..], &[b'f'; LINE_BYTES_MAX - 15], b"\r\n"].concat();
        let mut other_signature = binary(0x21, 0x11, &V4);
        other_signature[4] = b' ';
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"".to_vec(), "closed before a PROXY protocol header"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(), "expected a PROXY protocol header from"),
            (b"\x16\x03\x01".to_vec(), "expected a PROXY protocol header from"),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "expected a PROXY protocol header from"),
            (b"PROXY TCP4 192.0.2.1".to_vec(), "closed before a PROXY protocol header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 5432\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000\r\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 5432 1\r\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.1  192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +5000 5432\r\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 65536\r\n".to_vec(), line),
            (b"PROXY TCP4 192.0.2.01 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXY TCP4 ::1 ::1 50000 5432\r\n".to_vec(), line),
            (b"PROXY TCP6 192.0.2.1 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXY TCP6 fe80::1%eth0 ::1 50000 5432\r\n".to_vec(), line),
            (b"PROXY UDP4 192.0.2.1 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXY tcp4 192.0.2.1 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXY TCP4 \xff 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"PROXYTCP4 192.0.2.1 192.0.2.2 50000 5432\r\n".to_vec(), line),
            (b"P\r\n".to_vec(), line),
            (endless, line),
            (other_signature, binary_2),
            (binary(0x11, 0x11, &V4), binary_2),
            (binary(0x22, 0x11, &V4), binary_2),
            (binary(0x21, 0x41, &V4), binary_2),
            (binary(0x21, 0x13, &V4), binary_2),
            (binary(0x21, 0x11, &V4[..11]), binary_2),
            (binary(0x21, 0x21, &[0; 35]), binary_2),
            (binary(0x21, 0x11, &[0; HEADER_BYTES_MAX - HEAD_BYTES + 1]), binary_2),
            (binary(0x21, 0x11, &V4)[..20].to_vec(), "unexpected end of file"),
        ];
        for (raw, expected) in &cases {
            let (said, _) = read_in_pieces(raw, 5000).await;
            assert!(said.starts_with(expected), "{:?}: {said}", String::from_utf8_lossy(raw));
        }
    }
}
