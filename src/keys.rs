//! Chain keys on disk: one 32-byte seed per file, in hexadecimal, readable by the owner only.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use glia_chain_client::Keypair;

/// The operating key and the owner key of one neuron.
pub(crate) struct NeuronKeys {
    /// Signs weights, axons and bindings.
    pub(crate) hotkey: Keypair,
    /// Owns the funds.
    pub(crate) coldkey: Keypair,
}

/// Loads `hotkey` and `coldkey` from `dir`, making them on first use.
pub(crate) fn load_or_create(dir: &Path) -> anyhow::Result<NeuronKeys> {
    Ok(NeuronKeys {
        hotkey: load_or_create_one(&dir.join("hotkey"))?,
        coldkey: load_or_create_one(&dir.join("coldkey"))?,
    })
}

fn load_or_create_one(path: &Path) -> anyhow::Result<Keypair> {
    let seed = match std::fs::read_to_string(path) {
        Ok(text) => parse_seed(text.trim())
            .with_context(|| format!("{} does not hold a key (64 hexadecimal digits)", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path)?,
        Err(error) => return Err(error).with_context(|| format!("cannot read the key {}", path.display())),
    };
    Ok(Keypair::from_seed(seed)?)
}

fn parse_seed(text: &str) -> anyhow::Result<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("it has {} characters", text.len());
    }
    let mut seed = [0; 32];
    for (i, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16)?;
    }
    Ok(seed)
}

fn create(path: &Path) -> anyhow::Result<[u8; 32]> {
    let seed: [u8; 32] = rand::random();
    let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let partial = path.with_extension("partial");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> std::io::Result<()> {
        let mut file = options.open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().with_context(|| format!("cannot write the key {}", path.display()))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap();
        let again = load_or_create(dir.path()).unwrap();
        assert_eq!(first.hotkey.account(), again.hotkey.account());
        assert_ne!(first.hotkey.account(), first.coldkey.account());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join("hotkey")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_broken_key_file_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hotkey"), "not a key").unwrap();
        let error = load_or_create(dir.path()).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("hotkey"), "{error:#}");
        assert_eq!(std::fs::read_to_string(dir.path().join("hotkey")).unwrap(), "not a key");
    }
}
