//! Writes frames, in order, and knows what is durable.
//!
//! Promises: blobs are durable before the frame that refers to them is written; a frame is one write; nothing is
//! said to be durable before its sync has succeeded. What fails for want of room leaves nothing valid behind.
//! Deliberately not here: who waits, and receipts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::audit::id::IdSource;
use domain::audit::record::{Batch, Body, Context, Head, JournalEvent, Kind};
use tlog::hash::{self, Hash};

use super::Options;
use super::recover::Tail;
use super::segment::{Segment, Spare};
use crate::metrics::METRICS;
use crate::trail::blob::BlobStore;
use crate::trail::disk::lacks_descriptors;
use crate::trail::layout::{self, FrameHeader, SegmentHeader};

/// The largest frame, unless a single batch is larger.
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// How often to look how full the disk is.
const ALARM_INTERVAL: Duration = Duration::from_secs(10);

/// From how many percent on a full disk is near.
const ALARM_PERCENT: u64 = 80;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// For want of room; nothing is lost, and it may be tried again.
    #[error("no room: {0}")]
    Full(io::Error),
    /// For a reason after which nobody knows what is on the disk.
    #[error("{0}")]
    Broken(io::Error),
}

/// What was missing when the disk was full.
#[derive(Debug, Default)]
struct Missing {
    segment: bool,
    blob_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    options: Options,
    ids: IdSource,
    blobs: BlobStore,
    segment: Option<Segment>,
    spare: Spare,
    /// The index of the next record.
    index: u64,
    chain: Hash,
    epoch: u64,
    /// All records with a smaller index are durable.
    durable: u64,
    buffer: Vec<u8>,
    missing: Missing,
    looked: Option<Instant>,
    alarmed: bool,
}

