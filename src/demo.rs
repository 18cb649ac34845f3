//! The first run: everything on loopback, real traffic, a table of what happened.
//!
//! *Invariant:* the only stand-ins are the GPU sites and the identity provider; the gateway is the one that `haetae
//! serve` runs.

pub mod client;
pub mod door;
pub mod fleet;
pub mod issuer;
pub mod pki;
pub mod scenario;
pub mod site;
pub mod table;
