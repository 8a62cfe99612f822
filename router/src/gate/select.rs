//! From logits to members, standbys and weights.

use glia_protocol::Hotkey;
use rand::Rng;

use super::softmax;

/// Largest share of the weight an unproven expert gets beside proven ones.
const NEWCOMER_WEIGHT: f32 = 0.25;

/// One expert that could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its operator; one slot per operator and input.
    pub hotkey: Hotkey,
    /// Those measured to answer alike, `None` while not measured; one slot per cluster and input. What it *claims* to be
    /// takes nobody's slot.
    pub cluster: Option<u32>,
    /// Whether it answered enough probes.
    pub proven: bool,
    /// Whether only exploration may call it.
    pub shut_out: bool,
    /// Whether it did not answer its last calls: it is called only when hardly anybody else is there.
    pub slow: bool,
}

impl Slot {
    /// Whether both would be the same voice twice.
    fn clashes(&self, other: &Self) -> bool {
        self.hotkey == other.hotkey || (self.cluster.is_some() && self.cluster == other.cluster)
    }
}

/// Everybody who could be chosen for the inputs of one request.
#[derive(Debug, Clone, Default)]
pub struct Bench {
    /// In directory order.
    pub slots: Vec<Slot>,
    /// Members without which even the slow are called.
    pub least: usize,
}

/// Who is asked for one input. Indices into the bench.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Asked at once, best first.
    pub members: Vec<usize>,
    /// Asked when a member fails or is slow, best first.
    pub standbys: Vec<usize>,
    /// Chance with which each expert of the bench was asked at once, given its logits (for inverse propensity).
    pub propensity: Vec<(usize, f32)>,
}

/// Chooses at most `k` members and `standbys` more for one input with one logit per slot.
///
/// At most one per operator and per cluster; at most one newcomer while proven experts fill the other slots; the slow only
/// where there are too few members without them; those shut out only by exploration, which with chance `explore` gives the
/// last slot to anybody not chosen who is not slow.
pub fn select<R: Rng + ?Sized>(
    bench: &Bench,
    logits: &[f32],
    k: usize,
    standbys: usize,
    explore: Option<(f64, &mut R)>,
) -> Selection {
    let mut order: Vec<usize> = (0..bench.slots.len().min(logits.len())).collect();
    // Ties are broken by place, so the choice depends on nothing but its arguments.
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));

    let mut chosen: Vec<usize> = Vec::with_capacity(k + standbys);
    let clashes = |chosen: &[usize], i: usize| chosen.iter().any(|&c| bench.slots[c].clashes(&bench.slots[i]));
    let mut newcomers = 0;
    for &i in &order {
        let slot = &bench.slots[i];
        if chosen.len() == k + standbys {
            break;
        }
        if slot.shut_out || slot.slow || clashes(&chosen, i) || (!slot.proven && newcomers == 1) {
            continue;
        }
        newcomers += usize::from(!slot.proven);
        chosen.push(i);
    }
    // Not enough proven experts: newcomers are better than an empty slot, the slow better than no answer.
    for (slow, wanted) in [(false, k + standbys), (true, bench.least.clamp(1, k.max(1)))] {
        for &i in &order {
            let slot = &bench.slots[i];
            if chosen.len() >= wanted {
                break;
            }
            if slot.slow == slow && !slot.shut_out && !chosen.contains(&i) && !clashes(&chosen, i) {
                chosen.push(i);
            }
        }
    }
    let mut members = chosen;
    let mut reserve = members.split_off(members.len().min(k));

    let mut propensity: Vec<(usize, f32)> = members.iter().map(|&i| (i, 1.0)).collect();
    if let Some((chance, rng)) = explore {
        let kept = members.len().saturating_sub(usize::from(members.len() == k));
        let free = |i: &usize| !bench.slots[*i].slow && !members.contains(i) && !clashes(&members[..kept], *i);
        let others: Vec<usize> = order.iter().copied().filter(free).collect();
        if !others.is_empty() && chance > 0.0 {
            let explores = rng.random_bool(chance.clamp(0.0, 1.0));
            let lucky = others[rng.random_range(0..others.len())];
            if explores {
                propensity.truncate(kept);
                propensity.push((lucky, (chance / others.len() as f64) as f32));
                reserve.retain(|&i| i != lucky);
                // The displaced member is the best standby.
                reserve.splice(0..0, members.drain(kept..));
                reserve.truncate(standbys);
                members.push(lucky);
            } else if let Some(last) = propensity.get_mut(kept) {
                last.1 = (1.0 - chance) as f32;
            }
        }
    }
    Selection { members, standbys: reserve, propensity }
}

