//! A secret of 32 bytes in a file of 64 hexadecimal digits: made once, read at every start, never overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rand::TryRngCore as _;

use super::IdentityError;

/// Digits of a seed.
const DIGITS: usize = 64;
/// Bytes read of a file: the digits, and room to see that something else follows them.
const MAX_READ: u64 = 128;

/// Loads the seed in the file `path`, or makes a new one there (mode 0600) from the system's randomness. The file
/// appears whole or not at all, and of two processes that make it at once both get the same seed. A file that is no
/// seed is refused and left as it is.
pub fn load_or_create_seed(path: &Path) -> Result<[u8; 32], IdentityError> {
    let failed = |source| IdentityError::File { path: path.display().to_string(), source };
    match read(path) {
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    let seed = new_seed()?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let suffix: String = new_seed()?.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let temporary = folder.join(format!(".key-{suffix}"));
    // A link, unlike a rename, never replaces a file that somebody else made meanwhile.
    let made = write(&temporary, &seed).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match made {
        Ok(()) => {
            removed.and_then(|()| sync_folder(folder)).map_err(failed)?;
            Ok(seed)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(e) => Err(failed(e)),
    }
}

/// 32 bytes of the system's randomness.
pub(super) fn new_seed() -> Result<[u8; 32], IdentityError> {
    let mut seed = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|e| IdentityError::Randomness(e.to_string()))?;
    Ok(seed)
}

fn read(path: &Path) -> Result<[u8; 32], IdentityError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_READ).read_to_end(&mut bytes))
        .map_err(|source| IdentityError::File { path: path.display().to_string(), source })?;
    parse(bytes.trim_ascii_end()).ok_or_else(|| IdentityError::Malformed(path.display().to_string()))
}

fn parse(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != DIGITS {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(seed)
}

fn write(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let text: String = seed.iter().map(|b| format!("{b:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// The name of a new file survives a power cut only once its folder is on disk too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_survives_a_restart_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("hotkey");
        let first = load_or_create_seed(&path).unwrap();
        assert_eq!(load_or_create_seed(&path).unwrap(), first);
        assert_ne!(load_or_create_seed(&folder.path().join("other")).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn two_who_make_it_at_once_get_the_same_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        let start = std::sync::Barrier::new(8);
        let seeds: Vec<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                load_or_create_seed(&path).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seeds.iter().all(|seed| *seed == seeds[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn digits_of_either_case_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        fs::write(&path, "aB".repeat(32) + "\n").unwrap();
        assert_eq!(load_or_create_seed(&path).unwrap(), [0xab; 32]);
    }

    #[test]
    fn a_broken_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        let broken: [Vec<u8>; 6] = [
            Vec::new(),
            b"zz".to_vec(),
            b"+1".repeat(32),
            vec![0xff; 64],
            [b"ab".repeat(32), b" and more".to_vec()].concat(),
            b"ab".repeat(5000),
        ];
        for bytes in broken {
            fs::write(&path, &bytes).unwrap();
            let error = load_or_create_seed(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Malformed(_)), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        let error = load_or_create_seed(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
}