impl Writer {
    pub(super) fn new(dir: &Path, options: Options, ids: IdSource, blobs: BlobStore, tail: Tail) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            spare: Spare::new(dir, Arc::clone(&options.disk), options.segment_bytes)?,
            options,
            ids,
            blobs,
            segment: tail.segment,
            index: tail.index,
            chain: tail.chain,
            epoch: tail.epoch + 1,
            // Recovery has synced all that it found.
            durable: tail.index,
            buffer: Vec::new(),
            missing: Missing::default(),
            looked: None,
            alarmed: false,
        })
    }

    /// How many bytes of records to write at once.
    pub(super) fn group_bytes_max(&self) -> usize {
        usize::try_from(GROUP_BYTES_MAX.min(self.options.segment_bytes / 4)).unwrap_or(usize::MAX)
    }

    /// Records of the journal itself.
    pub(super) fn events(&mut self, events: &[JournalEvent]) -> Batch {
        let mut batch = Batch::default();
        for event in events {
            let time = (self.options.clock)();
            let id = self.ids.record(time);
            let head = Head { id, time, node: &self.options.node, kind: Kind::Journal, session: None, seq: 0 };
            batch.push(&head, &Context::default(), &Body::Journal(event));
        }
        batch
    }

    /// Writes batches as one frame, and makes them durable if asked to.
    pub(super) fn commit<'b>(
        &mut self,
        batches: impl IntoIterator<Item = &'b Batch, IntoIter: Clone>,
        sync: bool,
    ) -> Result<(), Trouble> {
        let batches = batches.into_iter();
        if self.blobs.has_failed() {
            // A session of its own brought one there: it is one disk, and nothing passes before a restart has read it.
            return Err(broken("a sync of the blobs has failed"));
        }
        // A crash after this leaves blobs that nothing refers to.
        for blob in batches.clone().flat_map(Batch::blobs) {
            self.blobs.store(&blob.sha256, &blob.bytes).map_err(|error| {
                self.missing.blob_bytes = blob.bytes.len();
                self.blob_trouble(error)
            })?;
        }
        if batches.clone().map(Batch::len).sum::<usize>() == 0 {
            // Long parameters of a Bind: the records that refer to them come with its Execute.
            return if sync { self.sync() } else { Ok(()) };
        }
        let (header, bytes) = self.encode(batches)?;
        self.make_room(bytes)?;
        let begun = Instant::now();
        // A crash after this leaves a torn frame, or a whole one that nobody has a receipt for.
        let is_durable = self.write(sync && self.durable == self.index)?;
        self.index = header.first + u64::from(header.count);
        self.chain = header.chain;
        METRICS.journal.wrote(header.count.into(), self.buffer.len());
        if is_durable {
            METRICS.journal.synced(header.count.into(), begun.elapsed());
            self.durable = self.index;
        } else if sync {
            self.sync()?;
        }
        self.look_ahead();
        Ok(())
    }

    /// Writes the frame in the buffer; `durably` if that can be done at once. Says whether it is durable.
    fn write(&mut self, durably: bool) -> Result<bool, Trouble> {
        let Some(segment) = &mut self.segment else { return Err(broken("no segment to write to")) };
        let at_once = if durably { segment.write_durably(&self.buffer) } else { Ok(false) };
        let done = at_once.and_then(|at_once| match at_once {
            true => Ok(true),
            false => segment.write(&self.buffer).map(|()| false),
        });
        done.map_err(|error| {
            let trouble = for_want_of_room(error);
            if matches!(trouble, Trouble::Full(_)) {
                // What was written of it goes now if it can, and before the next frame in any case.
                let _ = segment.scrub();
            }
            trouble
        })
    }

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), Trouble> {
        if let Some(segment) = &mut self.segment
            && self.durable < self.index
        {
            // Whatever the reason: a second try may succeed without the data being there.
            let begun = Instant::now();
            segment.sync().map_err(Trouble::Broken)?;
            METRICS.journal.synced(self.index - self.durable, begun.elapsed());
            self.durable = self.index;
        }
        Ok(())
    }

    /// Tries whether there is room again for what there was none for.
    pub(super) fn mend(&mut self) -> Result<(), Trouble> {
        if self.missing.segment {
            self.roll()?;
            self.missing.segment = false;
        }
        if self.missing.blob_bytes > 0 {
            self.blobs.probe(self.missing.blob_bytes).map_err(|error| self.blob_trouble(error))?;
            self.missing.blob_bytes = 0;
        }
        Ok(())
    }

    /// Records that there was no room, and for how many appends.
    pub(super) fn resumed(&mut self, refused: u64) -> Result<(), Trouble> {
        let resumed = self.events(&[JournalEvent::Resumed { refused }]);
        self.commit([&resumed], true)
    }

    /// Writes that the journal ends here.
    pub(super) fn close(&mut self) -> Result<(), Trouble> {
        let stopped = self.events(&[JournalEvent::Stopped { epoch: self.epoch }]);
        let result = self.commit([&stopped], true);
        self.spare.discard();
        result
    }

    /// Puts a frame with all records into the buffer.
    fn encode<'b>(&mut self, batches: impl Iterator<Item = &'b Batch>) -> Result<(FrameHeader, u64), Trouble> {
        self.buffer.clear();
        self.buffer.resize(FrameHeader::BYTES, 0);
        let mut chain = self.chain;
        let mut count = 0;
        for entry in batches.flat_map(Batch::entries) {
            let bytes = u32::try_from(entry.len()).map_err(|_| broken("a record is longer than a frame can say"))?;
            self.buffer.extend_from_slice(&bytes.to_be_bytes());
            self.buffer.extend_from_slice(entry);
            chain = hash::chain(&chain, &hash::leaf(entry));
            count += 1;
        }
        let payload = u32::try_from(self.buffer.len() - FrameHeader::BYTES);
        let payload = payload.map_err(|_| broken("a batch is longer than a frame can say"))?;
        let (epoch, first, durable) = (self.epoch, self.index, self.durable);
        // INVARIANT: `durable` counts only what a sync has confirmed; recovery trusts it.
        let header = FrameHeader { payload, count, epoch, first, durable, chain };
        self.buffer.iter_mut().zip(header.encode()).for_each(|(to, from)| *to = from);
        let bytes = layout::aligned(self.buffer.len() as u64);
        self.buffer.resize(usize::try_from(bytes).unwrap_or(self.buffer.len()), 0);
        Ok((header, bytes))
    }

    /// Goes on to a new segment if the present one cannot take a frame of this many bytes.
    fn make_room(&mut self, bytes: u64) -> Result<(), Trouble> {
        // A frame longer than a segment goes into an empty one, which grows.
        let fits = |segment: &Segment| segment.first == self.index || segment.offset + bytes <= segment.bytes;
        if !self.segment.as_ref().is_some_and(fits) {
            self.roll()?;
        }
        Ok(())
    }

    /// Goes on to a new segment.
    fn roll(&mut self) -> Result<(), Trouble> {
        // INVARIANT: a segment exists only if every record before it is durable.
        self.sync()?;
        if self.segment.as_ref().is_some_and(|segment| segment.first == self.index) {
            return Ok(());
        }
        // A failed write may have left something here, which must not stand behind the last frame for good.
        if let Some(segment) = &mut self.segment {
            segment.scrub().map_err(for_want_of_room)?;
            if segment.is_scrub_unsynced {
                segment.sync().map_err(Trouble::Broken)?;
            }
        }
        let header = SegmentHeader { epoch: self.epoch, first: self.index, chain: self.chain };
        match self.spare.take(&header) {
            Ok(Ok(segment)) => {
                self.segment = Some(segment);
                Ok(())
            }
            Ok(Err(error)) => Err(Trouble::Broken(error)),
            Err(error) => {
                // Nothing that exists has been touched, so this may be tried again, whatever the reason.
                self.missing.segment = true;
                Err(Trouble::Full(error))
            }
        }
    }

    /// Prepares the next segment in time, and says when the disk fills up.
    fn look_ahead(&mut self) {
        if self.segment.as_ref().is_some_and(|segment| segment.offset > segment.bytes / 2) {
            self.spare.begin();
        }
        if self.looked.is_some_and(|looked| looked.elapsed() < ALARM_INTERVAL) {
            return;
        }
        self.looked = Some(Instant::now());
        let used = self.options.disk.used_percent(&self.dir).unwrap_or(0);
        if used >= ALARM_PERCENT && !self.alarmed {
            tracing::warn!(used_percent = used, dir = %self.dir.display(), "the disk of the audit log is filling up");
        }
        self.alarmed = used >= ALARM_PERCENT;
    }

    fn blob_trouble(&self, error: io::Error) -> Trouble {
        if self.blobs.has_failed() { Trouble::Broken(error) } else { for_want_of_room(error) }
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(error) | Trouble::Broken(error) => error,
        }
    }
}

fn for_want_of_room(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full(error),
        // No room for one more open file: nothing that exists has been touched.
        _ if lacks_descriptors(&error) => Trouble::Full(error),
        _ => Trouble::Broken(error),
    }
}

fn broken(why: &'static str) -> Trouble {
    Trouble::Broken(io::Error::other(why))
}
