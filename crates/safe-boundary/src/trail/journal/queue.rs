//! What waits to be written, in order.
//!
//! Promises: bounded in bytes; a batch keeps its place from the moment it is pushed; every waiter is told exactly
//! once. No lock is held across a wait for the disk.
//! Deliberately not here: files.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use domain::audit::pending::Receipt;
use domain::audit::record::Batch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{AppendError, Status};
use crate::metrics::METRICS;

/// What appends may hold in the queue, in KiB; who needs more waits.
const ROOM_KIB: u32 = 32 << 10;

/// What notes may hold in the queue, in bytes; what is beyond is lost, counted, and recorded as lost.
const NOTES_BYTES_MAX: usize = 32 << 20;

/// How long notes wait for an append to go with.
const NOTES_DELAY: Duration = Duration::from_millis(50);

/// Someone who waits for a receipt.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: u64,
    since: Instant,
    sender: oneshot::Sender<Result<Receipt, AppendError>>,
    _room: OwnedSemaphorePermit,
}

impl Waiter {
    pub(super) fn tell(self, result: Result<Receipt, AppendError>) {
        if result.is_ok() {
            METRICS.journal.durable(self.since);
        }
        // Who has gone away needs no answer.
        let _ = self.sender.send(result);
    }
}

/// A batch, and who waits for it; nobody waits for notes.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) batch: Batch,
    pub(super) waiter: Option<Waiter>,
}

/// What is written at once.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) items: Vec<Item>,
    /// Whether it must be durable: someone waits, or the journal closes.
    pub(super) sync: bool,
    /// How many records of notes were lost before it.
    pub(super) lost: u64,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    Group(Group),
    /// See whether there is room again.
    Mend,
    Close,
}

/// Why the journal takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Stopped,
}

#[derive(Debug)]
pub(super) struct Queue {
    epoch: u64,
    state: Mutex<State>,
    changed: Condvar,
    room: Arc<Semaphore>,
    status: watch::Sender<Status>,
    group_bytes_max: usize,
    retry: Duration,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    waiters: usize,
    notes_bytes: usize,
    oldest_note: Option<Instant>,
    rest: Rest,
    tickets: u64,
    refusal: Option<(Refusal, Instant)>,
    closing: bool,
    refused: u64,
    lost: u64,
}

/// Whether the writer must be woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    /// It is at work, or was woken: it looks at the queue by itself.
    #[default]
    Awake,
    /// It looks again soon, which is soon enough for notes.
    Dozing,
    /// It waits to be woken.
    Asleep,
}

/// Wakes the writer when it goes, for what has been pushed: the writer rests.
#[derive(Debug)]
#[must_use = "whoever pushed would wait in vain"]
pub(super) struct Rouse<'q>(&'q Queue);

