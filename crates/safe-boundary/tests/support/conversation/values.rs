//! Random binary values of PostgreSQL's types, and what the server prints for them.
//!
//! Promises: every value is one that the server takes.
//! Deliberately not here: how records print them.

use std::io::Write as _;

use super::proxied::{message, open};
use super::script::Dice;

/// Types to try: OID, name, and for an array the OID of its elements.
pub(crate) const TYPES: [(u32, &str, u32); 35] = [
    (16, "bool", 0),
    (17, "bytea", 0),
    (18, "\"char\"", 0),
    (19, "name", 0),
    (20, "int8", 0),
    (21, "int2", 0),
    (23, "int4", 0),
    (25, "text", 0),
    (26, "oid", 0),
    (114, "json", 0),
    (700, "float4", 0),
    (701, "float8", 0),
    (1000, "bool[]", 16),
    (1001, "bytea[]", 17),
    (1005, "int2[]", 21),
    (1007, "int4[]", 23),
    (1009, "text[]", 25),
    (1015, "varchar[]", 1043),
    (1016, "int8[]", 20),
    (1021, "float4[]", 700),
    (1022, "float8[]", 701),
    (1042, "bpchar", 0),
    (1043, "varchar", 0),
    (1082, "date", 0),
    (1083, "time", 0),
    (1114, "timestamp", 0),
    (1115, "timestamp[]", 1114),
    (1182, "date[]", 1082),
    (1184, "timestamptz", 0),
    (1185, "timestamptz[]", 1184),
    (1231, "numeric[]", 1700),
    (1700, "numeric", 0),
    (2950, "uuid", 0),
    (2951, "uuid[]", 2950),
    (3802, "jsonb", 0),
];

impl Dice {
    fn signed(&mut self) -> i64 {
        let raw = self.next().cast_signed();
        // Of all magnitudes alike.
        raw >> self.below(64)
    }

    fn float(&mut self) -> f64 {
        match self.below(6) {
            0 => f64::from_bits(self.next()),
            1 => 10_f64.powi(i32::try_from(self.below(640)).unwrap() - 320),
            2 => 2_f64.powi(i32::try_from(self.below(2000)).unwrap() - 1000),
            3 => f64::from(i32::try_from(self.signed() >> 32).unwrap()) / 100.0,
            4 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE, 5e-324]
                [self.below(8)],
            _ => {
                f64::from(i32::try_from(self.below(2000)).unwrap())
                    * 10_f64.powi(i32::try_from(self.below(40)).unwrap() - 20)
            }
        }
    }

    fn text(&mut self) -> String {
        let letters: Vec<char> = "ab 'n\"\\{},;\t\n\u{b}\r\u{a0}\u{e9}\u{3000}\u{1f600}NULL".chars().collect();
        match self.below(8) {
            0 => "NULL".to_owned(),
            1 => String::new(),
            2 => "nUlL".to_owned(),
            _ => (0..self.below(8)).map(|_| letters[self.below(letters.len())]).collect(),
        }
    }

    fn moment(&mut self) -> i64 {
        match self.below(8) {
            0 => [i64::MIN, i64::MAX, -211_813_488_000_000_000, 9_223_371_331_199_999_999][self.below(4)],
            1 => self.signed().clamp(-211_813_488_000_000_000, 9_223_371_331_199_999_999),
            2 => self.signed().rem_euclid(1000) * 1_000_000_000 * 86_400,
            3 => -self.signed().rem_euclid(200_000_000_000_000_000),
            _ => self.signed().rem_euclid(3_000_000_000_000_000) - 1_000_000_000_000_000,
        }
    }
}

fn numeric(dice: &mut Dice) -> Vec<u8> {
    let count = dice.below(6);
    let sign: u16 = [0, 0, 0x4000, 0x4000, 0, 0x4000, 0, 0x4000, 0xC000, 0xD000, 0xF000][dice.below(11)];
    let count = if sign > 0x4000 { 0 } else { count };
    let weight = i16::try_from(dice.below(12)).unwrap() - 6;
    let scale = u16::try_from(dice.below(24)).unwrap();
    let mut raw = Vec::new();
    raw.extend(u16::try_from(count).unwrap().to_be_bytes());
    raw.extend(weight.to_be_bytes());
    raw.extend(sign.to_be_bytes());
    raw.extend(scale.to_be_bytes());
    for _ in 0..count {
        let digit = [0, 1, 9999, dice.below(10_000), dice.below(10_000)][dice.below(5)];
        raw.extend(u16::try_from(digit).unwrap().to_be_bytes());
    }
    raw
}

