//! Answers computed again from a published checkpoint: what audits and evidence rest on.

use glia_experts::reexecute::reexecute;
use glia_experts::subnet::Subnet;
use glia_protocol::{ContentHash, SubnetName, Tensor};
use glia_router::audit::Recompute;

/// Computes answers of one subnet on the CPU backend, the same on every machine but for rounding.
pub(crate) struct Cpu(pub(crate) Subnet);

impl Recompute for Cpu {
    fn recompute(
        &self,
        subnet: &SubnetName,
        checkpoint: &[u8],
        expected: ContentHash,
        input: &Tensor,
    ) -> Result<Tensor, String> {
        if subnet != self.0.name() {
            return Err(format!("this is subnet {}, the answer is of {subnet}", self.0.name()));
        }
        reexecute(&self.0, checkpoint, expected, input).map_err(|error| error.to_string())
    }
}
