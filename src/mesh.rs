//! Entering the mesh: who this process is, and whether anybody is there. Before anything is paid for.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use glia_peer::{HotkeySigner, Identity, Network, NetworkConfig};
use glia_protocol::NetworkId;

/// How long a bootstrap peer may take to shake hands.
const MEET: Duration = Duration::from_secs(10);
/// How often to look whether one has.
const LOOK: Duration = Duration::from_millis(25);

/// Where and how to enter.
pub(crate) struct Entrance<'a> {
    /// Name of the network.
    pub(crate) network: &'a str,
    /// Addresses of peers already in it.
    pub(crate) bootstrap: &'a [String],
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Folder of the peer's key.
    pub(crate) dir: &'a Path,
    /// Signs for the hotkey.
    pub(crate) hotkey: Option<HotkeySigner>,
}

/// Starts a peer and waits until one of its bootstrap peers has shaken hands.
pub(crate) async fn enter(entrance: Entrance<'_>) -> anyhow::Result<Network> {
    let id: NetworkId = entrance.network.parse()?;
    let mut config =
        NetworkConfig::new(id, Identity::load_or_create(&entrance.dir.join("peer"))?).listen(entrance.listen);
    config.bootstrap = entrance.bootstrap.to_vec();
    config.hotkey = entrance.hotkey;
    let network = Network::start(config).await.context("the peer could not start")?;
    let met = async {
        while network.connected_peers() == 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(MEET, met).await.is_err() {
        network.stop().await;
        bail!(
            "no peer of network {} answered within {} s at {}: check the address (--bootstrap) and the name of the \
             network (--network); nothing was registered or paid",
            entrance.network,
            MEET.as_secs(),
            entrance.bootstrap.join(", ")
        );
    }
    Ok(network)
}

/// Held while a process uses a data directory, so that no second one takes its keys.
pub(crate) struct Claim(#[allow(dead_code, reason = "held for its lock")] File);

/// Claims `dir` for this process.
pub(crate) fn claim(dir: &Path) -> anyhow::Result<Claim> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Claim(file)),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another process uses the keys in {}: two with the same keys would fight for one uid; give this one another \
             --data-dir or --name",
            dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// A name that may become part of a path and of tables.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    if name.parse::<glia_protocol::SubnetName>().is_err() {
        bail!("the name {name:?} must be 1 to 32 characters of a-z, 0-9 and '-'");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_by_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = claim(dir.path()).unwrap();
        let error = claim(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(first);
        claim(dir.path()).unwrap();
    }

    #[test]
    fn a_name_is_never_a_path() {
        for name in ["../evil", "a/b", "", "Ä", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("expert-0").is_ok());
    }
}
