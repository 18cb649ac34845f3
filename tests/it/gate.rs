//! The gateway from end to end over real sockets: what it allows arrives with proof, what it refuses arrives nowhere and is
//! on record, and what it cannot record it does not do.

mod allow;
mod bodies;
mod changes;
mod ended;
mod facts;
pub mod holds;
mod manage;
mod nobody;
pub mod obligations;
mod outage;
mod preflight;
mod provider;
mod receipts;
mod recheck;
mod reconciled;
mod refuse;
mod spoof;
mod streams;
mod underway;
mod watch;
