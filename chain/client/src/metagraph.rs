//! One subnet at one block: its schedule and everything known of each neuron.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use subxt::ext::scale_decode::DecodeAsType;

use crate::account::AccountId;
use crate::error::ReadError;
use crate::view::{Slot, View, account, number};

/// A full subnet holds 256 neurons; a chain that claims far more is not believed.
const MAX_NEURONS: u16 = 4096;

/// A subnet, all of it read at one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metagraph {
    /// The subnet.
    pub netuid: u16,
    /// The block it was read at.
    pub block: u64,
    /// Blocks between epochs; 0 means epochs never run.
    pub tempo: u16,
    /// The block of the last epoch.
    pub last_epoch_block: u64,
    /// Epochs run so far.
    pub epoch_index: u64,
    /// The neurons; `neurons[i].uid == i`.
    pub neurons: Vec<Neuron>,
}

/// One neuron of a subnet. Fractions are of 65535.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neuron {
    /// Its number in the subnet.
    pub uid: u16,
    /// The key that signs for it.
    pub hotkey: AccountId,
    /// The key that owns the hotkey.
    pub coldkey: AccountId,
    /// Where it serves, once announced.
    pub axon: Option<Axon>,
    /// Stake on the hotkey in this subnet, rao of alpha.
    pub stake: u64,
    /// Its share of the stake that counts in consensus, as a fraction of the largest.
    pub stake_weight: u16,
    /// The expert weights it set: `(uid, weight)`.
    pub weights: Vec<(u16, u16)>,
    /// Its bonds: `(uid, bond)`.
    pub bonds: Vec<(u16, u16)>,
    /// Share of the miners' reward.
    pub incentive: u16,
    /// Stake-weighted median of the weights on it.
    pub consensus: u16,
    /// Share of the validators' reward.
    pub dividends: u16,
    /// How much of its weights agreed with consensus.
    pub validator_trust: u16,
    /// Whether it may set weights that count.
    pub validator_permit: bool,
    /// What it earned in the last epoch, rao of alpha.
    pub emission: u64,
    /// The block of its last weights.
    pub last_update: u64,
    /// Whether it set weights recently enough.
    pub active: bool,
    /// The block it registered at.
    pub block_at_registration: u64,
}

/// Where a neuron serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axon {
    /// Address and port.
    pub addr: SocketAddr,
    /// The serving protocol's number, free for the subnet to define.
    pub protocol: u8,
    /// The serving software's version number.
    pub version: u32,
    /// The block it was announced at.
    pub block: u64,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct RawAxon {
    block: u64,
    version: u32,
    ip: u128,
    port: u16,
    ip_type: u8,
    protocol: u8,
}

impl RawAxon {
    /// `None` when nothing (or nonsense) was announced.
    fn axon(self) -> Option<Axon> {
        let ip = match self.ip_type {
            4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.ip).ok()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.ip)),
            _ => return None,
        };
        (self.port != 0).then_some(Axon {
            addr: SocketAddr::new(ip, self.port),
            protocol: self.protocol,
            version: self.version,
            block: self.block,
        })
    }
}

