//! The folder of the audit trail.
//!
//! Promises: what is tried out in it is removed again; a folder that is missing is not made.
//! Deliberately not here: the records in it, but for the last segment, which a start reads too; `audit verify` reads all.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{StatFs, statfs};

use super::report::Report;
use crate::causes;
use crate::cli::audit::verify::{BETWEEN_LOOKS, LOOKS};
use crate::trail::journal::{self, Journal};

const SUBJECT: &str = "audit";

/// With less, a busy day may fill the disk; a full disk stops every statement.
const FREE_BYTES: u64 = 1 << 30;

/// File systems by the number that statfs(2) gives them: those where a sync may mean less than it says.
const ODD: &[(i64, &str, &str)] = &[
    (0x0102_1994, "tmpfs", "it is in memory: a restart of this machine loses every record"),
    (0x8584_58f6, "ramfs", "it is in memory: a restart of this machine loses every record"),
    (0x6969, "NFS", "a sync is as durable as the server's settings make it"),
    (0xff53_4d42, "CIFS", "a sync is as durable as the server's settings make it"),
    (0xfe53_4d42, "SMB", "a sync is as durable as the server's settings make it"),
    (0x6573_5546, "FUSE", "a sync is as durable as the program behind it makes it"),
    (0x794c_7630, "overlayfs", "it goes away with its container"),
];

pub(super) fn check(report: &mut Report, dir: &Path) {
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {
            if metadata.mode() & 0o077 != 0 {
                let message = format!(
                    "others may look into `{shown}`: it holds every statement (mode {:o})",
                    metadata.mode() & 0o777
                );
                report.warn(SUBJECT, message, "chmod 0700");
            }
        }
        Ok(_) => return report.fail(SUBJECT, format!("`{shown}` is no folder"), "see `audit.dir`"),
        Err(error) => {
            let remedy = format!("install -d -m 0700 {shown}, owned by the user that runs the proxy");
            return report.fail(SUBJECT, format!("`{shown}` cannot be used: {error}"), &remedy);
        }
    }
    if let Err(error) = try_out(dir) {
        let remedy = "see its owner and permissions, and run `check` as the user that runs the proxy";
        return report.fail(SUBJECT, format!("nothing can be written in `{shown}`: {error}"), remedy);
    }
    report.ok(SUBJECT, format!("`{shown}` can be written, and synced"));
    if let Err(error) = continued(dir) {
        report.fail(SUBJECT, causes::line(&error), "see docs/operations.md, \"What a broken disk does\"");
    }
    if let Ok(stat) = statfs(dir) {
        disk(report, &stat);
    }
    report.warn(
        SUBJECT,
        "no outside anchor: who rules this machine could replace the whole trail unseen".to_owned(),
        "this version has none; copy the trail elsewhere, out of this machine's reach",
    );
}

fn disk(report: &mut Report, stat: &StatFs) {
    if let Some((_, name, why)) = ODD.iter().find(|(magic, ..)| i128::from(*magic) == i128::from(stat.f_type)) {
        report.warn(SUBJECT, format!("the folder is on {name}: {why}"), "use a local disk, with ext4 or XFS");
    }
    let block = u64::try_from(stat.f_bsize).unwrap_or_default();
    let free = stat.f_bavail.saturating_mul(block);
    let message = format!("{} MiB free", free >> 20);
    if free < FREE_BYTES {
        report.warn(SUBJECT, message, "make room: on a full disk every statement is refused");
    } else {
        report.ok(SUBJECT, message);
    }
}

/// Whether a start could go on with the journal that is there. While a proxy writes to it, what seems damaged is looked at
/// again.
fn continued(dir: &Path) -> Result<(), journal::Error> {
    let mut looks = 0;
    loop {
        match Journal::examine(dir) {
            Err(_) if looks < LOOKS => looks += 1,
            examined => return examined,
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// Makes a file, syncs it, removes it.
fn try_out(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".check-{}", std::process::id()));
    let outcome = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, b"safe-boundary check\n")?;
        file.sync_all()
    })();
    let _may_not_exist = fs::remove_file(&path);
    outcome
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::report::Verdict;
    use super::*;
    use crate::cli::Color;

    fn said(dir: &Path) -> Vec<(Verdict, String)> {
        let mut report = Report::new(true, Color::Never);
        check(&mut report, dir);
        let shown = dir.display().to_string();
        report.lines().iter().map(|line| (line.verdict, line.message.replace(&shown, "DIR"))).collect()
    }

    #[test]
    fn folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let found = said(dir.path());
        assert_eq!(found[0], (Verdict::Ok, "`DIR` can be written, and synced".to_owned()));
        assert!(found.iter().any(|(_, message)| message.ends_with("MiB free")));
        assert!(found.last().unwrap().1.starts_with("no outside anchor"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let journal = dir.path().join("journal");
        fs::create_dir(&journal).unwrap();
        let segment = journal.join("00000000000000000000.sbj");
        fs::write(&segment, [7; 200]).unwrap();
        let (verdict, message) = &said(dir.path())[1];
        assert_eq!(*verdict, Verdict::Fail);
        assert!(message.starts_with("the journal cannot be continued: "), "{message}");
        assert_eq!(fs::read(&segment).unwrap(), [7; 200]);
        fs::remove_dir_all(&journal).unwrap();

        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = "others may look into `DIR`: it holds every statement (mode 755)";
        assert_eq!(said(dir.path())[0], (Verdict::Warn, open.to_owned()));

        let missing = "`DIR` cannot be used: No such file or directory (os error 2)";
        assert_eq!(said(&dir.path().join("missing")), [(Verdict::Fail, missing.to_owned())]);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(said(&dir.path().join("file")), [(Verdict::Fail, "`DIR` is no folder".to_owned())]);
    }
}
