//! The vectors file and its decimals: how a literal becomes a fixed-point number.

use glia_chain_rules::fixed::I32F32;
use serde_json::Value;

const TEXT: &str = include_str!("../vectors/yuma.json");

/// The cases of one list of the file.
pub(crate) fn cases(list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(TEXT).expect("the vectors file is JSON");
    file[list].as_array().expect("a list of cases").clone()
}

/// Rounding of a literal before it becomes fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    /// To the nearest binary32 number.
    Single,
    /// To the nearest binary64 number.
    Double,
}

impl Literal {
    /// To the nearest multiple of 2^-32, halves to even; `"max"` and `"min"` are the ends of the range.
    pub(crate) fn fixed(self, value: &Value) -> I32F32 {
        match value.as_str() {
            Some("max") => return I32F32::MAX,
            Some("min") => return I32F32::MIN,
            Some(other) => panic!("no number: {other}"),
            None => {}
        }
        let number = value.as_f64().expect("a number");
        let number = if self == Self::Single { f64::from(number as f32) } else { number };
        I32F32::from_bits((number * 4_294_967_296.0).round_ties_even() as i64)
    }

    pub(crate) fn vector(self, value: &Value) -> Vec<I32F32> {
        list(value).iter().map(|value| self.fixed(value)).collect()
    }

    pub(crate) fn dense(self, value: &Value) -> Vec<Vec<I32F32>> {
        list(value).iter().map(|row| self.vector(row)).collect()
    }

    pub(crate) fn sparse(self, value: &Value) -> Vec<Vec<(u16, I32F32)>> {
        let entry = |entry: &Value| (int(&entry[0]) as u16, self.fixed(&entry[1]));
        list(value).iter().map(|row| list(row).iter().map(entry).collect()).collect()
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

pub(crate) fn int(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no whole number: {value}"))
}

pub(crate) fn ints<T: TryFrom<u64>>(value: &Value) -> Vec<T>
where
    T::Error: std::fmt::Debug,
{
    list(value).iter().map(|value| int(value).try_into().expect("in range")).collect()
}

pub(crate) fn bools(value: &Value) -> Vec<bool> {
    list(value).iter().map(|value| value.as_bool().expect("a bool")).collect()
}
