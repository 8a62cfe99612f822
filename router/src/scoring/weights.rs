//! From worth to the row of u16 that is sent.
//!
//! Worth is clamped at 0, limited to the share the subnet allows one uid, scaled so that the largest is 65535, rounded;
//! zeros are left out, then the row is filled up to what the subnet asks for. No lowest quantile is dropped: that rule
//! takes from the least useful honest experts in a mesh without liars, while those who did not help, or whose audits
//! failed, are at 0 here already.

/// The weights to send, ascending by uid, for `worth` by uid.
///
/// When fewer than `min_allowed` remain, other `uids` are added with weight 0. Empty when nobody is worth anything: there
/// is nothing to say then. `max_limit` is the largest share of the sum one uid may have, of 65535.
#[must_use]
pub fn to_row(worth: &[(u16, f64)], min_allowed: u16, max_limit: u16, uids: &[u16]) -> Vec<(u16, u16)> {
    let mut row = scaled(&limited(worth, max_limit));
    if row.is_empty() {
        return row;
    }
    let needed = usize::from(min_allowed).min(uids.len());
    for &uid in uids {
        if row.len() >= needed {
            break;
        }
        if !row.iter().any(|(taken, _)| *taken == uid) {
            row.push((uid, 0));
        }
    }
    row.sort_unstable();
    row
}

/// Weight of somebody worth `worth` where the most is `largest`; 0 for what cannot be paid.
#[must_use]
pub fn scale(worth: f64, largest: f64) -> u16 {
    // The conversion saturates and turns what is no number into 0.
    if worth > 0.0 && largest > 0.0 { (worth / largest * f64::from(u16::MAX)).round() as u16 } else { 0 }
}

/// The positive and finite of `worth`, the largest lowered until none has more than `max_limit`/65535 of the sum. When
/// they are too few for that, all are equal.
#[must_use]
pub fn limited(worth: &[(u16, f64)], max_limit: u16) -> Vec<(u16, f64)> {
    let mut kept: Vec<(u16, f64)> = worth.iter().copied().filter(|(_, w)| w.is_finite() && *w > 0.0).collect();
    kept.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = f64::from(max_limit) / f64::from(u16::MAX);
    let mut below: f64 = kept.iter().map(|(_, w)| w).sum();
    // The fewest that must be lowered, and to what: with `high` at c each, c = most·(high·c + below).
    let lowered = (0..kept.len()).find_map(|high| {
        let rest = 1.0 - most * high as f64;
        let cap = if rest > 0.0 { most * below / rest } else { 0.0 };
        let fits = kept[high].1 <= cap * (1.0 + 1e-12);
        below -= kept[high].1;
        fits.then_some((high, cap))
    });
    match lowered {
        Some((high, cap)) => kept[..high].iter_mut().for_each(|(_, w)| *w = cap),
        None => kept.iter_mut().for_each(|(_, w)| *w = 1.0),
    }
    kept.sort_by_key(|(uid, _)| *uid);
    kept
}

fn scaled(worth: &[(u16, f64)]) -> Vec<(u16, u16)> {
    let largest = worth.iter().map(|(_, w)| *w).fold(0.0, f64::max);
    let mut row: Vec<(u16, u16)> =
        worth.iter().map(|(uid, w)| (*uid, scale(*w, largest))).filter(|(_, weight)| *weight > 0).collect();
    row.sort_unstable();
    row.dedup_by_key(|(uid, _)| *uid);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_useful_gets_65535_and_the_harmful_nothing() {
        assert_eq!(to_row(&[(3, 0.5), (1, 1.0), (2, -4.0)], 0, u16::MAX, &[]), [(1, 65535), (3, 32768)]);
    }

    #[test]
    fn nothing_is_said_when_nobody_was_useful() {
        assert!(to_row(&[(1, 0.0), (2, -1.0), (3, f64::NAN)], 5, u16::MAX, &[1, 2, 3]).is_empty());
    }

    #[test]
    fn the_row_is_filled_with_zeros_up_to_what_the_chain_asks_for() {
        assert_eq!(to_row(&[(2, 1.0)], 3, u16::MAX, &[0, 1, 2, 3]), [(0, 0), (1, 0), (2, 65535)]);
        assert_eq!(to_row(&[(2, 1.0)], 9, u16::MAX, &[1, 2]), [(1, 0), (2, 65535)]);
    }

    #[test]
    fn nobody_has_more_of_the_row_than_the_subnet_allows() {
        let worth = [(1, 8.0), (2, 4.0), (3, 2.0), (4, 1.0), (5, 1.0)];
        for limit in [65535, 30000, 20000, 14000] {
            let row = limited(&worth, limit);
            let sum: f64 = row.iter().map(|(_, w)| w).sum();
            let largest = row.iter().map(|(_, w)| *w).fold(0.0, f64::max);
            assert!(largest / sum <= f64::from(limit) / 65535.0 + 1e-9, "{limit}: {row:?}");
            assert!(row.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{limit}: {row:?}");
        }
        assert_eq!(limited(&worth, 65535), worth);
        assert_eq!(to_row(&[(1, 9.0), (2, 1.0)], 0, 10, &[]), [(1, 65535), (2, 65535)]);
    }
}
