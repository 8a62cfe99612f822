//! Which trie nodes may go: a node that block `n` made obsolete is needed by states before `n` only.

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::{NodeChanges, StoreError};

/// (block that made it obsolete, node key).
const DEATHS: TableDefinition<'_, (u32, &[u8]), ()> = TableDefinition::new("deaths");
/// Node key to the block that made it obsolete, to find it when it comes back to life.
const DEATH_OF: TableDefinition<'_, &[u8], u32> = TableDefinition::new("death_of");

/// Removals per block: bounds the pause when the history was shortened.
const REMOVALS_PER_BLOCK: usize = 100_000;

pub(super) fn prepare(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(DEATHS)?;
    write.open_table(DEATH_OF)?;
    Ok(())
}

/// Stores the nodes block `number` added and notes those it made obsolete.
pub(super) fn apply(
    write: &WriteTransaction,
    nodes: &mut Table<'_, &'static [u8], &'static [u8]>,
    number: u32,
    changes: &NodeChanges,
) -> Result<(), StoreError> {
    let mut deaths = write.open_table(DEATHS)?;
    let mut death_of = write.open_table(DEATH_OF)?;
    for (key, (value, count)) in changes {
        let key = key.as_slice();
        if *count > 0 {
            nodes.insert(key, value.as_slice())?;
            let died = death_of.remove(key)?.map(|died| died.value());
            if let Some(died) = died {
                deaths.remove((died, key))?;
            }
        } else if *count < 0 {
            deaths.insert((number, key), ())?;
            death_of.insert(key, number)?;
        }
    }
    Ok(())
}

/// Removes what only states before `oldest` need.
pub(super) fn forget_before(
    write: &WriteTransaction,
    nodes: &mut Table<'_, &'static [u8], &'static [u8]>,
    oldest: u32,
) -> Result<(), StoreError> {
    let mut deaths = write.open_table(DEATHS)?;
    let mut death_of = write.open_table(DEATH_OF)?;
    let mut gone: Vec<(u32, Vec<u8>)> = Vec::new();
    let end: (u32, &[u8]) = (oldest.saturating_add(1), &[]);
    for entry in deaths.range(..end)?.take(REMOVALS_PER_BLOCK) {
        let (key, _) = entry?;
        let (number, node) = key.value();
        gone.push((number, node.to_vec()));
    }
    for (number, node) in &gone {
        nodes.remove(node.as_slice())?;
        death_of.remove(node.as_slice())?;
        deaths.remove((*number, node.as_slice()))?;
    }
    Ok(())
}
