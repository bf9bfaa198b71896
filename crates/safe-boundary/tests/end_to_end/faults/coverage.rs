//! Whether the library that makes calls fail sees all of them: a fault that misses a call proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::super::support::ALICE;
use super::super::support::disk::{CHANGES, MKDIR, OPEN, RENAME, SIZE, SYNC, SYNC_FOLDER, UNLINK, WRITE};
use super::super::support::process::PATIENCE;
use super::super::support::proxy::Proxy;
use super::super::support::wire::Wire;
use super::{Told, run, stage};

/// What strace is asked for: all that can change a file, signals, and the return from a handler.
const TRACED: &str = "trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,\
    sync_file_range,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,rt_sigreturn,\
    io_uring_setup,io_uring_enter,copy_file_range,sendfile,splice,truncate,msync,syncfs";

/// strace and the library look at the same run, and count the same.
#[test]
fn c1_the_faults_see_what_strace_sees() {
    let (mut stage, disk) = stage(false);
    stage.proxy.kill();
    let before = counted(&disk);
    let trace = stage.folder().join("trace");
    // In the background, so that the process that we start is the proxy itself.
    let mut wrapper = ["strace", "-D", "-f", "-q", "-y", "-s", "0", "-e", TRACED, "-o"].map(str::to_owned).to_vec();
    wrapper.push(trace.to_str().unwrap().to_owned());
    wrapper.extend(disk.wrapper());
    stage.proxy = Proxy::start_again(stage.folder(), wrapper).unwrap_or_else(|ended| panic!("{ended:?}"));
    let mut wire = Wire::signed_in(&stage, ALICE);
    assert!(run(&mut wire, "one").iter().all(|(_, told)| *told == Told::Done));
    assert!(run(&mut wire, "two").iter().all(|(_, told)| *told == Told::Done));
    // Its end too, so that nothing is under way when we count.
    let last = format!("{} +++ exited with 0 +++", stage.proxy.id());
    assert_eq!(stage.proxy.drain(), 0);
    wait_for_line(&trace, &last);
    let counts = counted(&disk).into_iter().map(|(kind, calls)| (kind, calls - before[&kind]));
    let counts: BTreeMap<u64, u64> = counts.collect();
    let (seen, missed) = read_trace(&trace, stage.folder());
    println!("calls seen by strace: {seen:?}; by the library: {counts:?}; missed by the library: {}", missed.len());
    assert!(missed.is_empty(), "calls that no fault would hit: {missed:#?}");
    assert_eq!(seen, counts);
    assert!(seen.values().sum::<u64>() > 50, "{seen:?}");
    assert!(counts[&WRITE] > 10 && counts[&RENAME] > 2 && counts[&SYNC_FOLDER] > 2, "{counts:?}");
    disk.saw_everything();
}

fn wait_for_line(trace: &Path, last: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(trace).unwrap().lines().any(|line| line.split_whitespace().eq(last.split_whitespace())) {
        assert!(Instant::now() < deadline, "strace has not seen the end");
        std::thread::yield_now();
    }
}

/// What the library has counted, by kind.
fn counted(disk: &super::BadDisk) -> BTreeMap<u64, u64> {
    let kinds = (0..8).map(|bit| 1 << bit).filter(|kind| CHANGES & kind != 0);
    kinds.map(|kind| (kind, disk.calls(kind))).collect()
}

/// The calls that strace saw on files of the trail, by kind, and those that did not go through the library.
///
/// A call that the filter traps is followed by SIGSYS in the same thread; from then until the handler returns the thread's
/// calls are the library's own.
fn read_trace(trace: &Path, folder: &Path) -> (BTreeMap<u64, u64>, Vec<String>) {
    let trail = folder.join("audit");
    let places = [trail.to_str().unwrap().to_owned(), fs::canonicalize(&trail).unwrap().to_str().unwrap().to_owned()];
    let text = fs::read_to_string(trace).unwrap();
    let mut seen: BTreeMap<u64, u64> = (0..8).map(|bit| (1 << bit, 0)).collect();
    let mut missed = Vec::new();
    let mut threads: BTreeMap<&str, Thread<'_>> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        let thread = threads.entry(thread).or_default();
        if what.starts_with("--- SIGSYS") {
            if let Some(call) = thread.last.take() {
                for kind in kinds_of(call) {
                    *seen.entry(kind).or_default() += 1;
                }
            }
            thread.is_inside = true;
        } else if what.starts_with("rt_sigreturn") {
            thread.is_inside = false;
        } else if !thread.is_inside && !what.starts_with("<...") && !what.starts_with("---") && !what.starts_with("+++")
        {
            // The call before was let through: it must not have been one of ours.
            missed.extend(thread.last.take().map(str::to_owned));
            thread.last = (places.iter().any(|place| what.contains(place.as_str())) && !kinds_of(what).is_empty())
                .then_some(what);
        }
    }
    missed.extend(threads.into_values().filter_map(|thread| thread.last).map(str::to_owned));
    (seen, missed)
}

#[derive(Default)]
struct Thread<'a> {
    /// A call on the trail that was not yet seen to be trapped.
    last: Option<&'a str>,
    is_inside: bool,
}

/// The kinds of a call as strace writes it; none for one that only reads.
fn kinds_of(call: &str) -> Vec<u64> {
    let name = call.split('(').next().unwrap_or_default();
    let kind = match name {
        "open" | "openat" | "openat2" | "creat" => {
            return if ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag)) {
                vec![OPEN]
            } else {
                Vec::new()
            };
        }
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => WRITE,
        "fsync" | "fdatasync" | "sync_file_range" if is_folder(call) => SYNC_FOLDER,
        "fsync" | "fdatasync" | "sync_file_range" => SYNC,
        "ftruncate" | "fallocate" => SIZE,
        "rename" | "renameat" | "renameat2" => RENAME,
        "unlink" | "unlinkat" | "rmdir" => UNLINK,
        "mkdir" | "mkdirat" => MKDIR,
        _ => return Vec::new(),
    };
    vec![kind]
}

/// Whether the call's file is a folder of the trail: they are known by name.
fn is_folder(call: &str) -> bool {
    let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    let name = path.rsplit('/').next().unwrap_or_default();
    !name.contains('.') && name.len() < 20
}
