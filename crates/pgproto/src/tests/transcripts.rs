//! Recorded conversations between real clients and PostgreSQL 15, and a few written by hand.
//!
//! A line is direction (`F` or `B`), tag (`-` for an untagged packet), body, and what our views say of it:
//! `F Q "select 1\0" => "select 1"`.

use std::fmt::Write as _;
use std::path::Path;

use super::views;
use crate::frame::{FrameError, backend_header, frontend_header, split};
use crate::tag::{BackendTag, FrontendTag};

struct Line {
    text: String,
    frontend: bool,
    tag: Option<u8>,
    body: Vec<u8>,
}

impl Line {
    fn parse(line: &str) -> Self {
        let (direction, rest) = line.split_once(' ').expect("a direction");
        let (tag, rest) = rest.split_once(' ').expect("a tag");
        let body = unescape(rest.strip_prefix('"').expect("a body"));
        let text = line.split(" =>").next().expect("a line").to_owned();
        Self { text, frontend: direction == "F", tag: (tag != "-").then(|| tag.as_bytes()[0]), body }
    }

    fn raw(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 4).expect("a short line");
        [self.tag.as_slice(), &length.to_be_bytes(), &self.body].concat()
    }
}

/// The bytes up to the closing quote.
fn unescape(text: &str) -> Vec<u8> {
    let (mut out, bytes, mut at) = (Vec::new(), text.as_bytes(), 0);
    loop {
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => return out,
            (b'\\', Some(b'x')) => {
                out.push(
                    text.get(at + 2..at + 4).and_then(|hex| u8::from_str_radix(hex, 16).ok()).expect("two hex digits"),
                );
                at += 4;
            }
            (b'\\', Some(byte)) => {
                out.push(match byte {
                    b'0' => 0,
                    b'n' => b'\n',
                    b't' => b'\t',
                    byte => *byte,
                });
                at += 2;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// The frames in a stream that arrives cut at `cut`.
fn frames(stream: &[u8], cut: usize) -> Vec<(u8, Vec<u8>)> {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in [&stream[..cut], &stream[cut..]] {
        buffer.extend_from_slice(piece);
        let mut rest = buffer.as_slice();
        while let Some((frame, after)) = split(rest).expect("a frame") {
            assert_eq!(frame.raw().len(), frame.header().frame_bytes());
            frames.push((frame.tag(), frame.body().to_vec()));
            rest = after;
        }
        buffer = rest.to_vec();
    }
    assert_eq!(buffer, b"", "the stream ends with a frame");
    frames
}

/// Reads one transcript as a proxy between the two would, and writes it again with what the views say.
fn replay(transcript: &str) -> String {
    let (mut out, mut sasl_begins) = (String::new(), false);
    for line in transcript.lines() {
        if line.starts_with('#') {
            writeln!(out, "{line}").expect("memory");
            continue;
        }
        let line = Line::parse(line);
        let raw = line.raw();
        let said = match line.tag {
            None => {
                for cut in 0..raw.len() {
                    assert_eq!(views::untagged(&raw[..cut]), Ok(None), "{cut} bytes of {}", line.text);
                }
                let (said, consumed) = views::untagged(&raw).expect("well formed").expect("whole");
                assert_eq!(consumed, raw.len());
                said
            }
            Some(byte) if line.frontend => {
                let (tag, header) = frontend_header(&raw).expect("a header").expect("whole");
                assert_eq!((Some(tag), header.frame_bytes()), (FrontendTag::from_byte(byte), raw.len()));
                views::frontend(tag, &line.body, std::mem::take(&mut sasl_begins)).expect("well formed")
            }
            Some(byte) => {
                let (tag, header) = backend_header(&raw).expect("a header").expect("whole");
                assert_eq!((Some(tag), header.frame_bytes()), (BackendTag::from_byte(byte), raw.len()));
                sasl_begins = tag == BackendTag::Authentication && line.body.starts_with(&[0, 0, 0, 10]);
                views::backend(tag, &line.body).expect("well formed")
            }
        };
        writeln!(out, "{}", format!("{} => {said}", line.text).trim_end()).expect("memory");
    }
    out
}

fn transcripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("testdata")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a transcript")))
        .collect();
    found.sort();
    assert!(found.len() >= 11, "all transcripts are there");
    found
}

#[test]
fn every_line_says_what_its_transcript_says() {
    for (name, transcript) in transcripts() {
        let replayed = replay(&transcript);
        for (line, again) in transcript.lines().zip(replayed.lines()) {
            assert_eq!(again, line, "{name}");
        }
    }
}

#[test]
fn any_cut_of_a_conversation_gives_the_same_frames() {
    for (name, transcript) in transcripts() {
        for frontend in [true, false] {
            let lines: Vec<Line> = transcript
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(Line::parse)
                .filter(|line| line.frontend == frontend && line.tag.is_some())
                .collect();
            let stream: Vec<u8> = lines.iter().flat_map(Line::raw).collect();
            let expected: Vec<(u8, Vec<u8>)> =
                lines.into_iter().map(|line| (line.tag.expect("tagged"), line.body)).collect();
            for cut in 0..=stream.len() {
                assert_eq!(frames(&stream, cut), expected, "{name} cut at {cut}");
            }
        }
    }
}

/// A message with one byte missing or one more is never understood, unless its last field is open-ended.
#[test]
fn a_body_that_is_short_or_long_by_one_byte_is_refused() {
    let mut tried = 0;
    for (name, transcript) in transcripts() {
        for line in transcript.lines().filter(|line| line.starts_with('F')).map(Line::parse) {
            let Some(tag) = line.tag.and_then(FrontendTag::from_byte) else { continue };
            if matches!(tag, FrontendTag::CopyData | FrontendTag::Password) {
                continue;
            }
            let long = [line.body.as_slice(), b"x"].concat();
            assert!(views::frontend(tag, &long, false).is_err(), "{name}: {} and a byte", line.text);
            for end in 0..line.body.len() {
                assert!(views::frontend(tag, &line.body[..end], false).is_err(), "{name}: {end} of {}", line.text);
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried} shortened bodies");
}

#[test]
fn the_length_word_is_judged_at_once() {
    let small = |came| Err(FrameError::LengthForTag { tag: FrontendTag::Sync, expected: 10_000, came });
    let bad = |came| Err(FrameError::Length { came });
    for (length, expected) in [
        (0_u32, bad(0)),
        (3, bad(3)),
        (4, Ok(5)),
        (7, Ok(8)),
        (10_000, Ok(10_001)),
        (10_001, small(10_001)),
        (0x3fff_ffff, small(0x3fff_ffff)),
        (0x4000_0003, small(0x4000_0003)),
        (0x4000_0004, bad(0x4000_0004)),
        (0x7fff_ffff, bad(i32::MAX)),
        (0x8000_0000, bad(i32::MIN)),
        (0xffff_ffff, bad(-1)),
    ] {
        let raw = [b"S".as_slice(), &length.to_be_bytes()].concat();
        let came = frontend_header(&raw).map(|header| header.expect("five bytes").1.frame_bytes());
        assert_eq!(came, expected, "{length:#x}");
    }
}

#[test]
fn each_kind_of_message_has_its_own_limit() {
    for (tags, limit) in [(&b"QPBFd"[..], 0x3fff_fffe_u32), (b"CDEHSXcf", 10_000), (b"p", 65_535)] {
        for tag in tags {
            for (length, fits) in [(limit, true), (limit + 1, false)] {
                let raw = [&[*tag], length.to_be_bytes().as_slice()].concat();
                assert_eq!(frontend_header(&raw).is_ok(), fits, "{} {length}", char::from(*tag));
            }
        }
    }
}

#[test]
fn an_unknown_tag_is_refused_before_its_length_is_there() {
    for tag in [b'\0', b'A', b'R', b'x', b'G', 0x16, 0xff] {
        assert_eq!(frontend_header(&[tag]), Err(FrameError::FrontendTag { came: tag }));
    }
    for tag in [b'\0', b'Q', b'B', b'P', b'U', 0xff] {
        assert_eq!(backend_header(&[tag]), Err(FrameError::BackendTag { came: tag }));
    }
    assert_eq!((frontend_header(b""), backend_header(b"Z\0\0\0")), (Ok(None), Ok(None)));
}
