//! Writing files so that none is ever half there, and none is lost.
//!
//! Promises: a file appears whole, with its permissions, or not at all; unless told, none is replaced; what was written is
//! taken back unless it is kept, and what it replaced is there again.
//! Deliberately not here: what is written.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;

/// What was written so far. Dropped without [`Written::keep`], new files and folders go away again.
pub(super) struct Written {
    force: bool,
    files: Vec<PathBuf>,
    /// Files that were replaced, and where the old ones are.
    replaced: Vec<(PathBuf, PathBuf)>,
    folders: Vec<PathBuf>,
}

impl Written {
    pub(super) const fn new(force: bool) -> Self {
        Self { force, files: Vec::new(), replaced: Vec::new(), folders: Vec::new() }
    }

    /// Writes a file with these permissions.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
        if path.exists() && !self.force {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let new = beside(path, ".new");
        let outcome = put(&new, bytes, mode).and_then(|()| {
            if path.exists() {
                self.replaced.push((path.to_owned(), set_aside(path)?));
                return fs::rename(&new, path);
            }
            // Fails if somebody made the file meanwhile; a rename would replace it.
            fs::hard_link(&new, path)?;
            self.files.push(path.to_owned());
            fs::remove_file(&new)
        });
        if let Err(source) = outcome {
            let _may_not_exist = fs::remove_file(&new);
            return Err(unwritable(source));
        }
        Ok(())
    }

    /// Makes a folder with these permissions, if there is none.
    pub(super) fn folder(&mut self, path: &Path, mode: u32) -> Result<(), Error> {
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .map_err(|source| Error::Unwritable { path: path.to_owned(), source })?;
        self.folders.push(path.to_owned());
        Ok(())
    }

    /// All is well: nothing is taken back.
    pub(super) fn keep(mut self) {
        self.files.clear();
        for (_, old) in self.replaced.drain(..) {
            let _best_effort = fs::remove_file(old);
        }
        self.folders.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for file in &self.files {
            let _best_effort = fs::remove_file(file);
        }
        for (path, old) in self.replaced.iter().rev() {
            // It stays where it is if it does not go back.
            if fs::rename(old, path).is_ok() {
                let _same_file_was_still_there = fs::remove_file(old);
            }
        }
        for folder in self.folders.iter().rev() {
            let _only_if_empty = fs::remove_dir(folder);
        }
    }
}

/// Keeps the file under a name that nothing has; says which.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (1..=100).map(|n| beside(path, &format!(".before-init-{n}")));
    let old = names.into_iter().find(|old| fs::symlink_metadata(old).is_err());
    let old = old.ok_or_else(|| io::Error::other("a hundred files beside it are left by this program"))?;
    // A file of another's may not be linked, and some file systems link none.
    fs::hard_link(path, &old).or_else(|_| fs::copy(path, &old).map(drop))?;
    Ok(old)
}

/// The file's name with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _left_by_an_earlier_run = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
