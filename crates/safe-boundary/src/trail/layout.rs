//! How the trail lies on disk: names of files, and the headers of segments and frames.
//!
//! A segment is a file of `journal/`, named by the index of its first record, of a fixed length and zero where nothing
//! has been written. It begins with a [`SegmentHeader`]; frames follow, each at a multiple of [`ALIGNMENT`]. A frame
//! is a [`FrameHeader`] and its records, each as its length (32 bits, big-endian) and its JSON, byte for byte.
//!
//! Promises: every bit of a header is covered by its check, every bit of a record by the chain in the header of its
//! frame. The first byte of a header cannot occur in a record, so no record can be taken for a header.
//! Deliberately not here: reading and writing.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tlog::hash::Hash;

/// Frames begin at multiples of this many bytes.
pub const ALIGNMENT: u64 = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"\xffSBJSEG1";
const FRAME_MAGIC: [u8; 4] = *b"\xffSBF";

/// The folder of the segments.
#[must_use]
pub fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// The file of the segment whose first record has this index.
#[must_use]
pub fn segment_path(dir: &Path, first: u64) -> PathBuf {
    journal_dir(dir).join(format!("{first:020}.sbj"))
}

/// The index of the first record of a segment, from its file name.
#[must_use]
pub fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".sbj")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The next place at or after `offset` where a frame may begin.
#[must_use]
pub const fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

/// The beginning of a segment: all records before it were durable when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The journal epoch that made it.
    pub epoch: u64,
    /// The index of its first record.
    pub first: u64,
    /// The chain over all records before it.
    pub chain: Hash,
}

impl SegmentHeader {
    /// Its length in bytes, and so the offset of the first frame.
    pub const BYTES: usize = 72;

    /// The header as it stands in the file.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut fields = Fields::default();
        fields.put(&SEGMENT_MAGIC);
        fields.put(&self.epoch.to_be_bytes());
        fields.put(&self.first.to_be_bytes());
        fields.put(&self.chain.0);
        fields.sealed()
    }

    /// The header in these bytes, if they are one.
    #[must_use]
    pub fn decode(raw: &[u8]) -> Option<Self> {
        let mut fields = raw.get(..Self::BYTES)?;
        unsealed(fields)?;
        let magic: [u8; 8] = take(&mut fields)?;
        let header = Self {
            epoch: u64::from_be_bytes(take(&mut fields)?),
            first: u64::from_be_bytes(take(&mut fields)?),
            chain: Hash(take(&mut fields)?),
        };
        (magic == SEGMENT_MAGIC).then_some(header)
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How many bytes of records follow, their lengths included.
    pub payload: u32,
    /// How many records follow.
    pub count: u32,
    /// The journal epoch that wrote it.
    pub epoch: u64,
    /// The index of its first record.
    pub first: u64,
    /// All records with a smaller index were durable before this frame was written. This is what tells a torn tail
    /// from a damaged journal: a hole at or after this index may be torn, a hole before it cannot.
    pub durable: u64,
    /// The chain over all records up to the last of this frame.
    pub chain: Hash,
}

impl FrameHeader {
    /// Its length in bytes.
    pub const BYTES: usize = 84;

    /// The header as it stands in the file.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut fields = Fields::default();
        fields.put(&FRAME_MAGIC);
        fields.put(&self.payload.to_be_bytes());
        fields.put(&self.count.to_be_bytes());
        fields.put(&self.epoch.to_be_bytes());
        fields.put(&self.first.to_be_bytes());
        fields.put(&self.durable.to_be_bytes());
        fields.put(&self.chain.0);
        fields.sealed()
    }

    /// The header in these bytes, if they are one.
    #[must_use]
    pub fn decode(raw: &[u8]) -> Option<Self> {
        let mut fields = raw.get(..Self::BYTES)?;
        if !fields.starts_with(&FRAME_MAGIC) {
            return None;
        }
        unsealed(fields)?;
        let _magic: [u8; 4] = take(&mut fields)?;
        Some(Self {
            payload: u32::from_be_bytes(take(&mut fields)?),
            count: u32::from_be_bytes(take(&mut fields)?),
            epoch: u64::from_be_bytes(take(&mut fields)?),
            first: u64::from_be_bytes(take(&mut fields)?),
            durable: u64::from_be_bytes(take(&mut fields)?),
            chain: Hash(take(&mut fields)?),
        })
    }

    /// Where a frame that begins at `offset` ends, or nothing when no file is that long.
    #[must_use]
    pub fn end(&self, offset: u64) -> Option<u64> {
        offset.checked_add(Self::BYTES as u64)?.checked_add(u64::from(self.payload))
    }
}

/// Whether a frame may begin with these bytes.
#[must_use]
pub fn begins_frame(raw: &[u8]) -> bool {
    raw.starts_with(&FRAME_MAGIC)
}

/// The least that a record takes in a frame: its length, and a byte.
pub const RECORD_BYTES_MIN: u32 = 5;

/// The first record of a payload, and what stands behind it.
#[must_use]
pub fn entry(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = payload;
    let bytes = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    rest.split_at_checked(bytes)
}

