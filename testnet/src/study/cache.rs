//! The study's folder: finished runs, so that an interrupted study resumes, and the report.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use glia_protocol::ContentHash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::write_atomically;

/// Bytes of a finished run that are read: a run of 1,500 items has about one million.
const MAX_RUN: u64 = 256 * 1024 * 1024;

/// The folder of a study.
#[derive(Debug, Clone)]
pub struct Folder {
    out: PathBuf,
    program: ContentHash,
}

#[derive(Deserialize)]
struct Kept<T> {
    key: String,
    run: T,
}

#[derive(Serialize)]
struct Keep<'a, T> {
    key: String,
    run: &'a T,
}

impl Folder {
    /// Opens `out`, making it if need be, and proves that it can be written. `program` is the glia that is measured:
    /// runs of another one are not believed.
    ///
    /// # Errors
    /// When the folder cannot be written or the program cannot be read.
    pub fn open(out: &Path, program: &Path) -> Result<Self> {
        prepare(out)?;
        let runs = out.join("runs");
        std::fs::create_dir_all(&runs).with_context(|| format!("cannot make the folder {}", runs.display()))?;
        let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        Ok(Self { out: out.to_owned(), program: ContentHash::of(&bytes) })
    }

    /// Hash of the program that is measured.
    #[must_use]
    pub fn program(&self) -> String {
        self.program.to_string()
    }

    /// The finished run called `name`, if there is one that `settings` and this program made.
    #[must_use]
    pub fn find<T: DeserializeOwned>(&self, name: &str, settings: &str) -> Option<T> {
        let mut bytes = Vec::new();
        File::open(self.path(name)).ok()?.take(MAX_RUN).read_to_end(&mut bytes).ok()?;
        // A file that was damaged is a run that was not made.
        let kept: Kept<T> = serde_json::from_slice(&bytes).ok()?;
        (kept.key == self.key(settings)).then_some(kept.run)
    }

    /// Keeps a finished run.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep<T: Serialize>(&self, name: &str, settings: &str, run: &T) -> Result<()> {
        let path = self.path(name);
        let bytes = serde_json::to_vec(&Keep { key: self.key(settings), run })?;
        write_atomically(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.join("runs").join(format!("{name}.json"))
    }

    fn key(&self, settings: &str) -> String {
        ContentHash::of(format!("{}\n{settings}", self.program).as_bytes()).to_string()
    }
}

/// Makes `out` if need be and proves that it can be written.
///
/// # Errors
/// When it cannot.
pub fn prepare(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let probe = out.join(".glia-eval");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write into {}; name another folder with --out", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_settings_and_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("glia");
        std::fs::write(&program, b"one").unwrap();
        let out = dir.path().join("out");
        let folder = Folder::open(&out, &program).unwrap();
        assert_eq!(folder.find::<Vec<u8>>("a", "k = 4"), None);
        folder.keep("a", "k = 4", &vec![1u8, 2]).unwrap();
        assert_eq!(folder.find::<Vec<u8>>("a", "k = 4"), Some(vec![1, 2]));
        assert_eq!(folder.find::<Vec<u8>>("a", "k = 8"), None, "other settings");
        std::fs::write(&program, b"two").unwrap();
        let rebuilt = Folder::open(&out, &program).unwrap();
        assert_eq!(rebuilt.find::<Vec<u8>>("a", "k = 4"), None, "another program");
        std::fs::write(out.join("runs/a.json"), b"{\"key\":").unwrap();
        assert_eq!(folder.find::<Vec<u8>>("a", "k = 4"), None, "a damaged file");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(prepare(&file.join("out")).unwrap_err().to_string().contains("cannot make the folder"));
        assert!(prepare(&file).is_err());
    }
}
