//! The embedded chain as a client sees it: a stock subxt client and raw JSON-RPC.

mod bad_input;
mod durability;
mod methods;
mod transactions;
mod world;
