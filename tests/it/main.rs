//! One test binary. Each module is one topic and opens with what it proves.

// Says to clippy that helpers here are test code too.
#![cfg(test)]

mod support;

mod access;
mod arrows;
mod audit;
mod caller;
mod chaos;
mod config;
mod demo;
mod forward;
mod gate;
mod guard;
mod listen;
mod mandate;
mod policy;
mod postgres;
mod privacy;
mod registry;
mod replicas;
mod standby;
mod tamper;
mod tiles;
mod verify;
mod webhook;
mod wire;
mod witness;
