//! From usefulness to the row of u16 that is sent.

/// The weights to send: usefulness clamped at 0, the largest scaled to 65535, zeros left out, ascending by uid.
///
/// When fewer than `min_allowed` remain, other `uids` are added with weight 0. Empty when nobody was useful: there is
/// nothing to say then.
#[must_use]
pub fn to_row(usefulness: &[(u16, f64)], min_allowed: u16, uids: &[u16]) -> Vec<(u16, u16)> {
    let largest = usefulness.iter().map(|(_, v)| *v).filter(|v| v.is_finite()).fold(0.0, f64::max);
    if largest <= 0.0 {
        return Vec::new();
    }
    let mut row: Vec<(u16, u16)> = usefulness
        .iter()
        .filter(|(_, value)| value.is_finite() && *value > 0.0)
        // At most 65535 by construction; the conversion saturates.
        .map(|(uid, value)| (*uid, (value / largest * f64::from(u16::MAX)).round() as u16))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    row.sort_unstable();
    row.dedup_by_key(|(uid, _)| *uid);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_useful_gets_65535_and_the_harmful_nothing() {
        assert_eq!(to_row(&[(3, 0.5), (1, 1.0), (2, -4.0)], 0, &[]), [(1, 65535), (3, 32768)]);
    }

    #[test]
    fn nothing_is_said_when_nobody_was_useful() {
        assert!(to_row(&[(1, 0.0), (2, -1.0), (3, f64::NAN)], 5, &[1, 2, 3]).is_empty());
    }

    #[test]
    fn the_row_is_filled_with_zeros_up_to_what_the_chain_asks_for() {
        assert_eq!(to_row(&[(2, 1.0)], 3, &[0, 1, 2, 3]), [(0, 0), (1, 0), (2, 65535)]);
        assert_eq!(to_row(&[(2, 1.0)], 9, &[1, 2]), [(1, 0), (2, 65535)]);
    }
}
