//! Every math case of the vectors.

use glia_chain_rules::bonds::{
    LiquidAlpha, alpha_sigmoid, bonds_ema_alpha, compute_bonds_sparse, mat_ema_alpha, mat_ema_alpha_sparse,
};
use glia_chain_rules::fixed::{I32F32, exp_safe, sigmoid_safe, sum};
use glia_chain_rules::math::*;
use serde_json::{Value, json};

use crate::literal::{Literal, bools, cases, int, ints, list};

/// What a function returned.
#[derive(Debug)]
enum Found {
    Number(I32F32),
    Vector(Vec<I32F32>),
    Dense(DenseMatrix),
    Sparse(SparseMatrix),
    /// Compared as JSON, without tolerance.
    Exact(Value),
}

/// Roundings of a case: of the inputs, of ratios and alphas, of the expected values.
fn literals(case: &Value) -> (Literal, Literal, Literal) {
    use Literal::{Double, Single};
    match case["literal"].as_str().expect("a literal rule") {
        "f32" => (Single, Single, Single),
        "f64" | "int" | "f64 inputs, f64 expectations" => (Double, Double, Double),
        "f32 (ratio f64)" | "f32 (alpha f64)" => (Single, Double, Single),
        "f32 inputs, f64 expectations" => (Single, Single, Double),
        "f64 inputs, f32 expectations" => (Double, Double, Single),
        other => panic!("unknown rule {other}"),
    }
}

fn liquid(inputs: &Value, steepness: i16) -> LiquidAlpha {
    LiquidAlpha::new(int(&inputs["alpha_low_u16"]) as u16, int(&inputs["alpha_high_u16"]) as u16, steepness)
}

/// Alphas of a case, per pair or one for all.
fn alphas(inputs: &Value, literal: Literal, rows: usize, columns: usize) -> DenseMatrix {
    match inputs.get("alpha_all") {
        Some(alpha) => vec![vec![literal.fixed(alpha); columns]; rows],
        None => literal.dense(&inputs["alpha"]),
    }
}

fn to_sparse(dense: &[Vec<I32F32>]) -> SparseMatrix {
    dense.iter().map(|row| row.iter().enumerate().map(|(column, value)| (column as u16, *value)).collect()).collect()
}

