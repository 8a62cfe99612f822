//! What a collective is compared with, computed from the experts' own answers: majority vote, plain average, gates
//! that know the truth.

use super::argmax;

/// The share of the experts' votes each class gets, `rows` being each expert's probabilities for one item. An expert
/// votes for the class it finds most probable.
#[must_use]
pub fn vote(rows: &[&[f32]]) -> Vec<f32> {
    let classes = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut votes = vec![0.0; classes];
    let mut cast = 0.0f32;
    for top in rows.iter().filter_map(|row| argmax(row)) {
        votes[top] += 1.0;
        cast += 1.0;
    }
    votes.iter_mut().for_each(|share| *share /= cast.max(1.0));
    votes
}

/// The class with most votes; among equals the one with the larger sum of probabilities, then the first.
#[must_use]
pub fn majority(rows: &[&[f32]]) -> Option<usize> {
    let (votes, sums) = (vote(rows), average(rows));
    let mut best: Option<usize> = None;
    for class in 0..votes.len() {
        let better = best.is_none_or(|top| (votes[class], sums[class]) > (votes[top], sums[top]));
        if better {
            best = Some(class);
        }
    }
    best
}

/// The unweighted mean of the experts' probabilities for one item.
#[must_use]
pub fn average(rows: &[&[f32]]) -> Vec<f32> {
    let classes = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut sum = vec![0.0; classes];
    for row in rows {
        sum.iter_mut().zip(*row).for_each(|(sum, p)| *sum += p / rows.len() as f32);
    }
    sum
}

/// For each class the expert that is right most often on it, the first of equals: `hits[expert][class]` of
/// `items[class]` items. What a gate would choose that knew the class of every input and each expert's record on it.
#[must_use]
pub fn best_by_class(hits: &[Vec<usize>], classes: usize) -> Vec<usize> {
    let of = |expert: usize, class: usize| hits[expert].get(class).copied().unwrap_or(0);
    (0..classes).map(|class| (0..hits.len()).rev().max_by_key(|&expert| of(expert, class)).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_wins_and_a_tie_goes_to_the_more_certain() {
        let (a, b, c) = ([0.6, 0.4, 0.0], [0.5, 0.1, 0.4], [0.0, 0.1, 0.9]);
        assert_eq!(majority(&[&a, &b, &c]), Some(0), "two of three, however certain the third");
        assert_eq!(majority(&[&a, &c]), Some(2), "0.9 against 0.6");
        assert_eq!(vote(&[&a, &b, &c]), [2.0 / 3.0, 0.0, 1.0 / 3.0]);
        assert_eq!(majority(&[]), None);
    }

    #[test]
    fn the_average_is_the_mean_of_each_class() {
        let (a, b) = ([0.25f32, 0.75], [0.75f32, 0.25]);
        assert_eq!(average(&[&a, &b]), [0.5, 0.5]);
    }

    #[test]
    fn each_class_goes_to_the_expert_with_the_best_record() {
        let hits = vec![vec![9, 1, 0], vec![3, 7, 0]];
        assert_eq!(best_by_class(&hits, 3), [0, 1, 0], "nobody knows the last class: the first");
    }
}
