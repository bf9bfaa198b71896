//! What one witness tells and the other does not.
//!
//! Promises: sessions are compared with sessions of the same program, each with one other; within a session, order counts.
//! Deliberately not here: where the stories come from.

use std::collections::BTreeMap;
use std::fmt;

/// What one session did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Story<P> {
    /// The client, by which the two witnesses know the session.
    pub(super) program: String,
    pub(super) steps: Vec<Step<P>>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step<P> {
    /// How and what: `execute: select $1`.
    pub(super) what: String,
    pub(super) params: Vec<P>,
}

/// A step that only one of them tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lone {
    pub(super) program: String,
    /// The server did it, and it is not on record; else the other way round.
    pub(super) is_missing: bool,
    pub(super) what: String,
}

impl fmt::Display for Lone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_missing { "ran without a record" } else { "on record, never ran" };
        write!(f, "{}: {kind}: {}", self.program, self.what)
    }
}

impl<P> Story<P> {
    fn empty() -> Self {
        Self { program: String::new(), steps: Vec::new() }
    }
}

/// Everything in which `ran` and `recorded` differ; `is_same` compares a parameter on record with one in the log.
pub(super) fn between<R, L>(
    ran: Vec<Story<L>>,
    recorded: Vec<Story<R>>,
    mut is_same: impl FnMut(&R, &L) -> bool,
) -> Vec<Lone>
where
    R: fmt::Debug,
    L: fmt::Debug,
{
    let mut by_program: BTreeMap<String, (Vec<Story<L>>, Vec<Story<R>>)> = BTreeMap::new();
    for story in ran {
        by_program.entry(story.program.clone()).or_default().0.push(story);
    }
    for story in recorded {
        by_program.entry(story.program.clone()).or_default().1.push(story);
    }
    let mut is_same = |left: &Step<L>, right: &Step<R>| {
        left.what == right.what
            && left.params.len() == right.params.len()
            && left.params.iter().zip(&right.params).all(|(logged, recorded)| is_same(recorded, logged))
    };
    let mut lone = Vec::new();
    for (program, (mut ran, mut recorded)) in by_program {
        pair_off(&mut ran, &mut recorded, &mut is_same);
        // What has no equal is held against what stands in its place, so that little is told of a small difference.
        let (no_log, no_trail) = (Story::empty(), Story::empty());
        for at in 0..ran.len().max(recorded.len()) {
            let left = ran.get(at).unwrap_or(&no_log);
            let right = recorded.get(at).unwrap_or(&no_trail);
            lone.extend(lone_steps(&program, &left.steps, &right.steps, &mut is_same));
        }
    }
    lone
}

/// Takes out all stories that have an equal on the other side, each with one.
fn pair_off<L, R>(
    ran: &mut Vec<Story<L>>,
    recorded: &mut Vec<Story<R>>,
    is_same: &mut impl FnMut(&Step<L>, &Step<R>) -> bool,
) {
    ran.retain(|left| {
        let equal = |right: &Story<R>, is_same: &mut dyn FnMut(&Step<L>, &Step<R>) -> bool| {
            left.steps.len() == right.steps.len()
                && left.steps.iter().zip(&right.steps).all(|(left, right)| is_same(left, right))
        };
        let place = recorded.iter().position(|right| equal(right, is_same));
        place.map(|place| recorded.remove(place)).is_none()
    });
}

/// What is left of two sequences beside the longest that both contain.
fn lone_steps<L: fmt::Debug, R: fmt::Debug>(
    program: &str,
    left: &[Step<L>],
    right: &[Step<R>],
    is_same: &mut impl FnMut(&Step<L>, &Step<R>) -> bool,
) -> Vec<Lone> {
    let same: Vec<Vec<bool>> =
        left.iter().map(|left| right.iter().map(|right| is_same(left, right)).collect()).collect();
    let mut longest = vec![vec![0; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            longest[l][r] =
                if same[l][r] { longest[l + 1][r + 1] + 1 } else { longest[l + 1][r].max(longest[l][r + 1]) };
        }
    }
    let (mut l, mut r, mut lone) = (0, 0, Vec::new());
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && same[l][r] {
            (l, r) = (l + 1, r + 1);
        } else if r == right.len() || (l < left.len() && longest[l + 1][r] >= longest[l][r + 1]) {
            lone.push(Lone { program: program.to_owned(), is_missing: true, what: told(&left[l]) });
            l += 1;
        } else {
            lone.push(Lone { program: program.to_owned(), is_missing: false, what: told(&right[r]) });
            r += 1;
        }
    }
    lone
}

