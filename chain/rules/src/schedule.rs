//! When an epoch is due and when a uid counts as inactive.

/// A subnet whose epoch has not run for this many blocks is due whatever its schedule says.
pub const MAX_BLOCKS_WITHOUT_EPOCH: u64 = 50_400;

/// Blocks until the next regular epoch: `last_epoch_block + tempo − block`, zero when overdue. [`u64::MAX`] for tempo zero: never.
#[must_use]
pub fn blocks_until_next_auto_epoch(last_epoch_block: u64, tempo: u16, block: u64) -> u64 {
    if tempo == 0 {
        return u64::MAX;
    }
    last_epoch_block.saturating_add(u64::from(tempo)).saturating_sub(block)
}

/// Whether an epoch runs at `block`: never with tempo zero; otherwise when the tempo has passed, when a triggered epoch (`pending_at`,
/// zero for none) is reached, or when none has run for more than [`MAX_BLOCKS_WITHOUT_EPOCH`].
#[must_use]
pub fn epoch_is_due(
    last_epoch_block: u64,
    pending_at: u64,
    blocks_since_last_step: u64,
    tempo: u16,
    block: u64,
) -> bool {
    tempo != 0
        && (block.saturating_sub(last_epoch_block) >= u64::from(tempo)
            || (pending_at != 0 && block >= pending_at)
            || blocks_since_last_step > MAX_BLOCKS_WITHOUT_EPOCH)
}

/// Where the clock of a new subnet starts, so that subnets do not all run in one block: `block − netuid mod tempo`.
#[must_use]
pub fn first_epoch_block(block: u64, netuid: u16, tempo: u16) -> u64 {
    block.saturating_sub(u64::from(netuid.checked_rem(tempo).unwrap_or(0)))
}

/// Blocks without an update after which a uid is inactive: `max(1, factor · tempo / 1000)`.
#[must_use]
pub fn activity_cutoff(factor_milli: u32, tempo: u16) -> u64 {
    // Both factors fit 48 bits together.
    (u64::from(factor_milli) * u64::from(tempo) / 1000).max(1)
}