fn run(case: &Value) -> Found {
    let (number, ratio, _) = literals(case);
    let i = &case["inputs"];
    let vector = |key: &str| number.vector(&i[key]);
    let dense = || number.dense(&i["matrix"]);
    let sparse = || number.sparse(&i["matrix"]);
    let columns = || int(&i["columns"]) as usize;
    let in_dense = |change: &dyn Fn(&mut [Vec<I32F32>])| {
        let mut matrix = dense();
        change(&mut matrix);
        Found::Dense(matrix)
    };
    let in_sparse = |change: &dyn Fn(&mut [SparseRow])| {
        let mut matrix = sparse();
        change(&mut matrix);
        Found::Sparse(matrix)
    };
    let in_vector = |change: &dyn Fn(&mut [I32F32])| {
        let mut values = vector("vec");
        change(&mut values);
        Found::Vector(values)
    };
    match case["fn"].as_str().expect("a function") {
        "vec_max_upscale_to_u16" => Found::Exact(json!(vec_max_upscale_to_u16(&vector("vec")))),
        "vec_u16_max_upscale_to_u16" => Found::Exact(json!(vec_u16_max_upscale_to_u16(&ints::<u16>(&i["vec"])))),
        "check_vec_max_limited" => {
            Found::Exact(json!(check_vec_max_limited(&ints::<u16>(&i["vec"]), int(&i["max_limit"]) as u16)))
        }
        "is_topk" => Found::Exact(json!(is_topk(&vector("vec"), int(&i["k"]) as usize))),
        "is_topk_nonzero" => Found::Exact(json!(is_topk_nonzero(&vector("vec"), int(&i["k"]) as usize))),
        "checked_sum" => Found::Exact(json!(checked_sum(&ints::<u64>(&i["vec"])))),
        "fixed_to_u16" => Found::Exact(json!(number.fixed(&i["x"]).to_u16())),
        "fixed_proportion_to_u16" => Found::Exact(match i["x"].as_array() {
            Some(_) => json!(vector("x").iter().map(|x| x.to_proportion()).collect::<Vec<_>>()),
            None => json!(number.fixed(&i["x"]).to_proportion()),
        }),
        "normalize" => Found::Vector(normalize(&vector("vec"))),
        "inplace_normalize" => in_vector(&inplace_normalize),
        "vecdiv" => Found::Vector(vecdiv(&vector("x"), &vector("y"))),
        "vec_mul" => Found::Vector(vec_mul(&vector("a"), &vector("b"))),
        "inplace_mask_vector" => in_vector(&|values| inplace_mask_vector(&bools(&i["mask"]), values)),
        "inplace_row_normalize" => in_dense(&inplace_row_normalize),
        "inplace_col_normalize" => in_dense(&inplace_col_normalize),
        "inplace_col_max_upscale" => in_dense(&inplace_col_max_upscale),
        "inplace_mask_matrix" => {
            let mask: Vec<Vec<bool>> = list(&i["mask"]).iter().map(bools).collect();
            in_dense(&|matrix| inplace_mask_matrix(&mask, matrix))
        }
        "inplace_mask_rows" => in_dense(&|matrix| inplace_mask_rows(&bools(&i["mask"]), matrix)),
        "inplace_mask_diag" => in_dense(&inplace_mask_diag),
        "inplace_mask_diag_except_index" => {
            in_dense(&|matrix| inplace_mask_diag_except_index(matrix, Some(int(&i["except_index"]) as u16)))
        }
        "inplace_col_clip" => in_dense(&|matrix| inplace_col_clip(matrix, &vector("threshold"))),
        "mat_vec_mul" => Found::Dense(mat_vec_mul(&dense(), &vector("vec"))),
        "row_hadamard" => Found::Dense(row_hadamard(&dense(), &vector("vec"))),
        "row_sum" => Found::Vector(row_sum(&dense())),
        "matmul" => Found::Vector(matmul(&dense(), &vector("vec"))),
        "matmul_transpose" => Found::Vector(matmul_transpose(&dense(), &vector("vec"))),
        "inplace_row_normalize_sparse" => in_sparse(&inplace_row_normalize_sparse),
        "inplace_col_normalize_sparse" => in_sparse(&|matrix| inplace_col_normalize_sparse(matrix, columns())),
        "inplace_col_max_upscale_sparse" => in_sparse(&|matrix| inplace_col_max_upscale_sparse(matrix, columns())),
        "mask_rows_sparse" => Found::Sparse(mask_rows_sparse(&bools(&i["mask"]), &sparse())),
        "mask_diag_sparse" => Found::Sparse(mask_diag_sparse(&sparse())),
        "vec_mask_sparse_matrix" => {
            let (first, second) = (vector("first"), vector("second"));
            Found::Sparse(match i["mask_if"].as_str() {
                Some("a == b") => vec_mask_sparse_matrix(&sparse(), &first, &second, |a, b| a == b),
                Some("a < b") => vec_mask_sparse_matrix(&sparse(), &first, &second, |a, b| a < b),
                other => panic!("unknown predicate {other:?}"),
            })
        }
        "mat_vec_mul_sparse" => Found::Sparse(mat_vec_mul_sparse(&sparse(), &vector("vec"))),
        "row_hadamard_sparse" => Found::Sparse(row_hadamard_sparse(&sparse(), &vector("vec"))),
        "row_sum_sparse" => Found::Vector(row_sum_sparse(&sparse())),
        "matmul_sparse" => Found::Vector(matmul_sparse(&sparse(), &vector("vec"), columns())),
        "matmul_transpose_sparse" => Found::Vector(matmul_transpose_sparse(&sparse(), &vector("vec"))),
        "col_clip_sparse" => Found::Sparse(col_clip_sparse(&sparse(), &vector("threshold"))),
        "weighted_median" => {
            let (mut stake, score) = (vector("stake"), vector("score"));
            if i["normalize_stake_first"] == true {
                inplace_normalize(&mut stake);
            }
            let minority = I32F32::ONE.saturating_sub(number.fixed(&i["majority"]));
            let partition: Vec<usize> = (0..stake.len()).collect();
            Found::Number(weighted_median(&stake, &score, &partition, minority, I32F32::ZERO, sum(&stake)))
        }
        "weighted_median_col" => {
            let (stake, score) = (vector("stake"), number.dense(&i["score"]));
            let majority = number.fixed(&i["majority"]);
            let found = weighted_median_col(&stake, &score, majority);
            assert_eq!(found, weighted_median_col_sparse(&stake, &to_sparse(&score), score[0].len(), majority));
            Found::Vector(found)
        }
        "interpolate" => {
            Found::Dense(interpolate(&number.dense(&i["a"]), &number.dense(&i["b"]), ratio.fixed(&i["ratio"])))
        }
        "interpolate_sparse" => Found::Sparse(interpolate_sparse(
            &number.sparse(&i["a"]),
            &number.sparse(&i["b"]),
            ratio.fixed(&i["ratio"]),
        )),
        "mat_ema_alpha" => {
            let (new, old) = (number.dense(&i["new"]), number.dense(&i["old"]));
            Found::Dense(mat_ema_alpha(&new, &old, &alphas(i, ratio, new.len(), new[0].len())))
        }
        "mat_ema_alpha_sparse" => {
            let (new, old) = (number.sparse(&i["new"]), number.sparse(&i["old"]));
            let alphas = alphas(i, ratio, new.len(), 8);
            Found::Sparse(mat_ema_alpha_sparse(&new, &old, |row, column, _, _| alphas[row][usize::from(column)]))
        }
        "sigmoid_safe" => {
            let (rho, kappa) = (number.fixed(&i["rho"]), number.fixed(&i["kappa"]));
            Found::Vector(vector("input").into_iter().map(|input| sigmoid_safe(input, rho, kappa)).collect())
        }
        "exp_safe" => Found::Vector(vector("input").into_iter().map(exp_safe).collect()),
        "bonds_ema_alpha" => Found::Number(bonds_ema_alpha(int(&i["bonds_moving_average"]))),
        "alpha_sigmoid" => Found::Number(alpha_sigmoid(
            number.fixed(&i["consensus"]),
            number.fixed(&i["weight"]),
            number.fixed(&i["bond"]),
            &liquid(i, int(&i["steepness"]) as i16),
        )),
        "compute_bonds" => {
            let (weights, bonds) = (number.dense(&i["weights"]), number.dense(&i["bonds"]));
            let average = int(&i["bonds_moving_average"]);
            let found = compute_bonds_sparse(
                &to_sparse(&weights),
                &to_sparse(&bonds),
                &vector("consensus"),
                Some(&liquid(i, 1000)),
                average,
            );
            Found::Dense(to_dense(&found, weights[0].len()))
        }
        other => panic!("no function {other}"),
    }
}