/// Follows the records of a payload while it is read, so that no more of it is read than can be records.
#[derive(Debug, Default)]
pub struct Records {
    count: u32,
    /// Up to where the payload has been looked at.
    seen: usize,
    /// Where the record ends that `seen` is in.
    end: usize,
}

impl Records {
    /// Goes on through a payload that has grown. False when it cannot consist of records: none is empty, and none has a
    /// control character, for they are JSON on one line. So one record stays one line wherever it is written out.
    #[must_use]
    pub fn follow(&mut self, payload: &[u8]) -> bool {
        loop {
            let end = self.end.min(payload.len());
            if payload.get(self.seen..end).is_none_or(|text| least(text) < b' ') {
                return false;
            }
            self.seen = end;
            let length = payload.get(end..).and_then(|rest| rest.first_chunk());
            let Some(length) = length.filter(|_| end == self.end) else { return true };
            let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            self.seen = end.saturating_add(length.len());
            self.end = self.seen.saturating_add(bytes);
            self.count = self.count.saturating_add(1);
            if bytes == 0 {
                return false;
            }
        }
    }

    /// Whether the payload, followed to its end, is exactly `count` records.
    #[must_use]
    pub fn are(&self, payload: &[u8], count: u32) -> bool {
        self.seen == payload.len() && self.end == payload.len() && self.count == count
    }
}

/// The smallest byte. Without a way out of the loop many are compared at once.
fn least(text: &[u8]) -> u8 {
    text.iter().copied().fold(u8::MAX, u8::min)
}

/// The last bytes of a header: the beginning of the SHA-256 of what stands before them.
const CHECK_BYTES: usize = 16;

#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The fields and their check. `N` is the length of both, which the callers' tests hold against `put`.
    fn sealed<const N: usize>(mut self) -> [u8; N] {
        let check = Sha256::digest(&self.0);
        self.0.extend(check.iter().take(CHECK_BYTES));
        let mut raw = [0; N];
        raw.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        raw
    }
}

/// Something, if the last bytes are the check of the others.
fn unsealed(raw: &[u8]) -> Option<()> {
    let (fields, check) = raw.split_at_checked(raw.len().checked_sub(CHECK_BYTES)?)?;
    Sha256::digest(fields).starts_with(check).then_some(())
}

/// The next `N` bytes.
fn take<const N: usize>(raw: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = raw.split_first_chunk()?;
    *raw = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameHeader =
        FrameHeader { payload: 700, count: 3, epoch: 9, first: 1 << 40, durable: 1 << 39, chain: Hash([5; 32]) };
    const SEGMENT: SegmentHeader = SegmentHeader { epoch: 9, first: 77, chain: Hash([6; 32]) };

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_does() {
        fn check<H: PartialEq + std::fmt::Debug>(header: H, raw: &[u8], decode: fn(&[u8]) -> Option<H>) {
            assert_eq!(decode(raw), Some(header));
            assert_eq!(decode(&raw[..raw.len() - 1]), None);
            for bit in 0..raw.len() * 8 {
                let mut flipped = raw.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&flipped), None, "bit {bit}");
            }
        }
        check(FRAME, &FRAME.encode(), FrameHeader::decode);
        check(SEGMENT, &SEGMENT.encode(), SegmentHeader::decode);
    }

    #[test]
    fn a_payload_is_exactly_its_records() {
        let check = |payload: &[u8], count: u32, expected: bool| {
            // However it comes, it is seen the same.
            for step in 1..=payload.len() + 1 {
                let mut records = Records::default();
                let follows = (0..payload.len()).step_by(step).all(|have| records.follow(&payload[..have]));
                let is = follows && records.follow(payload) && records.are(payload, count);
                assert_eq!(is, expected, "{payload:?} by {step}");
            }
        };
        check(b"", 0, true);
        check(b"\0\0\0\x02{}\0\0\0\x01a", 2, true);
        check(b"\0\0\0\x02{}\0\0\0\x01a", 1, false);
        check(b"\0\0\0\x02{}\0\0\0\0", 2, false);
        for control in 0..b' ' {
            check(&[b"\0\0\0\x03{".as_slice(), &[control], b"}"].concat(), 1, false);
        }
        check(b"\0\0\0\x04{ \x7f}", 1, true);
        check(b"\0\0\0\x02{", 1, false);
        check(b"\0\0\0", 1, false);
        check(b"\xff\xff\xff\xff{}", 1, false);
        assert_eq!(entry(b"\0\0\0\x02{}\0"), Some((&b"{}"[..], &b"\0"[..])));
        assert_eq!(entry(b"\0\0\0\x02{"), None);
    }

    #[test]
    fn a_segment_is_named_by_its_first_record() {
        let check = |name: &str, expected: Option<u64>| assert_eq!(segment_first(name), expected, "{name}");
        check("00000000000000000042.sbj", Some(42));
        check("42.sbj", None);
        check("00000000000000000042.tmp", None);
        check("+0000000000000000042.sbj", None);
        assert_eq!(segment_path(Path::new("a"), 42), Path::new("a/journal/00000000000000000042.sbj"));
    }
}
