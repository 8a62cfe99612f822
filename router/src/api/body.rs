//! The body of an inference request, read with no more memory than the largest request that is answered needs.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tensor::{AtMost, Numbers};

/// Dimensions a tensor may have.
const MAX_RANK: usize = 16;

/// What a body may make the reader keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Numbers of a tensor.
    pub(super) numbers: usize,
}

/// A request as the Open Inference Protocol has it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) id: Option<String>,
    pub(super) parameters: Parameters,
    /// The first input.
    pub(super) input: Option<InputTensor>,
    /// How many inputs there were.
    pub(super) inputs: usize,
}

/// What is ours among the parameters; others are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    pub(super) k: Option<u64>,
    pub(super) deadline_ms: Option<u64>,
    #[serde(default)]
    pub(super) explain: bool,
}

/// One input.
#[derive(Debug)]
pub(super) struct InputTensor {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) datatype: String,
    /// Its numbers, as far as the limits go.
    pub(super) data: Numbers,
    /// How many numbers there were.
    pub(super) count: usize,
}

impl BodyLimits {
    /// Reads a body.
    pub(super) fn read(self, text: &[u8]) -> Result<Body, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let body = reader_map(&mut reader, BodyVisitor(self))?;
        reader.end()?;
        Ok(body)
    }
}

fn reader_map<'de, D: Deserializer<'de>, V: Visitor<'de>>(reader: D, visitor: V) -> Result<V::Value, D::Error> {
    reader.deserialize_map(visitor)
}

/// Takes the value of a field that may come once.
fn once<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    map: &mut A,
    slot: &mut Option<S::Value>,
    name: &'static str,
    seed: S,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *slot = Some(map.next_value_seed(seed)?);
    Ok(())
}

struct BodyVisitor(BodyLimits);

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"inputs\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let (mut id, mut parameters, mut inputs) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => once(&mut map, &mut id, "id", std::marker::PhantomData::<Option<String>>)?,
                "parameters" => {
                    once(&mut map, &mut parameters, "parameters", std::marker::PhantomData::<Parameters>)?;
                }
                "inputs" => once(&mut map, &mut inputs, "inputs", Inputs(self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let (input, inputs) = inputs.ok_or_else(|| A::Error::missing_field("inputs"))?;
        Ok(Body { id: id.flatten(), parameters: parameters.unwrap_or_default(), input, inputs })
    }
}

/// The first input and how many there are.
struct Inputs(BodyLimits);

impl<'de> DeserializeSeed<'de> for Inputs {
    type Value = (Option<InputTensor>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Inputs {
    type Value = (Option<InputTensor>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of inputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let first = seq.next_element_seed(Input(self.0))?;
        let mut count = usize::from(first.is_some());
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((first, count))
    }
}

struct Input(BodyLimits);

impl<'de> DeserializeSeed<'de> for Input {
    type Value = InputTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<InputTensor, D::Error> {
        reader_map(deserializer, self)
    }
}

impl<'de> Visitor<'de> for Input {
    type Value = InputTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input with name, shape, datatype and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InputTensor, A::Error> {
        let (mut name, mut shape, mut datatype, mut data) = (None, None, None, None);
        let text = std::marker::PhantomData::<String>;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => once(&mut map, &mut name, "name", text)?,
                "shape" => once(&mut map, &mut shape, "shape", Shape)?,
                "datatype" => once(&mut map, &mut datatype, "datatype", text)?,
                "data" => once(&mut map, &mut data, "data", AtMost(self.0.numbers))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = |name| move || A::Error::missing_field(name);
        let (data, count) = data.ok_or_else(missing("data"))?;
        Ok(InputTensor {
            name: name.ok_or_else(missing("name"))?,
            shape: shape.ok_or_else(missing("shape"))?,
            datatype: datatype.ok_or_else(missing("datatype"))?,
            data,
            count,
        })
    }
}

struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = seq.next_element()? {
            if shape.len() == MAX_RANK {
                return Err(A::Error::custom(format!("a shape has {MAX_RANK} dimensions at most")));
            }
            shape.push(dimension);
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BodyLimits = BodyLimits { numbers: 4 };

    fn body(fields: &str) -> Result<Body, serde_json::Error> {
        LIMITS.read(format!("{{{fields}}}").as_bytes())
    }

    #[test]
    fn a_body_keeps_no_more_numbers_than_a_request_may_have() {
        let data = "1,".repeat(100_000);
        let body = body(&format!(
            r#""x": {{"y": [1]}}, "id": "a", "inputs": [
                {{"name": "i", "datatype": "FP32", "shape": [1, 4], "data": [[{data}2]]}}, {{"name": 7}}]"#
        ));
        let body = body.unwrap();
        let input = body.input.unwrap();
        assert_eq!((input.data.0.len(), input.count, body.inputs), (4, 100_001, 2));
        assert!(input.data.0.capacity() < 16);
        assert_eq!((body.id.as_deref(), input.shape), (Some("a"), vec![1, 4]));
    }

    #[test]
    fn fields_missing_twice_or_too_long_are_refused() {
        assert!(body("").unwrap_err().to_string().contains("inputs"));
        assert!(body(r#""inputs": [], "inputs": []"#).is_err());
        assert!(body(r#""inputs": [{"name": "i"}]"#).unwrap_err().to_string().contains("data"));
        let shape = "1,".repeat(16);
        let long = format!(r#""inputs": [{{"name": "i", "datatype": "FP32", "shape": [{shape}1], "data": [1]}}]"#);
        assert!(body(&long).unwrap_err().to_string().contains("dimensions"));
        assert!(LIMITS.read(br#"{"inputs": []} x"#).is_err());
    }
}
