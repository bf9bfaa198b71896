//! Frames that are not sent up after all: something of ours fails in their place.
//!
//! Promises: what they would have changed is forgotten; their errors are told as ours.
//! Deliberately not here: what goes up instead (`domain::statement::refusal`).

use super::{Changing, Mark, Refused, Request, Tracker};

impl<K: Copy, T: Clone, P> Tracker<K, T, P> {
    /// The frames since `mark` are not sent up; frames of ours that fail go up in their place, one for each but Sync.
    /// Their errors are then told as ours.
    pub fn refuse_since(&mut self, mark: Mark, why: Refused) {
        let first = self.in_flight.partition_point(|entry| entry.mark < mark);
        let mut changes_names = false;
        for entry in self.in_flight.range_mut(first..) {
            changes_names |= Changing::is_by(&entry.request);
            if matches!(entry.request, Request::Flush | Request::Sync | Request::Refused { .. } | Request::Ready) {
                continue;
            }
            // Refused requests have a record of their own, so their keys do not come back.
            entry.request = Request::Refused { ends_with_ready: entry.request.ends_group() };
            changes_names |= Changing::is_by(&entry.request);
            entry.refused = Some(why);
        }
        // What is denied is on record; what is not, and was skipped, is no longer in flight.
        if let (Refused::Unrecorded, Some(skipping)) = (why, &mut self.skipping) {
            skipping.forget();
        }
        if changes_names {
            self.changing = Changing::default();
            for entry in &self.in_flight {
                self.changing.add(entry.mark, &entry.request);
            }
        }
        // What was passed with a fence is not there any more, and what takes its place neither copies nor names.
        if self.fence.is_some_and(|fence| fence >= mark) {
            self.fence = None;
            self.flush_wanted = false;
        }
    }

    /// The COPY from the client that ran before `mark` is made to fail by us: its error is told as ours.
    pub fn refuse_copy(&mut self, mark: Mark) {
        // It may have failed by itself meanwhile; then what stands first now is something else.
        let head = self.in_flight.front_mut().filter(|head| head.mark < mark);
        if let Some(head) = head.filter(|head| matches!(head.request, Request::Query { .. } | Request::Execute { .. }))
        {
            head.refused = Some(Refused::Unrecorded);
        }
    }
}