/// One value in binary.
pub(crate) fn value(dice: &mut Dice, oid: u32, element: u32) -> Vec<u8> {
    if element != 0 {
        return array(dice, element);
    }
    match oid {
        16 => vec![u8::from(dice.one_in(2))],
        17 => (0..dice.below(6)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect(),
        18 => vec![u8::try_from(1 + dice.below(127)).unwrap()],
        20 => dice.signed().to_be_bytes().to_vec(),
        21 => i16::try_from(dice.signed() >> 48).unwrap().to_be_bytes().to_vec(),
        23 => i32::try_from(dice.signed() >> 32).unwrap().to_be_bytes().to_vec(),
        26 => u32::try_from(dice.next() >> 32).unwrap().to_be_bytes().to_vec(),
        114 => [&b"{\"a\": 1}"[..], b"[1,  2]", b" null", b"\"x\\u00e9\""][dice.below(4)].to_vec(),
        3802 => {
            [&b"\x01{\"a\": 1}"[..], b"\x01[1, 2]", b"\x01null", "\x01\"\u{e9}\"".as_bytes()][dice.below(4)].to_vec()
        }
        #[expect(clippy::cast_possible_truncation, reason = "the nearest of the smaller type")]
        700 => (dice.float() as f32).to_be_bytes().to_vec(),
        701 => dice.float().to_be_bytes().to_vec(),
        1082 => {
            let days = match dice.below(6) {
                0 => [i32::MIN, i32::MAX, -2_451_545, 2_145_031_948][dice.below(4)],
                1 => i32::try_from(dice.signed() >> 32).unwrap().clamp(-2_451_545, 2_145_031_948),
                2 => -i32::try_from(dice.below(2_000_000)).unwrap(),
                _ => i32::try_from(dice.below(40_000)).unwrap() - 20_000,
            };
            days.to_be_bytes().to_vec()
        }
        1083 => {
            let micros = dice.signed().rem_euclid(86_400_000_001);
            let rounded = micros - micros % [1, 10, 1_000, 1_000_000, 60_000_000][dice.below(5)];
            [micros, rounded, 86_400_000_000][dice.below(3)].to_be_bytes().to_vec()
        }
        1114 | 1184 => dice.moment().to_be_bytes().to_vec(),
        1700 => numeric(dice),
        2950 => [dice.next().to_be_bytes(), dice.next().to_be_bytes()].concat(),
        _ => dice.text().into_bytes(),
    }
}

fn array(dice: &mut Dice, element: u32) -> Vec<u8> {
    let count = u32::try_from(dice.below(5)).unwrap();
    let mut raw = Vec::new();
    for word in [u32::from(count > 0), 1, element] {
        raw.extend(word.to_be_bytes());
    }
    if count > 0 {
        raw.extend(count.to_be_bytes());
        raw.extend(1_u32.to_be_bytes());
    }
    for _ in 0..count {
        if dice.one_in(5) {
            raw.extend((-1_i32).to_be_bytes());
        } else {
            let value = value(dice, element, 0);
            raw.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            raw.extend(value);
        }
    }
    raw
}

fn frame(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
}

/// The body of a Bind that gives these values, all binary, and wants text back.
pub(crate) fn bind(values: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 1];
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
    }
    body.extend([0, 0]);
    body
}

/// What the server prints for these values of one type.
pub(crate) fn printed(port: u16, type_name: &str, values: &[Vec<u8>]) -> Vec<String> {
    let mut stream = open(port);
    let columns: Vec<String> = (1..=values.len()).map(|at| format!("${at}::{type_name}")).collect();
    let mut out = Vec::new();
    frame(&mut out, b'Q', b"set timezone to 'UTC'\0");
    frame(&mut out, b'P', &[b"\0select ", columns.join(",").as_bytes(), b"\0\0\0"].concat());
    frame(&mut out, b'B', &bind(values));
    frame(&mut out, b'E', &[0; 5]);
    frame(&mut out, b'S', &[]);
    stream.write_all(&out).unwrap();
    let mut ready = 0;
    let mut row = Vec::new();
    while ready < 2 {
        match message(&mut stream) {
            (b'Z', _) => ready += 1,
            (b'E', error) => panic!("{type_name}: {}", String::from_utf8_lossy(&error)),
            (b'D', body) => {
                let mut rest = &body[2..];
                while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                    let (text, tail) = tail.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
                    row.push(String::from_utf8(text.to_vec()).unwrap());
                    rest = tail;
                }
            }
            _ => {}
        }
    }
    row
}
