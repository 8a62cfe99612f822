//! Chain keys on disk: one 32-byte seed per file, readable by the owner only.

use std::path::Path;

use glia_chain_client::Keypair;
use glia_peer::identity::load_or_create_seed;

/// The operating key and the owner key of one neuron.
pub(crate) struct NeuronKeys {
    /// Signs weights, axons and bindings.
    pub(crate) hotkey: Keypair,
    /// Owns the funds.
    pub(crate) coldkey: Keypair,
}

/// Loads `hotkey` and `coldkey` from `dir`, making them on first use.
pub(crate) fn load_or_create(dir: &Path) -> anyhow::Result<NeuronKeys> {
    let key = |name: &str| anyhow::Ok(Keypair::from_seed(load_or_create_seed(&dir.join(name))?)?);
    Ok(NeuronKeys { hotkey: key("hotkey")?, coldkey: key("coldkey")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_private_and_found_again() {
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
