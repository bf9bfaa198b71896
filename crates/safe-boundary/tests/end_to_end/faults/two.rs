//! Two processes, one folder: docs/threats.md c13.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use super::super::support::ALICE;
use super::super::support::proxy::{NotStarted, Proxy};
use super::super::support::wire::{Wire, results};
use super::{RESTART_MAX, stage};

/// How many start at the same moment.
const AT_ONCE: usize = 4;

/// A path to the same folder, and how it is taken away again.
struct Alias {
    path: PathBuf,
    is_mounted: bool,
}

impl Drop for Alias {
    fn drop(&mut self) {
        if self.is_mounted {
            Command::new("umount").arg(&self.path).status().ok();
        }
    }
}

fn aliases(stage: &super::Stage) -> Vec<Alias> {
    let (folder, trail) = (stage.folder(), stage.folder().join("audit"));
    let real = fs::canonicalize(&trail).unwrap();
    let link = folder.join("link");
    symlink(&real, &link).unwrap();
    let dots = folder.join("data/../audit/journal/..");
    let mut aliases: Vec<_> =
        [trail, real.clone(), link, dots].into_iter().map(|path| Alias { path, is_mounted: false }).collect();
    let bound = folder.join("bound");
    fs::create_dir(&bound).unwrap();
    // Only root may mount; whoever is not has one way less to get it wrong.
    if Command::new("mount").arg("--bind").arg(&real).arg(&bound).status().is_ok_and(|status| status.success()) {
        aliases.push(Alias { path: bound, is_mounted: true });
    }
    aliases
}

/// Starts a second proxy in a folder of its own whose trail is `trail`.
fn second(stage: &super::Stage, trail: &Path) -> Result<Proxy, NotStarted> {
    let folder = stage.folder().join("second");
    fs::create_dir_all(&folder).unwrap();
    for file in ["server.crt", "server.key", "ca.crt", "payments_rw.password", "payments_ro.password"] {
        fs::copy(stage.folder().join(file), folder.join(file)).unwrap();
    }
    let config = fs::read_to_string(stage.folder().join("safe-boundary.toml")).unwrap();
    let config = config.replace("dir = \"audit\"", &format!("dir = {trail:?}"));
    Proxy::start_in(&folder, &config, Vec::new())
}

#[test]
fn c13_a_second_process_is_refused_on_any_path_and_comes_when_the_first_is_killed() {
    let (mut stage, _disk) = stage(false);
    let mut wire = Wire::signed_in(&stage, ALICE);
    let aliases = aliases(&stage);
    for alias in &aliases {
        let Err(refused) = second(&stage, &alias.path) else { panic!("{} is written by two", alias.path.display()) };
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let said = format!("another process writes to the audit folder {}", alias.path.display());
        assert!(refused.log.contains(&said), "{refused:?}");
        assert_eq!(results(&wire.query("select 1")), ["SELECT 1"], "the first goes on");
        stage.verify_trail();
    }
    println!("{} paths to one folder, each refused to a second process", aliases.len());
    for alias in &aliases {
        stage.proxy.kill();
        let taken = second(&stage, &alias.path).unwrap_or_else(|ended| panic!("{ended:?}"));
        assert!(taken.up_after < RESTART_MAX, "{:?}", taken.up_after);
        stage.verify_trail();
        drop(taken);
        stage.proxy.kill_and_restart();
    }
}

/// Several that start at the same moment: one gets it, whatever the others are doing meanwhile.
#[test]
fn c13_of_many_that_start_at_once_one_writes() {
    let (mut stage, _disk) = stage(false);
    stage.proxy.kill();
    for round in 0..5 {
        let all_ended_or_ready = Barrier::new(AT_ONCE);
        let start = || {
            let started = Proxy::start_again(stage.folder(), Vec::new());
            // The one that is ready stays until the others have seen it.
            all_ended_or_ready.wait();
            started.err()
        };
        let ended: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
            starting.into_iter().filter_map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(ended.len(), AT_ONCE - 1, "round {round}");
        for ended in ended {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.log.contains("another process writes to the audit folder"), "{ended:?}");
        }
        stage.verify_trail();
    }
}
