//! Integration tests of the experts crate.

mod data;
mod domains;
mod learning;
mod network;
mod overload;
mod reexecute;
mod roster;
mod stored;

use std::sync::OnceLock;

use glia_experts::subnet::Subnet;

/// The variant of it whose pictures are shown in domains.
fn transforms() -> &'static Subnet {
    static SUBNET: OnceLock<Subnet> = OnceLock::new();
    SUBNET.get_or_init(|| Subnet::by_name("vision-transforms").unwrap())
}

/// The vision subnet, unpacked once.
fn vision() -> &'static Subnet {
    static SUBNET: OnceLock<Subnet> = OnceLock::new();
    SUBNET.get_or_init(|| Subnet::by_name("vision").unwrap())
}