fn to_dense(sparse: &[SparseRow], columns: usize) -> DenseMatrix {
    let row_of = |row: &SparseRow| {
        let mut dense = vec![I32F32::ZERO; columns];
        row.iter().for_each(|(column, value)| dense[usize::from(*column)] = *value);
        dense
    };
    sparse.iter().map(row_of).collect()
}

/// Within the tolerance of the expected decimal: rounded by its rule or, where there is a tolerance, also as it is written.
fn assert_close(name: &str, found: &[I32F32], expected: &Value, literal: Literal, tolerance: f64) {
    let number = |value: I32F32| value.to_bits() as f64 / 4_294_967_296.0;
    assert_eq!(found.len(), list(expected).len(), "{name}");
    for (found, expected) in found.iter().zip(list(expected)) {
        let rounded = literal.fixed(expected);
        let distance = found.to_bits().abs_diff(rounded.to_bits()) as f64 / 4_294_967_296.0;
        let written = expected.as_f64().is_some_and(|expected| (number(*found) - expected).abs() <= tolerance);
        assert!(distance <= tolerance || (tolerance > 0.0 && written), "{name}: {found:?} is not {rounded:?}");
    }
}

#[test]
fn every_math_case_holds() {
    let cases = cases("math_cases");
    assert_eq!(cases.len(), 150);
    for case in cases {
        let name = case["id"].as_str().expect("an id");
        let (expected, tolerance) = (&case["expected"], case["tolerance"].as_f64().expect("a tolerance"));
        let literal = literals(&case).2;
        match run(&case) {
            Found::Exact(found) => assert_eq!(&found, expected, "{name}"),
            Found::Number(found) => assert_close(name, &[found], &json!([expected]), literal, tolerance),
            Found::Vector(found) => assert_close(name, &found, expected, literal, tolerance),
            Found::Dense(found) => {
                assert_eq!(found.len(), list(expected).len(), "{name}");
                found
                    .iter()
                    .zip(list(expected))
                    .for_each(|(found, row)| assert_close(name, found, row, literal, tolerance));
            }
            Found::Sparse(found) => {
                assert_eq!(found.len(), list(expected).len(), "{name}");
                for (found, row) in found.iter().zip(list(expected)) {
                    let columns: Vec<u16> = found.iter().map(|(column, _)| *column).collect();
                    let values: Vec<I32F32> = found.iter().map(|(_, value)| *value).collect();
                    let part = |index: usize| -> Value { list(row).iter().map(|entry| entry[index].clone()).collect() };
                    assert_eq!(columns, ints::<u16>(&part(0)), "{name}");
                    assert_close(name, &values, &part(1), literal, tolerance);
                }
            }
        }
    }
}

#[test]
fn arithmetic_saturates_and_rounds_as_on_chain() {
    let bits = I32F32::from_bits;
    assert_eq!(I32F32::MAX.saturating_add(I32F32::ONE), I32F32::MAX);
    assert_eq!(I32F32::MIN.saturating_sub(I32F32::ONE), I32F32::MIN);
    assert_eq!(I32F32::MIN.saturating_mul(I32F32::MIN), I32F32::MAX);
    assert_eq!(I32F32::MIN.safe_div(bits(-1)), I32F32::MAX);
    assert_eq!(I32F32::ONE.safe_div(I32F32::ZERO), I32F32::ZERO);
    // Products round down, quotients toward zero.
    assert_eq!(bits(-1).saturating_mul(I32F32::HALF), bits(-1));
    assert_eq!(bits(1).saturating_mul(I32F32::HALF), bits(0));
    assert_eq!(bits(-1).safe_div(I32F32::from_int(2)), bits(0));
    assert_eq!(I32F32::HALF.round(), I32F32::ONE);
    assert_eq!(I32F32::ZERO.saturating_sub(I32F32::HALF).round(), I32F32::from_int(-1));
    assert_eq!(I32F32::MAX.round(), I32F32::MAX);
    assert_eq!(I32F32::MIN.round(), I32F32::MIN);
    assert_eq!(I32F32::MAX.of_amount(u64::MAX), u64::MAX);
    assert_eq!(I32F32::MIN.of_amount(u64::MAX), 0);
}