/// How much an expert's logit is moved for one item when members are *chosen* (never when they are weighed): between
/// −`width` and `width`, the same for the same item and expert. Experts that are about equally good take turns so, and
/// all of them go on being measured.
#[must_use]
pub fn turn(item: u64, expert: u64, width: f32) -> f32 {
    // One round of SplitMix64.
    let mut z = (item ^ expert.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    // 24 bits: exact in f32.
    ((z >> 40) as f32 / 8_388_608.0 - 1.0) * width
}

/// Weights of the experts that answered: softmax of their logits, with a ceiling on newcomers beside proven experts.
#[must_use]
pub fn weigh(logits: &[f32], proven: &[bool]) -> Vec<f32> {
    let mut weights = logits.to_vec();
    softmax(&mut weights);
    let capped = |i: usize| !proven.get(i).copied().unwrap_or(false);
    let trusted: f32 = (0..weights.len()).filter(|&i| !capped(i)).map(|i| weights[i]).sum();
    let newcomers = 1.0 - trusted;
    if !(0..weights.len()).any(|i| !capped(i)) || newcomers <= NEWCOMER_WEIGHT {
        return weights;
    }
    let proven_count = (0..weights.len()).filter(|&i| !capped(i)).count() as f32;
    for (i, weight) in weights.iter_mut().enumerate() {
        *weight = if capped(i) {
            *weight / newcomers * NEWCOMER_WEIGHT
        } else if trusted > 0.0 {
            *weight / trusted * (1.0 - NEWCOMER_WEIGHT)
        } else {
            (1.0 - NEWCOMER_WEIGHT) / proven_count
        };
    }
    weights
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn slot(n: u8) -> Slot {
        Slot { hotkey: Hotkey([n; 32]), cluster: Some(u32::from(n)), proven: true, shut_out: false, slow: false }
    }

    fn bench(slots: Vec<Slot>) -> Bench {
        Bench { slots, least: 1 }
    }

    fn plain(bench: &Bench, logits: &[f32], k: usize, standbys: usize) -> Selection {
        select::<ChaCha8Rng>(bench, logits, k, standbys, None)
    }

    #[test]
    fn the_best_are_members_and_the_next_best_standbys() {
        let bench = bench((0..5).map(slot).collect());
        let selection = plain(&bench, &[0.0, 4.0, 1.0, 3.0, 2.0], 2, 2);
        assert_eq!((selection.members, selection.standbys), (vec![1, 3], vec![4, 2]));
    }

    #[test]
    fn one_operator_and_one_cluster_get_one_slot() {
        let same_operator = Slot { hotkey: Hotkey([0; 32]), ..slot(1) };
        let same_answers = Slot { cluster: Some(0), ..slot(2) };
        let bench = bench(vec![slot(0), same_operator, same_answers, slot(3)]);
        assert_eq!(plain(&bench, &[4.0, 3.0, 2.0, 1.0], 4, 0).members, [0, 3]);
    }

    #[test]
    fn those_not_measured_yet_take_nobodys_slot() {
        let unknown = |n| Slot { cluster: None, ..slot(n) };
        let bench = bench(vec![unknown(0), unknown(1), slot(2)]);
        assert_eq!(plain(&bench, &[3.0, 2.0, 1.0], 3, 0).members, [0, 1, 2]);
    }

    #[test]
    fn the_slow_are_called_only_when_there_are_too_few_others() {
        let slow = |n| Slot { slow: true, ..slot(n) };
        let mixed = bench(vec![slow(0), slot(1), slow(2), slot(3)]);
        let chosen = plain(&mixed, &[4.0, 3.0, 2.0, 1.0], 3, 2);
        assert_eq!((chosen.members, chosen.standbys), (vec![1, 3], vec![]));
        let two_at_least = Bench { least: 2, slots: vec![slow(0), slow(1), slot(2)] };
        assert_eq!(plain(&two_at_least, &[4.0, 3.0, 2.0], 3, 2).members, [2, 0]);
        let nobody_else = bench(vec![slow(0), slow(1)]);
        assert_eq!(plain(&nobody_else, &[1.0, 2.0], 2, 2).members, [1]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let explored = select(&mixed, &[4.0, 3.0, 2.0, 1.0], 1, 0, Some((1.0, &mut rng)));
        assert_eq!(explored.members, [3], "exploration keeps away from them");
    }

    #[test]
    fn newcomers_share_one_slot_unless_nobody_else_is_there() {
        let new = |n| Slot { proven: false, ..slot(n) };
        let mixed = bench(vec![new(0), new(1), slot(2), slot(3)]);
        assert_eq!(plain(&mixed, &[4.0, 3.0, 2.0, 1.0], 3, 0).members, [0, 2, 3]);
        let all_new = bench((0..4).map(new).collect());
        assert_eq!(plain(&all_new, &[4.0, 3.0, 2.0, 1.0], 3, 0).members, [0, 1, 2]);
    }

    #[test]
    fn the_shut_out_are_called_by_exploration_only() {
        let out = Slot { shut_out: true, ..slot(0) };
        let bench = bench(vec![out, slot(1), slot(2)]);
        assert_eq!(plain(&bench, &[9.0, 1.0, 0.0], 3, 0).members, [1, 2]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let explored = select(&bench, &[9.0, 1.0, 0.0], 2, 1, Some((1.0, &mut rng)));
        assert_eq!(explored.members, [1, 0]);
        assert_eq!(explored.standbys, [2]);
        assert_eq!(explored.propensity, [(1, 1.0), (0, 1.0)]);
    }

    #[test]
    fn exploration_is_as_rare_as_its_propensity_says() {
        let bench = bench((0..6).map(slot).collect());
        let logits = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0];
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut seen = 0;
        for _ in 0..4000 {
            let selection = select(&bench, &logits, 2, 0, Some((0.4, &mut rng)));
            if let Some(&(_, p)) = selection.propensity.iter().find(|(i, _)| *i == 4) {
                assert!((p - 0.1).abs() < 1e-6);
                seen += 1;
            }
        }
        assert!((300..500).contains(&seen), "{seen} of 4000");
    }

    #[test]
    fn turns_are_fair_and_bounded() {
        let turns: Vec<f32> = (0..10_000).map(|item| turn(item, 7, 0.5)).collect();
        assert!(turns.iter().all(|t| t.abs() <= 0.5));
        let mean = turns.iter().sum::<f32>() / turns.len() as f32;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((0..64).any(|expert| turn(1, expert, 0.5) > turn(1, expert + 1, 0.5)));
    }

    #[test]
    fn newcomers_beside_proven_experts_get_a_quarter_at_most() {
        let weights = weigh(&[5.0, 0.0], &[false, true]);
        assert!((weights[0] - 0.25).abs() < 1e-6 && (weights[1] - 0.75).abs() < 1e-6);
        let alone = weigh(&[5.0, 0.0], &[false, false]);
        assert!(alone[0] > 0.9);
    }
}
