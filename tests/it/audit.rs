//! The audit room against a real Postgres: what is confirmed is durable, proven and found again; what is changed behind
//! its back is named.

pub mod lab;

mod acts;
mod believed;
mod bundle;
mod codes;
mod erased;
mod erasers;
mod hidden;
mod keys;
mod killed;
mod migrated;
mod moved;
mod outage;
mod pace;
mod parts;
mod private;
mod psql;
mod reserved;
mod resumed;
mod reviewer;
mod rights;
mod rolled_back;
pub mod schema;
pub mod shown;
mod strange;
mod strangers;
mod tables;
mod tamper;
mod told;
mod trusted;
mod writing;
