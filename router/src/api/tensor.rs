//! Tensors of JSON requests: nested or flat numbers in, raw little-endian bytes out.

use std::fmt;

use bytes::Bytes;
use glia_protocol::DType;
use half::{bf16, f16};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The protocol's word for a dtype.
#[must_use]
pub const fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FP32",
        DType::F16 => "FP16",
        DType::BF16 => "BF16",
        DType::I64 => "INT64",
        DType::U8 => "UINT8",
    }
}

/// Numbers in row-major order, however they were nested.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(AtMost(usize::MAX).deserialize(deserializer)?.0)
    }
}

/// Reads [`Numbers`] and how many there were; of more than so many only the count is kept, not the values.
#[derive(Debug, Clone, Copy)]
pub struct AtMost(pub usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = (Numbers, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut flat = Flat { values: Vec::new(), count: 0, most: self.0 };
        Flatten(&mut flat).deserialize(deserializer)?;
        Ok((Numbers(flat.values), flat.count))
    }
}

struct Flat {
    values: Vec<f64>,
    count: usize,
    most: usize,
}

/// Appends what it reads.
struct Flatten<'a>(&'a mut Flat);

impl Flatten<'_> {
    fn push(self, value: f64) {
        if self.0.count < self.0.most {
            self.0.values.push(value);
        }
        self.0.count += 1;
    }
}

impl<'de> DeserializeSeed<'de> for Flatten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flatten<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.push(v);
        Ok(())
    }

    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.push(v as f64);
        Ok(())
    }

    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.push(v as f64);
        Ok(())
    }

    // With serde_json's `arbitrary_precision`, which any crate of a build may switch on, fractions come as a map.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let number = serde_json::Number::deserialize(MapAccessDeserializer::new(map))?;
        let value = number.as_f64().filter(|v| v.is_finite());
        self.push(value.ok_or_else(|| A::Error::custom(format!("{number} is no number of double precision")))?);
        Ok(())
    }

    // The parser bounds the depth of nesting.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Flatten(self.0))?.is_some() {}
        Ok(())
    }
}

/// Raw bytes of `numbers` in `dtype`; a sentence when one does not fit.
pub fn to_bytes(numbers: &[f64], dtype: DType) -> Result<Bytes, String> {
    let whole = |v: f64, low: f64, high: f64| {
        let fits = v.fract() == 0.0 && (low..=high).contains(&v);
        fits.then_some(v).ok_or_else(|| format!("{v} is no {}", datatype(dtype)))
    };
    let finite = |v: f64| {
        let single = v as f32;
        single.is_finite().then_some(single).ok_or_else(|| format!("{v} is no {}", datatype(dtype)))
    };
    let mut bytes = Vec::with_capacity(numbers.len() * dtype.size());
    for &v in numbers {
        match dtype {
            DType::U8 => bytes.push(whole(v, 0.0, 255.0)? as u8),
            // 2^53: beyond it JSON numbers are not exact.
            DType::I64 => {
                let exact = whole(v, -9_007_199_254_740_992.0, 9_007_199_254_740_992.0)?;
                bytes.extend_from_slice(&(exact as i64).to_le_bytes());
            }
            DType::F32 => bytes.extend_from_slice(&finite(v)?.to_le_bytes()),
            DType::F16 => bytes.extend_from_slice(&f16::from_f32(finite(v)?).to_le_bytes()),
            DType::BF16 => bytes.extend_from_slice(&bf16::from_f32(finite(v)?).to_le_bytes()),
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_numbers_are_the_same() {
        let nested: Numbers = serde_json::from_str("[[[1,2],[3,4.5]]]").unwrap();
        let flat: Numbers = serde_json::from_str("[1,2,3,4.5]").unwrap();
        assert_eq!(nested, flat);
        assert!(serde_json::from_str::<Numbers>("[1,\"2\"]").is_err());
        assert!(serde_json::from_str::<Numbers>("[1,{\"a\":2}]").is_err());
        assert!(serde_json::from_str::<Numbers>("[1,{}]").is_err());
        assert!(serde_json::from_str::<Numbers>(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn numbers_beyond_the_limit_are_counted_but_not_kept() {
        let text = format!("[[1,2.5],[{}3]]", "9,".repeat(10_000));
        let (numbers, count) = AtMost(4).deserialize(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        assert_eq!((numbers.0, count), (vec![1.0, 2.5, 9.0, 9.0], 10_003));
    }

    #[test]
    fn a_number_that_does_not_fit_its_type_is_refused() {
        assert!(to_bytes(&[256.0], DType::U8).is_err());
        assert!(to_bytes(&[-1.0], DType::U8).is_err());
        assert!(to_bytes(&[0.5], DType::U8).is_err());
        assert!(to_bytes(&[1e300], DType::F32).is_err());
        assert_eq!(to_bytes(&[0.0, 255.0], DType::U8).unwrap(), Bytes::from_static(&[0, 255]));
        assert_eq!(to_bytes(&[1.0], DType::F32).unwrap().as_ref(), 1.0_f32.to_le_bytes());
    }
}
