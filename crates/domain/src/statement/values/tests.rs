use super::*;

#[test]
fn values_read_as_postgresql_prints_them() {
    let check = |oid: u32, raw: &[u8], expected: Option<&str>| {
        assert_eq!(decode(oid, raw).as_deref(), expected, "type {oid}, {raw:?}");
    };
    check(16, &[1], Some("t"));
    check(16, &[], None);
    check(17, &[0, 255], Some("\\x00ff"));
    check(20, &i64::MIN.to_be_bytes(), Some("-9223372036854775808"));
    check(23, &42_i32.to_be_bytes(), Some("42"));
    check(23, &[0, 1], None);
    for (value, text) in [
        (1.5, "1.5"),
        (-0.0, "-0"),
        (100.0, "100"),
        (1e20, "1e+20"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (1e23, "9.999999999999999e+22"),
        (0.0001, "0.0001"),
        (-1.25e-5, "-1.25e-05"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ] {
        check(701, &f64::to_be_bytes(value), Some(text));
    }
    check(700, &1e6_f32.to_be_bytes(), Some("1e+06"));
    check(700, &435_265.13_f32.to_be_bytes(), Some("435265.12"));
    check(25, "héllo".as_bytes(), Some("héllo"));
    check(25, &[0xff], None);
    check(1082, &0_i32.to_be_bytes(), Some("2000-01-01"));
    check(1082, &(-1_i32).to_be_bytes(), Some("1999-12-31"));
    check(1082, &i32::MAX.to_be_bytes(), Some("infinity"));
    check(1082, &(-2_451_545_i32).to_be_bytes(), Some("4714-11-24 BC"));
    check(1082, &2_145_031_948_i32.to_be_bytes(), Some("5874897-12-31"));
    check(1082, &2_145_031_949_i32.to_be_bytes(), None);
    check(1184, &(-63_200_000_000_000_000_i64).to_be_bytes(), Some("0004-04-09 12:26:40+00 BC"));
    check(1083, &86_400_000_000_i64.to_be_bytes(), Some("24:00:00"));
    check(1083, &86_400_000_001_i64.to_be_bytes(), None);
    check(1083, &1_500_000_i64.to_be_bytes(), Some("00:00:01.5"));
    check(25, b"a\0b", None);
    check(142, b"<?xml version='1.0' encoding='latin1'?><a/>", None);
    check(1114, &86_400_000_001_i64.to_be_bytes(), Some("2000-01-02 00:00:00.000001"));
    check(1184, &0_i64.to_be_bytes(), Some("2000-01-01 00:00:00+00"));
    check(1083, &3_661_000_000_i64.to_be_bytes(), Some("01:01:01"));
    check(2950, &[0x11; 16], Some("11111111-1111-1111-1111-111111111111"));
    check(3802, b"\x01{\"a\":1}", Some("{\"a\":1}"));
    check(3802, b"\x02{}", None);
    check(99_999, b"x", None);
    // The server finds a type for what is declared as unknown, and reads the bytes as that.
    check(705, b"1234", None);
}

#[test]
fn a_short_numeric_is_not_made_long() {
    let check = |words: &[i16], expected: Option<usize>| {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(decode(1700, &raw).map(|text| text.len()), expected, "{words:?}");
    };
    check(&[1, 32_767, 0, 0, 1], None);
    check(&[0, 0, 0, 16_383], None);
    check(&[1, 25, 0, 0, 1], Some(101));
    check(&[0, 0, 0, 100], Some(102));
    let many = [&[1_000, 999, 0, 0][..], &[1_234; 1_000]].concat();
    check(&many, Some(4_000));
    // However many there are, and in an array as well.
    let element = [&10_u32.to_be_bytes()[..], &[0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1]].concat();
    let head = [1_u32, 0, 1700, 1_000, 1].map(u32::to_be_bytes).concat();
    assert_eq!(decode(1231, &[head, element.repeat(1_000)].concat()), None);
}

#[test]
fn numerics() {
    let check = |words: &[i16], expected: Option<&str>| {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(decode(1700, &raw).as_deref(), expected, "{words:?}");
    };
    check(&[0, 0, 0, 0], Some("0"));
    check(&[2, 0, 0, 2, 123, 4500], Some("123.45"));
    check(&[2, 1, 0x4000, 0, 1, 5], Some("-10005"));
    check(&[1, -1, 0, 4, 1], Some("0.0001"));
    check(&[1, -2, 0, 8, 1], Some("0.00000001"));
    check(&[1, 2, 0, 0, 7], Some("700000000"));
    check(&[0, 0, -0x4000, 0], Some("NaN"));
    check(&[1, 0, 0, 0], None);
    check(&[2, 1, 0, 0, 0, 5], Some("5"));
    check(&[1, -1, 0x4000, 0, 1], Some("0"));
    assert_eq!(decode(1700, &[0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "a byte too many");
}

#[test]
fn arrays() {
    let raw = |element: i32, values: &[Option<&[u8]>]| {
        let mut raw: Vec<u8> = [1, 1, element, i32::try_from(values.len()).unwrap(), 1]
            .iter()
            .flat_map(|word: &i32| word.to_be_bytes())
            .collect();
        for value in values {
            raw.extend(value.map_or(-1, |value| i32::try_from(value.len()).unwrap()).to_be_bytes());
            raw.extend(value.unwrap_or_default());
        }
        raw
    };
    let ints = raw(23, &[Some(&7_i32.to_be_bytes()), None]);
    assert_eq!(decode(1007, &ints).as_deref(), Some("{7,NULL}"));
    let texts = raw(25, &[Some(b"a"), Some(b"b c\"")]);
    assert_eq!(decode(1009, &texts).as_deref(), Some("{a,\"b c\\\"\"}"));
    assert_eq!(decode(1009, &texts[..texts.len() - 1]), None);
}
