//! Haetae: a data-sovereignty policy gateway in front of GPU compute.
//!
//! The rooms in reading order. Each gives one noun to the next; ARCHITECTURE.md has the life of a request and the
//! table of arrows, and `tests/it/arrows.rs` holds the code to it.

pub mod access; // who may be given what: a wish of an administrator -> a recorded change of the registry
pub mod app; // builds every part once, joins them, serves, drains in two steps
pub mod audit; // what is kept: Decision -> Permit | Refusal
pub mod byte_sequence; // how bytes stand in a header
pub mod caller; // who asks: connection + head -> Caller
pub mod cli; // what was typed -> what it means
pub mod clock; // time as an argument
pub mod config; // one file -> one Config made of the rooms' own Configs
pub mod console; // what is shown: health, metrics and a JSON API for reviewers
pub mod cosign; // what witnesses are asked: checkpoint -> cosignature
pub mod demo; // the first run: everything on loopback, real traffic, a table of what happened
pub mod dial; // whom we believe when we call somebody: CA files -> TLS settings of a client
pub mod disk; // what is kept in files: old or new, never half
pub mod failover; // which of several servers is the one that writes, and pools that follow it
pub mod forward; // what is done: Permit + request -> response
pub mod gate; // one request: the only room that knows the order
pub mod guard; // the site's own process: lets in only what carries a valid, fresh, unused receipt
pub mod hold; // what waits for people: votes and releases
pub mod listen; // bind, TLS, limits: a connection with its peer certificate
pub mod mandate; // what gives a bundle its force: proposed, approved, in force since a version
pub mod obligation; // what decisions ask for afterwards: rows -> open, met, overdue, closed
pub mod policy; // what is allowed: Facts -> Decision
pub mod postgres; // the private Postgres of a first run and of the tests
pub mod privacy; // what is hidden: value + person -> sealed value, master keys
pub mod program; // which program this is: its name, version, and the digest of its file
pub mod registry; // what is true: Ask -> Facts
pub mod remote; // what another's log shows: address -> checkpoint, tiles, records
pub mod reserve; // what is used up: reserved for one decision before it is recorded
pub mod shadow; // what a proposed bundle would decide, beside the one in force: only differences
pub mod telemetry; // log, traces, metrics
pub mod tiles; // what anybody may fetch of the log: checkpoints, tiles; and entries for its readers
pub mod webhook; // what organisations are told: endings and orders -> signed notices, each accepted once
pub mod witness; // the regulator's own process: cosigns that a log only grew
pub mod workload; // what is asked: bytes -> Claims