/// A step as a person reads it in a failure: never all of what is long.
fn told<P: fmt::Debug>(step: &Step<P>) -> String {
    const CHARS: usize = 400;
    let params = if step.params.is_empty() { String::new() } else { format!(" with {:?}", step.params) };
    format!("{}{params}", step.what).chars().take(CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = (&'static str, Vec<(&'static str, Vec<&'static str>)>);

    fn story((program, steps): &Told) -> Story<String> {
        let step = |(what, params): &(&str, Vec<&str>)| Step {
            what: (*what).to_owned(),
            params: params.iter().map(ToString::to_string).collect(),
        };
        Story { program: (*program).to_owned(), steps: steps.iter().map(step).collect() }
    }

    /// Two sessions of one client and one of another, as both witnesses tell them.
    fn told() -> Vec<Told> {
        vec![
            ("a", vec![("simple: one", vec![]), ("execute: two", vec!["1", "x"]), ("simple: three", vec![])]),
            ("a", vec![("simple: one", vec![])]),
            ("b", vec![("execute: two", vec!["2", "x"]), ("execute: two", vec!["3", "x"])]),
        ]
    }

    /// What is found when the trail is changed.
    fn found(change: impl Fn(&mut Vec<Told>)) -> Vec<String> {
        let mut recorded = told();
        change(&mut recorded);
        let (ran, recorded) = (told().iter().map(story).collect(), recorded.iter().map(story).collect());
        between(ran, recorded, |recorded, logged| recorded == logged).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_found_where_nothing_differs() {
        assert_eq!(found(|_| {}), [""; 0]);
        assert_eq!(found(|trail| trail.reverse()), [""; 0], "sessions stand in no order");
    }

    #[test]
    fn a_record_that_is_gone_is_found() {
        let gone = found(|trail| drop(trail[0].1.remove(1)));
        assert_eq!(gone, [r#"a: ran without a record: execute: two with ["1", "x"]"#]);
        let gone = found(|trail| drop(trail.remove(1)));
        assert_eq!(gone, ["a: ran without a record: simple: one"]);
        let gone = found(|trail| drop(trail.remove(2)));
        assert_eq!(gone.len(), 2);
    }

    #[test]
    fn a_record_too_many_is_found() {
        let more = found(|trail| trail[2].1.push(("simple: four", vec![])));
        assert_eq!(more, ["b: on record, never ran: simple: four"]);
        let more = found(|trail| trail.push(("c", vec![("simple: one", vec![])])));
        assert_eq!(more, ["c: on record, never ran: simple: one"]);
        let more = found(|trail| trail[0].1.insert(1, ("simple: one", vec![])));
        assert_eq!(more, ["a: on record, never ran: simple: one"]);
    }

    #[test]
    fn a_parameter_that_was_changed_is_found() {
        let changed = found(|trail| trail[2].1[1].1[0] = "4");
        let expected = [
            r#"b: ran without a record: execute: two with ["3", "x"]"#,
            r#"b: on record, never ran: execute: two with ["4", "x"]"#,
        ];
        assert_eq!(changed, expected);
        assert_eq!(found(|trail| trail[2].1[1].1.truncate(1)).len(), 2);
        assert_eq!(found(|trail| trail[2].1[1].1.swap(0, 1)).len(), 2);
    }

    #[test]
    fn an_order_that_was_changed_is_found() {
        assert_eq!(found(|trail| trail[2].1.swap(0, 1)).len(), 2);
        // Between sessions of one client, too: what ran in one must not be on record in the other.
        let moved = |trail: &mut Vec<Told>| {
            let last = trail[0].1.pop();
            trail[1].1.extend(last);
        };
        assert_eq!(found(moved).len(), 2);
    }
}
