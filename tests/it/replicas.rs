//! Two gateway processes on one database are one gateway: an order stops both at its own commit, and what serves once
//! serves once for both, whoever is killed in the middle.

mod orders;
mod released;
mod swap;
mod timeline;
mod used_up;