impl Rouse<'_> {
    /// Lets everything that is ready on this thread go first: what that appends goes into the same frame, under the
    /// same sync. Nothing waits for time to pass.
    pub(super) async fn after_the_others(self) {
        let mut is_last = false;
        poll_fn(|context| {
            if std::mem::replace(&mut is_last, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Rouse<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl Queue {
    pub(super) fn new(epoch: u64, group_bytes_max: usize, retry: Duration) -> Self {
        Self {
            epoch,
            state: Mutex::default(),
            changed: Condvar::new(),
            room: Arc::new(Semaphore::new(usize::try_from(ROOM_KIB).unwrap_or(usize::MAX))),
            status: watch::Sender::new(Status::Working),
            group_bytes_max,
            retry,
        }
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Waits until the queue has room for a batch.
    pub(super) async fn room(&self, batch: &Batch) -> Result<OwnedSemaphorePermit, AppendError> {
        let kib = u32::try_from(batch.weight() >> 10).unwrap_or(ROOM_KIB).saturating_add(1).min(ROOM_KIB);
        Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| AppendError::Stopped)
    }

    /// Queues a batch, and says its ticket, and whether the writer has to be roused for it. A batch without records has
    /// its receipt at once, unless the journal has stopped.
    pub(super) fn push(
        &self,
        batch: Batch,
        sender: oneshot::Sender<Result<Receipt, AppendError>>,
        room: OwnedSemaphorePermit,
    ) -> Result<(u64, Option<Rouse<'_>>), AppendError> {
        let mut state = self.state();
        match state.refusal {
            Some((Refusal::Stopped, _)) => return Err(AppendError::Stopped),
            _ if state.closing => return Err(AppendError::Stopped),
            _ if batch.is_empty() => {
                Waiter { ticket: 0, since: Instant::now(), sender, _room: room }
                    .tell(Ok(super::receipt(self.epoch, 0)));
                return Ok((0, None));
            }
            Some((Refusal::Full, _)) => {
                state.refused += 1;
                return Err(AppendError::Full);
            }
            None => {}
        }
        state.tickets += 1;
        state.waiters += 1;
        let waiter = Waiter { ticket: state.tickets, since: Instant::now(), sender, _room: room };
        let ticket = waiter.ticket;
        state.items.push_back(Item { batch, waiter: Some(waiter) });
        // Made only if needed: one that is dropped here would wait for the lock that is held.
        let rouse = (state.rest != Rest::Awake).then(|| Rouse(self));
        Ok((ticket, rouse))
    }

    fn wake(&self) {
        // Not while the lock is held: whoever wakes up wants it.
        let rest = std::mem::take(&mut self.state().rest);
        if rest != Rest::Awake {
            self.changed.notify_one();
        }
    }

    pub(super) fn note(&self, batch: Batch) {
        let bytes = batch.weight();
        let mut state = self.state();
        let stopped = state.closing || matches!(state.refusal, Some((Refusal::Stopped, _)));
        if batch.is_empty() || stopped {
            return;
        }
        if state.notes_bytes.saturating_add(bytes) > NOTES_BYTES_MAX {
            state.lost += batch.len() as u64;
            return;
        }
        state.notes_bytes += bytes;
        state.oldest_note.get_or_insert_with(Instant::now);
        state.items.push_back(Item { batch, waiter: None });
        let is_asleep = state.rest == Rest::Asleep;
        drop(state);
        if is_asleep {
            self.wake();
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.state().items.len()
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_one();
    }

    /// Blocks until there is something to do.
    pub(super) fn wait(&self) -> Work {
        let mut state = self.state();
        // What was just written has an outcome soon, which must not cost a wake-up each time: rest once before sleeping.
        let mut is_rested = false;
        loop {
            let due = match state.refusal {
                Some(_) if state.closing => return Work::Close,
                Some((_, since)) => since + self.retry,
                None if state.waiters > 0 => return Work::Group(self.group(&mut state)),
                None if state.closing && state.items.is_empty() => return Work::Close,
                None if state.closing => return Work::Group(self.group(&mut state)),
                None => match state.oldest_note {
                    Some(oldest) => oldest + NOTES_DELAY,
                    None if is_rested => {
                        state.rest = Rest::Asleep;
                        state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                        state.rest = Rest::Awake;
                        continue;
                    }
                    None => {
                        is_rested = true;
                        state = self.doze(state, NOTES_DELAY);
                        continue;
                    }
                },
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match state.refusal {
                    Some(_) => Work::Mend,
                    None => Work::Group(self.group(&mut state)),
                };
            }
            state = self.doze(state, left);
        }
    }

    fn doze<'s>(&self, mut state: MutexGuard<'s, State>, at_most: Duration) -> MutexGuard<'s, State> {
        state.rest = Rest::Dozing;
        let mut state = self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0;
        state.rest = Rest::Awake;
        state
    }

    /// Takes what is written next: from the front, as much as goes into one frame.
    fn group(&self, state: &mut State) -> Group {
        let mut group = Group { items: Vec::new(), sync: state.closing, lost: std::mem::take(&mut state.lost) };
        let mut bytes = 0;
        while let Some(item) = state.items.front() {
            bytes += item.batch.bytes();
            if bytes > self.group_bytes_max && !group.items.is_empty() {
                break;
            }
            let Some(item) = state.items.pop_front() else { break };
            match item.waiter {
                Some(_) => state.waiters -= 1,
                None => state.notes_bytes -= item.batch.weight(),
            }
            group.sync |= item.waiter.is_some();
            group.items.push(item);
        }
        if state.notes_bytes == 0 {
            state.oldest_note = None;
        }
        group
    }

    /// Takes nothing from now on. All who wait are told, those of `group` first; the notes stay while there is hope.
    pub(super) fn refuse(&self, refusal: Refusal, group: Vec<Item>) {
        let (error, status) = match refusal {
            Refusal::Full => (AppendError::Full, Status::Full),
            Refusal::Stopped => (AppendError::Stopped, Status::Stopped),
        };
        let mut state = self.state();
        state.refusal = Some((refusal, Instant::now()));
        let mut told = Vec::new();
        let mut kept = VecDeque::new();
        let queued = std::mem::take(&mut state.items);
        for item in group.into_iter().chain(queued) {
            match item.waiter {
                Some(waiter) => told.push(waiter),
                None => kept.push_back(item),
            }
        }
        state.refused += told.len() as u64;
        state.waiters = 0;
        if refusal == Refusal::Full {
            state.notes_bytes = kept.iter().map(|item| item.batch.weight()).sum();
            state.oldest_note = (!kept.is_empty()).then(Instant::now);
            state.items = kept;
        } else {
            self.room.close();
        }
        drop(state);
        self.status.send_replace(status);
        for waiter in told {
            waiter.tell(Err(error));
        }
    }

    /// Takes batches again, which wait until the writer comes for them; says how many were refused.
    pub(super) fn reopen(&self) -> u64 {
        let mut state = self.state();
        state.refusal = None;
        std::mem::take(&mut state.refused)
    }

    /// There is room again.
    pub(super) fn mended(&self) {
        self.status.send_replace(Status::Working);
    }

    /// There is no room after all; so many were refused before that was believed.
    pub(super) fn close_again(&self, refused: u64) {
        self.state().refused += refused;
        self.refuse(Refusal::Full, Vec::new());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