impl Metagraph {
    /// The neuron of a hotkey.
    #[must_use]
    pub fn neuron_of(&self, hotkey: &AccountId) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    pub(crate) async fn read(view: &View, netuid: u16) -> Result<Self, ReadError> {
        let subnet = |item| view.subtensor(item, vec![number(netuid)]);
        let neurons: u16 = view.get_or_default(subnet("SubnetworkN")?).await?;
        if neurons > MAX_NEURONS {
            return Err(ReadError::undecodable(
                "SubtensorModule.SubnetworkN",
                format!("{neurons} neurons are more than {MAX_NEURONS}"),
            ));
        }

        // First batch: what is keyed by subnet or uid.
        let items = [
            "Tempo",
            "LastEpochBlock",
            "SubnetEpochIndex",
            "StakeWeight",
            "Incentive",
            "Consensus",
            "Dividends",
            "ValidatorTrust",
            "ValidatorPermit",
            "Emission",
            "LastUpdate",
            "Active",
        ];
        let mut slots = Vec::with_capacity(items.len() + usize::from(neurons) * 4);
        for item in items {
            slots.push(subnet(item)?);
        }
        let per_uid = slots.len();
        for uid in 0..neurons {
            for item in ["Keys", "BlockAtRegistration", "Weights", "Bonds"] {
                slots.push(view.subtensor(item, vec![number(netuid), number(uid)])?);
            }
        }
        let fetched = view.fetch(&slots).await?;
        let fractions = |index: usize| -> Result<Vec<u16>, ReadError> {
            Ok(view.decode(&slots[index], &fetched)?.unwrap_or_default())
        };
        let tempo: u16 = view.decode(&slots[0], &fetched)?.unwrap_or_default();
        let last_epoch_block: u64 = view.decode(&slots[1], &fetched)?.unwrap_or_default();
        let epoch_index: u64 = view.decode(&slots[2], &fetched)?.unwrap_or_default();
        let stake_weight = fractions(3)?;
        let incentive = fractions(4)?;
        let consensus = fractions(5)?;
        let dividends = fractions(6)?;
        let validator_trust = fractions(7)?;
        let validator_permit: Vec<bool> = view.decode(&slots[8], &fetched)?.unwrap_or_default();
        let emission: Vec<u64> = view.decode(&slots[9], &fetched)?.unwrap_or_default();
        let last_update: Vec<u64> = view.decode(&slots[10], &fetched)?.unwrap_or_default();
        let active: Vec<bool> = view.decode(&slots[11], &fetched)?.unwrap_or_default();

        // Second batch: what is keyed by hotkey.
        let mut hotkeys = Vec::with_capacity(usize::from(neurons));
        for uid in 0..usize::from(neurons) {
            let slot = &slots[per_uid + uid * 4];
            let hotkey: [u8; 32] = view
                .decode(slot, &fetched)?
                .ok_or_else(|| ReadError::undecodable("SubtensorModule.Keys", format!("uid {uid} has no hotkey")))?;
            hotkeys.push(AccountId(hotkey));
        }
        let mut by_hotkey: Vec<Slot> = Vec::with_capacity(hotkeys.len() * 3);
        for hotkey in &hotkeys {
            by_hotkey.push(view.subtensor("Owner", vec![account(*hotkey)])?);
            by_hotkey.push(view.subtensor("Axons", vec![number(netuid), account(*hotkey)])?);
            by_hotkey.push(view.subtensor("TotalHotkeyAlpha", vec![account(*hotkey), number(netuid)])?);
        }
        let owned = view.fetch(&by_hotkey).await?;

        let mut out = Vec::with_capacity(hotkeys.len());
        for (uid, hotkey) in hotkeys.into_iter().enumerate() {
            let own = &slots[per_uid + uid * 4..];
            let keyed = &by_hotkey[uid * 3..];
            let coldkey: Option<[u8; 32]> = view.decode(&keyed[0], &owned)?;
            let axon: Option<RawAxon> = view.decode(&keyed[1], &owned)?;
            out.push(Neuron {
                // Below MAX_NEURONS, so the conversion cannot fail.
                uid: u16::try_from(uid).unwrap_or(u16::MAX),
                hotkey,
                coldkey: AccountId(coldkey.unwrap_or_default()),
                axon: axon.and_then(RawAxon::axon),
                stake: view.decode(&keyed[2], &owned)?.unwrap_or_default(),
                stake_weight: at(&stake_weight, uid),
                block_at_registration: view.decode(&own[1], &fetched)?.unwrap_or_default(),
                weights: view.decode(&own[2], &fetched)?.unwrap_or_default(),
                bonds: view.decode(&own[3], &fetched)?.unwrap_or_default(),
                incentive: at(&incentive, uid),
                consensus: at(&consensus, uid),
                dividends: at(&dividends, uid),
                validator_trust: at(&validator_trust, uid),
                validator_permit: at(&validator_permit, uid),
                emission: at(&emission, uid),
                last_update: at(&last_update, uid),
                active: at(&active, uid),
            });
        }
        Ok(Self { netuid, block: view.number, tempo, last_epoch_block, epoch_index, neurons: out })
    }
}

/// An element, or the type's zero: vectors of a subnet may be shorter than its neurons until the first epoch.
fn at<T: Copy + Default>(values: &[T], uid: usize) -> T {
    values.get(uid).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(ip: u128, port: u16, ip_type: u8) -> RawAxon {
        RawAxon { block: 7, version: 1, ip, port, ip_type, protocol: 4 }
    }

    #[test]
    fn an_axon_is_read_in_both_address_families() {
        let four = raw(0x0a00_0001, 9000, 4).axon().unwrap();
        assert_eq!(four.addr, "10.0.0.1:9000".parse().unwrap());
        let six = raw(1, 9000, 6).axon().unwrap();
        assert_eq!(six.addr, "[::1]:9000".parse().unwrap());
    }

    #[test]
    fn a_senseless_axon_is_none() {
        assert_eq!(raw(u128::MAX, 9000, 4).axon(), None);
        assert_eq!(raw(1, 0, 4).axon(), None);
        assert_eq!(raw(1, 9000, 5).axon(), None);
    }
}
