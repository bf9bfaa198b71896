//! The client's frames: names that clash, texts that change them, in any order; and now and then no frame at all.
//!
//! Promises: but for the wild ones, each frame is one that PostgreSQL takes, at least outside of a COPY.
//! Deliberately not here: what the texts do (`server`).

use arbitrary::Unstructured;
use pgproto::frontend::encode;

/// What is behind the first 63 bytes of a name is not compared.
const LONG: &str = "a_name_that_is_longer_than_the_sixty_three_bytes_that_the_server_";
const NAMES: [&str; 4] = ["", "a", "b", "LONG"];

/// A client, as far as it must be remembered.
#[derive(Default)]
pub(super) struct Client {
    marks: u32,
    has_flooded: bool,
    /// It has sent bytes that are no frames of a client.
    pub(super) is_wild: bool,
}

impl Client {
    /// Says one more thing.
    pub(super) fn frame(&mut self, input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> arbitrary::Result<()> {
        let name = |input: &mut Unstructured<'_>| {
            Ok(match *input.choose(&NAMES)? {
                "LONG" => format!("{LONG}{}", input.int_in_range(0..=2)?),
                name => name.to_owned(),
            })
        };
        let written = match input.int_in_range(0..=23_u8)? {
            0..=2 => encode::query(out, self.texts(input)?.as_bytes()),
            3..=6 => encode::parse(out, name(input)?.as_bytes(), self.text(input)?.as_bytes(), &[]),
            7..=10 => encode::bind(out, name(input)?.as_bytes(), name(input)?.as_bytes()),
            11..=14 => encode::execute(out, name(input)?.as_bytes(), input.int_in_range(0..=2)?),
            15 => {
                let target = if input.arbitrary()? { b'S' } else { b'P' };
                let tag = if input.arbitrary()? { b'C' } else { b'D' };
                frame(out, tag, &[&[target], name(input)?.as_bytes(), &[0]].concat());
                Ok(())
            }
            16 | 17 => {
                encode::sync(out);
                Ok(())
            }
            18 => {
                encode::flush(out);
                Ok(())
            }
            19 => {
                let oid: u32 = *input.choose(&[957, 957, 177])?;
                frame(out, b'F', &[&oid.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat());
                Ok(())
            }
            20 => {
                frame(out, b'd', b"1\n");
                Ok(())
            }
            21 => {
                frame(out, b'c', b"");
                Ok(())
            }
            22 => encode::copy_fail(out, b"no more"),
            _ => {
                self.rare(input, out)?;
                Ok(())
            }
        };
        written.expect("short");
        Ok(())
    }

    fn rare(&mut self, input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> arbitrary::Result<()> {
        match input.arbitrary::<u8>()? {
            0..=7 => {
                self.is_wild = true;
                out.extend(input.bytes(input.len().min(24))?);
            }
            8 if !std::mem::replace(&mut self.has_flooded, true) => (0..33_000).for_each(|_| encode::sync(out)),
            9..=15 => encode::terminate(out),
            _ => encode::sync(out),
        }
        Ok(())
    }

    fn texts(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
        let mut texts = self.text(input)?;
        for _ in 0..input.int_in_range(0..=7_usize)?.saturating_sub(4) {
            texts = format!("{texts};{}", self.text(input)?);
        }
        Ok(texts)
    }

    fn text(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
        self.marks += 1;
        let mark = self.marks;
        let name = *input.choose(&["a", "b"])?;
        Ok(match input.int_in_range(0..=15_u8)? {
            0 => "begin".to_owned(),
            1 => "commit".to_owned(),
            2 => "rollback".to_owned(),
            3 => String::new(),
            4 | 5 => format!("prepare {name} as select {mark}"),
            6 => format!("deallocate {name}"),
            7 => "deallocate all".to_owned(),
            8 => "discard all".to_owned(),
            9 => format!("declare {name} cursor for select {mark}"),
            10 => format!("declare {name} cursor with hold for select {mark}"),
            11 => format!("close {name}"),
            12 => "close all".to_owned(),
            13 => "copy t from stdin".to_owned(),
            _ => format!("select {mark}"),
        })
    }
}

fn frame(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).expect("short").to_be_bytes());
    out.extend(body);
}
