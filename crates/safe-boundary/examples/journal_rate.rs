//! How many durable appends a second the journal gives here, and how long one waits.
//!
//! `cargo run --release --example journal_rate [DIR]`; the figures are the disk's more than ours, so compare only runs
//! on one machine at one time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use domain::audit::id::IdSource;
use domain::audit::pending::Unrecorded;
use domain::audit::record::{Batch, Body, Context, Head, Kind};
use safe_boundary::trail::journal::{Journal, Options};

const SECONDS: u64 = 3;

fn main() -> anyhow::Result<()> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("{:>9} {:>10} {:>12} {:>12}", "appenders", "commits/s", "wait p50 µs", "wait p99 µs");
    for appenders in [1, 8, 32] {
        let dir = tempfile::tempdir_in(&parent)?;
        let (journal, _) = Journal::open(dir.path(), Options::new("rate".to_owned()), IdSource::new([1; 6]))?;
        let mut waits = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let appending = (0..appenders).map(|_| tokio::spawn(append(journal.clone())));
            for task in appending.collect::<Vec<_>>() {
                waits.extend(task.await??);
            }
            anyhow::Ok(())
        })?;
        journal.close();
        waits.sort_unstable();
        let at = |percent: usize| waits.get(waits.len() * percent / 100).map_or(0, Duration::as_micros);
        println!("{appenders:>9} {:>10} {:>12} {:>12}", waits.len() as u64 / SECONDS, at(50), at(99));
    }
    Ok(())
}

async fn append(journal: Journal) -> anyhow::Result<Vec<Duration>> {
    let (mut ids, reason) = (IdSource::new([2; 6]), "x".repeat(150));
    let (begin, mut waits) = (Instant::now(), Vec::new());
    while begin.elapsed() < Duration::from_secs(SECONDS) {
        let time = safe_boundary::clock::now();
        let head = Head { id: ids.record(time), time, node: "rate", kind: Kind::End, session: None, seq: 0 };
        let mut batch = Batch::default();
        batch.push(&head, &Context::default(), &Body::End { reason: &reason, statements: 0 });
        let since = Instant::now();
        journal.append(Unrecorded::new(batch, ())).await?;
        waits.push(since.elapsed());
    }
    Ok(waits)
}
