//! A disk that is really full, in a file system of its own of one megabyte.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::super::support::process::PATIENCE;
use super::super::support::proxy::{Proxy, said};
use super::super::support::wire::{Wire, query};
use super::super::support::{ALICE, Stage};
use super::{RESTART_MAX, Told, Witness, heard, run, stage};

/// A file system in memory; taken away when it is dropped.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    fn mount(place: &Path) -> Self {
        fs::create_dir(place).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(place).status();
        assert!(mounted.is_ok_and(|status| status.success()), "only root may mount: run this test as root");
        Self { place: place.to_owned() }
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.place.join("ballast")).unwrap();
        while ballast.write(&[b'x'; 4096]).is_ok() {}
    }

    /// Takes room until so much of it is used.
    fn fill_to(&self, percent: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.place.join("ballast")).unwrap();
        while self.used_percent() < percent {
            ballast.write_all(&[b'x'; 4096]).unwrap();
        }
    }

    fn used_percent(&self) -> u64 {
        let df = Command::new("df").args(["--output=used,size", "--block-size=1"]).arg(&self.place).output().unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let mut words = text.lines().last().unwrap().split_whitespace().map(|word| word.parse::<u64>().unwrap());
        let (used, size) = (words.next().unwrap(), words.next().unwrap());
        used * 100 / size
    }

    fn make_room(&self) {
        fs::remove_file(self.place.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.place).status().ok();
    }
}

/// A stage whose trail lies on a disk of one megabyte.
fn on_a_small_disk() -> (Stage, SmallDisk) {
    let (mut stage, _) = stage(false);
    stage.proxy.kill();
    let disk = SmallDisk::mount(&stage.folder().join("small"));
    let trail = stage.folder().join("audit");
    fs::remove_file(&trail).unwrap();
    fs::create_dir(disk.place.join("trail")).unwrap();
    symlink(disk.place.join("trail"), &trail).unwrap();
    stage.proxy = Proxy::start_again(stage.folder(), Vec::new()).unwrap_or_else(|ended| panic!("{ended:?}"));
    (stage, disk)
}

#[test]
fn c1_a_full_disk_refuses_and_takes_statements_again_when_there_is_room() {
    let (mut stage, disk) = on_a_small_disk();
    let mut wires: Vec<_> = (0..3).map(|_| Wire::signed_in(&stage, ALICE)).collect();
    let mut witness = Witness::default();
    let mut refused = 0;
    for round in 0..3 {
        disk.fill();
        write_until_full(&mut wires[0], round, &mut witness);
        for (place, wire) in wires.iter_mut().enumerate() {
            let told = run(wire, &format!("none-{round}-{place}"));
            let is_refused = |told: &Told| matches!(told, Told::Error(code) if code == "58030");
            assert!(told.iter().all(|(_, told)| is_refused(told)), "{told:?}");
            refused += told.len();
            witness.heard(told);
        }
        let mut late = Wire::tls(&stage);
        late.start(&[("user", ALICE), ("database", "payments"), ("application_name", "psql")]);
        let (error, _) = late.refused();
        assert_eq!((error[&'S'].as_str(), error[&'C'].as_str()), ("FATAL", "58030"), "nobody new gets in");
        stage.verify_trail();
        disk.make_room();
        for (place, wire) in wires.iter_mut().enumerate() {
            until_taken(wire, &format!("again-{round}-{place}"), &mut witness);
        }
        stage.verify_trail();
        let events = stage.trail().into_iter().filter(|record| record.0["journal"]["event"] == "resumed");
        let counts: Vec<_> = events.map(|event| event.0["journal"]["refused"].as_u64().unwrap()).collect();
        assert!(counts.len() == round + 1 && counts[round] > 0, "it is on record how many were refused: {counts:?}");
    }
    let is_said = |line: &&String| line.contains("the disk of the audit log is full");
    assert_eq!(stage.proxy.log.all().iter().filter(is_said).count(), 3, "once for each time");
    restart_without_room(&mut stage, &disk);
    witness.restarted(&stage);
    println!("{refused} statements of three sessions were refused on a disk of 1 MiB, and every session lived");
    witness.compare(&mut stage, "a full disk");
}

/// Until the segment that is there, and the one that is prepared, are full too.
fn write_until_full(wire: &mut Wire, round: usize, witness: &mut Witness) {
    for turn in 0..1000 {
        let name = format!("full-{round}-{turn}");
        let text = format!("/* {name} */ insert into load values (left('{}', 9))", "x".repeat(15_000));
        wire.write(&query(&text));
        let told = heard(wire, 1);
        witness.heard(vec![(name, told.clone())]);
        match told {
            Told::Done => {}
            Told::Error(code) if code == "58030" => return,
            told => panic!("turn {turn}: {told:?}"),
        }
    }
    panic!("the disk does not get full");
}

/// Tries until a statement is taken; the session must live all the time.
fn until_taken(wire: &mut Wire, name: &str, witness: &mut Witness) {
    let deadline = Instant::now() + PATIENCE;
    for turn in 0.. {
        let name = format!("{name}-{turn}");
        wire.write(&query(&format!("/* {name} */ insert into load values ('again')")));
        let told = heard(wire, 1);
        witness.heard(vec![(name, told.clone())]);
        match told {
            Told::Done => return,
            Told::Error(code) if code == "58030" => {}
            told => panic!("{told:?}"),
        }
        assert!(Instant::now() < deadline, "there is room, and nothing is taken");
    }
}

/// A start while there is no room refuses with the reason, or is well; when there is room it is well.
fn restart_without_room(stage: &mut Stage, disk: &SmallDisk) {
    disk.fill();
    stage.proxy.kill();
    match Proxy::start_again(stage.folder(), Vec::new()) {
        Ok(started) => drop(started),
        Err(ended) => {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.log.contains("No space left on device"), "{ended:?}");
        }
    }
    stage.verify_trail();
    disk.make_room();
    stage.proxy = Proxy::start_again(stage.folder(), Vec::new()).unwrap_or_else(|ended| panic!("{ended:?}"));
    assert!(stage.proxy.up_after < RESTART_MAX, "{:?}", stage.proxy.up_after);
    stage.verify_trail();
}

#[test]
fn c1_a_disk_that_fills_up_is_an_alarm_from_eighty_percent_on() {
    let (mut stage, disk) = on_a_small_disk();
    for (percent, alarmed) in [(50, false), (75, false), (81, true), (95, true)] {
        stage.proxy.kill();
        disk.fill_to(percent);
        stage.proxy = Proxy::start_again(stage.folder(), Vec::new()).unwrap_or_else(|ended| panic!("{ended:?}"));
        let line = stage.proxy.log.all().iter().find_map(|line| said(line, "the disk of the audit log is filling up"));
        assert_eq!(line.is_some(), alarmed, "{percent} %: {:?}", stage.proxy.log.all());
        if let Some(line) = line {
            assert!(line["used_percent"].as_u64().unwrap() >= percent, "{line}");
        }
    }
}
