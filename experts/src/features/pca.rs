//! Principal components by cyclic Jacobi rotations of the covariance matrix.

/// The mean and the directions of largest variance.
pub(super) struct Basis {
    pub(super) mean: Vec<f64>,
    /// Unit length, largest variance first, largest entry positive.
    pub(super) components: Vec<Vec<f64>>,
}

/// The `keep` first principal components of `rows` (all of one length).
pub(super) fn principal_components(rows: &[Vec<f64>], keep: usize) -> Basis {
    let n = rows.first().map_or(0, Vec::len);
    let count = rows.len().max(1) as f64;
    let mut mean = vec![0.0; n];
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / count);
    }
    let mut covariance = vec![vec![0.0; n]; n];
    for row in rows {
        let centred: Vec<f64> = row.iter().zip(&mean).map(|(v, m)| v - m).collect();
        for (i, line) in covariance.iter_mut().enumerate() {
            let scale = centred[i] / count;
            line.iter_mut().zip(&centred).for_each(|(c, v)| *c += scale * v);
        }
    }
    let (values, vectors) = jacobi(covariance);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let components = order.into_iter().take(keep).map(|i| with_fixed_sign(&vectors[i])).collect();
    Basis { mean, components }
}

/// An eigenvector's sign is free; here its entry of largest size is positive.
fn with_fixed_sign(vector: &[f64]) -> Vec<f64> {
    let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let sign = if largest < 0.0 { -1.0 } else { 1.0 };
    vector.iter().map(|v| v * sign).collect()
}

/// Eigenvalues and eigenvectors (as rows) of a symmetric matrix.
fn jacobi(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let total: f64 = a.iter().flatten().map(|v| v * v).sum();
    for _sweep in 0..30 {
        let off: f64 = (0..n).map(|i| (i + 1..n).map(|j| a[i][j] * a[i][j]).sum::<f64>()).sum();
        if off <= total * 1e-26 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                rotate_rows(&mut a, p, q, c, s);
                for row in &mut a {
                    let (x, y) = (row[p], row[q]);
                    row[p] = c * x - s * y;
                    row[q] = s * x + c * y;
                }
                rotate_rows(&mut vectors, p, q, c, s);
            }
        }
    }
    ((0..n).map(|i| a[i][i]).collect(), vectors)
}

/// Turns rows `p` and `q` (p < q) by the angle with cosine `c` and sine `s`.
fn rotate_rows(matrix: &mut [Vec<f64>], p: usize, q: usize, c: f64, s: f64) {
    let (head, tail) = matrix.split_at_mut(q);
    for (x, y) in head[p].iter_mut().zip(tail[0].iter_mut()) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_axis_of_a_cloud_is_found() {
        // Points along (3, 4)/5 with a little spread across it.
        let rows: Vec<Vec<f64>> = (0..100)
            .map(|i| {
                let (along, across) = (f64::from(i) - 49.5, f64::from(i % 3) * 0.1);
                vec![0.6 * along - 0.8 * across + 7.0, 0.8 * along + 0.6 * across]
            })
            .collect();
        let basis = principal_components(&rows, 2);
        assert!((basis.components[0][0] - 0.6).abs() < 1e-3, "{:?}", basis.components);
        assert!((basis.components[0][1] - 0.8).abs() < 1e-3, "{:?}", basis.components);
        let dot: f64 = basis.components[0].iter().zip(&basis.components[1]).map(|(a, b)| a * b).sum();
        assert!(dot.abs() < 1e-9, "components are not at right angles");
    }
}
