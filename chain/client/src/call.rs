//! What to do on chain, and the receipt of what happened.

use subxt::dynamic::Value;
use subxt::ext::scale_value::{Composite, ValueDef};

/// A call by name: pallet, call and named arguments. Encoded by the metadata of the chain it is sent to.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub(crate) pallet: String,
    pub(crate) name: String,
    pub(crate) args: Vec<(String, Value)>,
}

impl Call {
    /// A call without arguments yet.
    #[must_use]
    pub fn new(pallet: impl Into<String>, name: impl Into<String>) -> Self {
        Self { pallet: pallet.into(), name: name.into(), args: Vec::new() }
    }

    /// Adds a named argument.
    #[must_use]
    pub fn arg(mut self, name: impl Into<String>, value: Value) -> Self {
        self.args.push((name.into(), value));
        self
    }

    /// The call as an argument of another call, such as `Sudo.sudo(call)` or a batch.
    #[must_use]
    pub fn into_value(self) -> Value {
        let inner = Value::variant(self.name, Composite::Named(self.args));
        Value::unnamed_variant(self.pallet, [inner])
    }

    /// The same call made as root through the `Sudo` pallet (development chains: //Alice signs).
    #[must_use]
    pub fn sudo(self) -> Self {
        Self::new("Sudo", "sudo").arg("call", self.into_value())
    }
}

/// A transaction that took effect in a finalized block.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The block's hash.
    pub block_hash: [u8; 32],
    /// The block's number.
    pub block_number: u64,
    /// The transaction's hash.
    pub hash: [u8; 32],
    /// What the transaction caused, in order.
    pub events: Vec<ChainEvent>,
}

impl Receipt {
    /// The first event of that name.
    #[must_use]
    pub fn event(&self, pallet: &str, name: &str) -> Option<&ChainEvent> {
        self.events.iter().find(|event| event.pallet == pallet && event.name == name)
    }
}

/// Something that happened on chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainEvent {
    /// Pallet.
    pub pallet: String,
    /// Event.
    pub name: String,
    /// Its fields.
    pub fields: Composite<()>,
}

impl ChainEvent {
    /// The field at `index` as a number, newtypes unwrapped; `None` when it is no number.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<u128> {
        number_in(self.fields.values().nth(index)?)
    }
}

fn number_in(value: &Value) -> Option<u128> {
    match &value.value {
        ValueDef::Composite(inner) if inner.len() == 1 => number_in(inner.values().next()?),
        _ => value.as_u128(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_inside_newtypes() {
        let wrapped = Value::unnamed_composite([Value::unnamed_composite([Value::u128(7)])]);
        let event = ChainEvent {
            pallet: "P".to_owned(),
            name: "E".to_owned(),
            fields: Composite::Unnamed(vec![Value::bool(true), wrapped]),
        };
        assert_eq!(event.number(1), Some(7));
        assert_eq!(event.number(0), None);
        assert_eq!(event.number(2), None);
    }
}
