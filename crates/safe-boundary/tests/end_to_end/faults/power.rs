//! Losses of power: of what was not synced, nothing is there afterwards, or any sectors of it, as the disk likes.
//!
//! Names too: a name is there when its folder was synced after it was given, and not before.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use super::super::support::ALICE;
use super::super::support::disk::{BadDisk, EIO, Effect, Fault, JOURNAL, Left, SYNC, SYNC_FOLDER, WHOLE};
use super::super::support::proxy::{Proxy, said};
use super::super::support::wire::Wire;
use super::{Told, Witness, marks, run, stage};

/// Sessions that write at the moment of the loss.
const WRITERS: usize = 4;

#[test]
fn c4_what_ran_is_on_record_after_a_loss_of_power() {
    lose_power(6);
}

#[test]
fn c2_what_a_failed_sync_has_lost_is_written_again_at_the_next_start() {
    fail_a_sync_then_lose_power(1, 6);
}

/// Whether these tests can fail: a disk that lies about its syncs cannot be survived, and is found out.
#[test]
fn c4_a_disk_that_lies_about_syncs_is_found_out() {
    for (name, kinds) in [("files", SYNC), ("folders", SYNC_FOLDER)] {
        let (mut stage, disk) = stage(true);
        let mut wire = Wire::signed_in(&stage, ALICE);
        disk.bring(&Fault { effect: Effect::Lies, error: 0, kinds, parts: WHOLE }, 1, u64::MAX);
        assert!(run(&mut wire, name).iter().all(|(_, told)| *told == Told::Done));
        disk.end();
        stage.proxy.kill();
        disk.lose_power(Left::Synced, name);
        let found = match Proxy::start_again(stage.folder(), disk.wrapper()) {
            Err(ended) => ended.log.lines().last().unwrap_or_default().to_owned(),
            Ok(started) => {
                stage.proxy = started;
                let (ran, recorded) = marks(&mut stage);
                let missing = ran.difference(&recorded).count();
                assert!(missing > 0, "{name}: nothing is missing");
                format!("{missing} statements ran without a record")
            }
        };
        println!("a disk that lies about the syncs of {name}: {found}");
    }
}

/// A trail in a folder that the proxy has to make, and the folder above it too.
#[test]
fn c4_a_folder_that_was_made_for_the_trail_survives_a_loss_of_power() {
    let (mut stage, disk) = stage(true);
    stage.proxy.kill();
    let config = std::fs::read_to_string(stage.folder().join("safe-boundary.toml")).unwrap();
    let config = config.replace("dir = \"audit\"", "dir = \"audit/made/anew/trail\"");
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let started = Proxy::start_in(stage.folder(), &config, disk.wrapper());
        stage.proxy = started.unwrap_or_else(|ended| panic!("{ended:?}"));
        epochs.push(stage.proxy.log.wait_for(|line| said(line, "ready")?["epoch"].as_u64()));
        stage.proxy.kill();
        disk.lose_power(Left::Synced, &format!("made-{}", epochs.len()));
    }
    assert_eq!(epochs, [1, 2], "the second start finds the trail of the first");
}

mod long {
    #[test]
    fn c4_what_ran_is_on_record_after_fifty_losses_of_power() {
        super::lose_power(50);
    }

    #[test]
    fn c2_what_any_failed_sync_has_lost_is_written_again_at_the_next_start() {
        super::fail_a_sync_then_lose_power(1, 1);
    }
}

fn lose_power(rounds: usize) {
    let (mut stage, disk) = stage(true);
    let mut witness = Witness::default();
    let mut torn = 0;
    for round in 0..rounds {
        let wires: Vec<Wire> = thread::scope(|scope| {
            let signing_in: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| Wire::signed_in(&stage, ALICE))).collect();
            signing_in.into_iter().map(|wire| wire.join().unwrap()).collect()
        });
        let told = thread::scope(|scope| {
            let (says, heard) = channel();
            let writing: Vec<_> = wires
                .into_iter()
                .enumerate()
                .map(|(place, mut wire)| {
                    let says = says.clone();
                    scope.spawn(move || {
                        let mut told = Vec::new();
                        for turn in 0.. {
                            told.extend(run(&mut wire, &format!("power-{round}-{place}-{turn}")));
                            says.send(()).ok();
                            if told.last().is_some_and(|(_, told)| *told == Told::Cut) {
                                break;
                            }
                        }
                        told
                    })
                })
                .collect();
            heard.iter().take(2 + round * 5 % 9).for_each(drop);
            stage.proxy.kill();
            writing.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        witness.heard(told);
        let left = if round % 2 == 0 { Left::Synced } else { Left::Sectors(round as u64) };
        torn += usize::from(come_back(&mut stage, &disk, &mut witness, left, &format!("power-{round}")));
    }
    disk.saw_everything();
    println!("{rounds} losses of power, {torn} left a torn tail");
    witness.compare(&mut stage, "losses of power");
}

/// Starts on what a loss of power has left; says whether there was a torn tail.
fn come_back(stage: &mut super::Stage, disk: &BadDisk, witness: &mut Witness, left: Left, name: &str) -> bool {
    disk.lose_power(left, name);
    stage.proxy = Proxy::start_again(stage.folder(), disk.wrapper())
        .unwrap_or_else(|ended| panic!("{name}: {left:?}: {ended:?}"));
    witness.restarted(stage);
    stage.verify_trail();
    let journal: PathBuf = stage.folder().join("audit/journal");
    std::fs::read_dir(journal).unwrap().any(|name| name.unwrap().file_name().to_string_lossy().starts_with("torn-"))
}

/// After a failed sync the memory of the machine may hold what the disk does not, and say that all is well.
fn fail_a_sync_then_lose_power(first: u64, stride: usize) {
    let (mut stage, disk) = stage(true);
    let mut witness = Witness::default();
    let fault = Fault { effect: Effect::Fails, error: EIO, kinds: SYNC, parts: JOURNAL };
    let mut stopped = 0;
    for at in (first..).step_by(stride) {
        let mut wire = Wire::signed_in(&stage, ALICE);
        disk.bring(&fault, at, 1);
        let told = run(&mut wire, &format!("sync-{at}"));
        let was_hit = disk.affected() > 0;
        disk.end();
        if !was_hit {
            break;
        }
        assert_eq!(told.last().map(|(_, told)| told), Some(&Told::Fatal("58030".to_owned())), "sync {at}");
        witness.heard(told);
        stopped += 1;
        stage.proxy.kill_and_restart();
        witness.restarted(&stage);
        // What the start has found is durable, all of it, whatever memory said before.
        let before = stage.trail().len();
        stage.proxy.kill();
        come_back(&mut stage, &disk, &mut witness, Left::Synced, &format!("sync-{at}"));
        let after = stage.trail().len();
        assert!(after > before, "sync {at}: {before} records were read, {after} are left");
    }
    assert!(stopped > 1, "{stopped}");
    println!("{stopped} failed syncs, each followed by a restart and a loss of power");
    witness.compare(&mut stage, "failed syncs and losses of power");
}
